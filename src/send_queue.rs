//! The send queue of a server's connection: whole packets in order, from any task or thread.
//!
//! ```text
//! handler, ReplyTo, ServerRef::push --> send queue --> the connection's task --> socket
//! ```
//!
//! Senders append under a short lock, and wake the connection's task only if it waits. The task dequeues a chunk at a
//! time: packets that were sent together are written together, and at most one chunk is not counted here.
//!
//! A reply that is too large to be encoded by its sender is queued unencoded. The connection's task has it encoded on
//! the blocking pool when it is dequeued; order is kept. Until then no further packet of the peer is handled.
//!
//! The queue is bounded:
//!
//! ```text
//! 0                     limit of bytes                limit of replies
//! |-------------------------|-----------------------------|
//! | all packets accepted    | only replies accepted       | replies rejected: the call fails with
//! |                         | no reads from the peer      | an error message instead
//! ```

mod queue;

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use event_listener::Event;

use crate::{
    encode::{Encode, put_back, scratch},
    task::BUDGET,
    wire::codec::{Codec, PacketError},
};
use queue::Queue;
pub(crate) use queue::{CHUNK, Deadlines, Dequeued, EnqueueError, Limits, PacketClass};

#[derive(Debug)]
pub(crate) struct SendQueue {
    codec: Codec,
    limits: Limits,
    queue: Mutex<Queue>,
    /// True once the connection drains: read at every poll, without the lock.
    draining: AtomicBool,
    /// True once a warning was logged that the queue is full for replies.
    warned: AtomicBool,
    /// Notified when the queue falls below its limit, and when it closes.
    below_limit: Event,
    /// Notified when the queue closes.
    closed: Event,
    /// Set once the server has failed: the message for the callers of its unanswered calls, if they may see one.
    failure: OnceLock<Option<Box<str>>>,
}

/// The connection is closed or closing: no packet can be sent.
#[derive(Debug)]
pub(crate) struct Closed;

impl SendQueue {
    pub(crate) fn new(codec: Codec, limits: Limits) -> Self {
        Self {
            codec,
            limits,
            queue: Mutex::default(),
            draining: AtomicBool::new(false),
            warned: AtomicBool::new(false),
            below_limit: Event::new(),
            closed: Event::new(),
            failure: OnceLock::new(),
        }
    }

    /// Returns the codec of the connection's packets.
    pub(crate) fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Encodes a packet and appends it, if its class is below its limit. Returns false, and sends nothing, if `encode`
    /// did.
    ///
    /// The user's `Serialize` runs in `encode`, outside the lock.
    pub(crate) fn send(
        &self,
        class: PacketClass,
        encode: impl FnOnce(&Codec, &mut Vec<u8>) -> Result<bool, PacketError>,
    ) -> Result<Result<bool, EnqueueError>, PacketError> {
        let mut scratch = scratch();
        let encoded = encode(&self.codec, &mut scratch)?;
        let sent = match encoded {
            true => self.append(class, &mut scratch),
            false => Ok(()),
        };
        put_back(scratch);
        Ok(sent.map(|()| encoded))
    }

    /// Appends an encoded packet, if its class is below its limit. A large packet is moved out of `packet`.
    pub(crate) fn append(
        &self,
        class: PacketClass,
        packet: &mut Vec<u8>,
    ) -> Result<(), EnqueueError> {
        self.enqueue(class, packet.len(), |queue| {
            queue.append(packet, self.limits.one_by_one);
        })
    }

    /// As [`append`](Self::append), for a packet that is sent to several peers.
    pub(crate) fn append_copy(
        &self,
        class: PacketClass,
        packet: &[u8],
    ) -> Result<(), EnqueueError> {
        if packet.len() > CHUNK {
            // Copied outside the lock, and only if it may be appended.
            self.queue().check(class, packet.len(), &self.limits)?;
            return self.append(class, &mut packet.to_vec());
        }
        self.enqueue(class, packet.len(), |queue| {
            queue.append_small(packet, self.limits.one_by_one);
        })
    }

    /// Appends a reply that is encoded when it is dequeued.
    pub(crate) fn append_unencoded(&self, reply: Encode) -> Result<(), EnqueueError> {
        self.enqueue(PacketClass::Reply, BUDGET, |queue| {
            queue.append_unencoded(reply)
        })
    }

    fn enqueue(
        &self,
        class: PacketClass,
        bytes: usize,
        append: impl FnOnce(&mut Queue),
    ) -> Result<(), EnqueueError> {
        let task = {
            let mut queue = self.queue();
            queue.check(class, bytes, &self.limits)?;
            append(&mut queue);
            queue.bytes += bytes;
            queue.packets += 1;
            queue.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
        Ok(())
    }

    /// Returns whether a push would be accepted now, or fails because the queue is closed.
    pub(crate) fn is_below_limit(&self) -> bool {
        let queue = self.queue();
        queue.closed || queue.bytes < self.limits.bytes
    }

    /// Returns whether a reply of this size would be accepted now. Another sender may be faster.
    pub(crate) fn accepts_reply(&self, bytes: usize) -> bool {
        let checked = self.queue().check(PacketClass::Reply, bytes, &self.limits);
        !matches!(checked, Err(EnqueueError::Full))
    }

    /// Logs that a reply was rejected: once as a warning, because a peer can cause it at will.
    pub(crate) fn log_full(&self) {
        if self.warned.swap(true, Ordering::Relaxed) {
            tracing::debug!(target: "erps", "the send queue is full again: a reply was dropped");
        } else {
            tracing::warn!(target: "erps", "the send queue is full because the peer does not read: a reply was dropped");
        }
    }

    /// Waits until the queue is below the limit of pushes. Returns whether it had to wait. Another sender may be
    /// faster afterwards.
    pub(crate) async fn wait_below_limit(&self) -> Result<bool, Closed> {
        let mut waited = false;
        loop {
            let listener = self.below_limit.listen();
            {
                let queue = self.queue();
                if queue.closed {
                    return Err(Closed);
                }
                if queue.bytes < self.limits.bytes {
                    return Ok(waited);
                }
            }
            listener.await;
            waited = true;
        }
    }

    /// Notifies the next waiting sender if the queue is still below the limit. Called by a sender that has waited.
    pub(crate) fn notify_next(&self) {
        if self.is_below_limit() {
            self.below_limit.notify(1);
        }
    }

    /// Moves the first chunk to `out`, or waits for a packet. For the connection's task.
    pub(crate) fn poll_dequeue(&self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Dequeued> {
        let mut queue = self.queue();
        if queue.bytes == 0 {
            queue.wait(cx);
            return Poll::Pending;
        }
        let dequeued = queue.dequeue(out);
        let below_limit = queue.bytes < self.limits.bytes;
        drop(queue);
        if below_limit {
            self.below_limit.notify(1);
        }
        Poll::Ready(dequeued)
    }

    /// Ready if packets of the peer may be read: it is below its limits of calls in flight and unsent bytes. For the
    /// connection's task.
    pub(crate) fn poll_may_read(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue();
        if queue.in_flight < self.limits.in_flight
            && queue.bytes < self.limits.bytes
            && queue.unencoded == 0
        {
            // The task dequeues everything before it waits again, so no sender needs to wake it.
            queue.task = None;
            return Poll::Ready(());
        }
        queue.wait(cx);
        Poll::Pending
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// Returns the number of queued bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.queue().bytes
    }

    /// Counts a call as in flight, until [`call_ended`](Self::call_ended).
    pub(crate) fn call_began(&self) {
        self.queue().in_flight += 1;
    }

    pub(crate) fn call_ended(&self) {
        let task = {
            let mut queue = self.queue();
            queue.in_flight -= 1;
            // The task waits for this only at the limit, and in a drain.
            let was_full = queue.in_flight + 1 == self.limits.in_flight;
            if was_full || (queue.drain.is_some() && queue.is_idle()) {
                queue.task.take()
            } else {
                None
            }
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Counts a [`Busy`](crate::Busy) guard.
    pub(crate) fn busy_began(&self) {
        self.queue().busy += 1;
    }

    pub(crate) fn busy_ended(&self) {
        let task = {
            let mut queue = self.queue();
            queue.busy -= 1;
            // A drain reads until the last guard is dropped.
            match queue.drain {
                Some(_) if queue.busy == 0 => queue.task.take(),
                _ => None,
            }
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Returns the number of [`Busy`](crate::Busy) guards.
    pub(crate) fn busy(&self) -> usize {
        self.queue().busy
    }

    /// Returns whether all calls are answered, and no [`Busy`](crate::Busy) guard is left.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue().is_idle()
    }

    /// Returns the number of unanswered calls of the peer.
    pub(crate) fn in_flight(&self) -> usize {
        self.queue().in_flight
    }

    /// Returns the number of packets queued so far.
    pub(crate) fn packets(&self) -> u64 {
        self.queue().packets
    }

    /// Requests a drain: packets are read until a time, and the connection is closed when its calls are answered and the
    /// server is not busy. Repeated, the earlier deadlines hold.
    pub(crate) fn drain(&self, deadlines: Deadlines) {
        let task = {
            let mut queue = self.queue();
            queue.drain(deadlines);
            self.draining.store(true, Ordering::Release);
            queue.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Returns until when packets are read, if a drain was requested. A busy server may need more of them to finish.
    pub(crate) fn read_until(&self) -> Option<Instant> {
        if !self.draining.load(Ordering::Acquire) {
            return None;
        }
        let queue = self.queue();
        queue.drain.map(|deadlines| match queue.busy {
            0 => deadlines.read_until,
            _ => deadlines.finish_by,
        })
    }

    /// Returns by when the server has to finish, if a drain was requested.
    pub(crate) fn finish_by(&self) -> Option<Instant> {
        if !self.draining.load(Ordering::Acquire) {
            return None;
        }
        self.queue().drain.map(|deadlines| deadlines.finish_by)
    }

    /// Closes the queue: no packet is accepted. Queued packets can still be dequeued.
    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.notify_closed();
    }

    fn notify_closed(&self) {
        self.below_limit.notify(usize::MAX);
        self.closed.notify(usize::MAX);
    }

    /// Returns whether the queue is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue().closed
    }

    /// Waits until the queue is closed.
    pub(crate) async fn until_closed(&self) {
        loop {
            let closed = self.closed.listen();
            if self.is_closed() {
                return;
            }
            closed.await;
        }
    }

    /// Notes that the server has failed: its unanswered calls fail with this message, if there is one.
    pub(crate) fn set_failure(&self, message: Option<String>) {
        let _ = self.failure.set(message.map(Into::into));
    }

    /// Returns the message of [`set_failure`](Self::set_failure); `None` if the server has not failed.
    pub(crate) fn failure(&self) -> Option<Option<&str>> {
        self.failure.get().map(Option::as_deref)
    }

    /// Closes the queue and drops the queued packets, even if handles to the queue remain.
    pub(crate) fn close_and_clear(&self) {
        let queued = {
            let mut queue = self.queue();
            queue.closed = true;
            queue.clear()
        };
        drop(queued);
        self.notify_closed();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
