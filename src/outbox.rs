//! What a server has to send: packets, whole and in order, from any task or thread.
//!
//! ```text
//! handler, ReplyTo, ServerRef::push --> outbox --> the connection's task --> socket
//! ```
//!
//! Senders append under a short lock and wake the connection's task only if it waits. The task
//! takes a chunk at a time, so that what was sent together leaves in one write, and no more than a
//! chunk is held outside of what is counted here.
//!
//! A reply that is too large to be encoded at once is queued as it is. The task has it encoded elsewhere when its
//! turn comes, and nothing overtakes it; until then no further packet of the peer is handled.
//!
//! Nothing here grows without a bound, whoever sends and whoever does not read:
//!
//! ```text
//! 0                     limit of bytes                limit of replies
//! |-------------------------|-----------------------------|
//! | everything is taken     | replies only                | a call that would be answered now
//! |                         | the peer is not read from   | fails, with a message that says why
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
    task::TURN,
    wire::codec::{Codec, PacketError},
};
use queue::Queue;
pub(crate) use queue::{CHUNK, Limits, Sort, Taken, Untaken};

#[derive(Debug)]
pub(crate) struct Outbox {
    codec: Codec,
    limits: Limits,
    queue: Mutex<Queue>,
    /// True once the connection is to take leave: asked at every turn, without the lock.
    leaving: AtomicBool,
    /// Whether it was logged that there is no room for replies.
    warned: AtomicBool,
    /// Notified when the queue falls below its limit, and when it closes.
    room: Event,
    /// Notified when the queue closes.
    closed: Event,
    /// Set once the server has failed: the message for the callers of its unanswered calls, if they may see one.
    failure: OnceLock<Option<Box<str>>>,
}

/// The connection is gone, or about to go; nothing can be sent any more.
#[derive(Debug)]
pub(crate) struct Closed;

impl Outbox {
    pub(crate) fn new(codec: Codec, limits: Limits) -> Self {
        Self {
            codec,
            limits,
            queue: Mutex::default(),
            leaving: AtomicBool::new(false),
            warned: AtomicBool::new(false),
            room: Event::new(),
            closed: Event::new(),
            failure: OnceLock::new(),
        }
    }

    /// What packets are encoded with.
    pub(crate) fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Encodes a packet and appends it, if there is room for its sort. Returns whether `encode` did encode it: if
    /// not, nothing is sent.
    ///
    /// The user's `Serialize` runs in `encode`, outside the lock.
    pub(crate) fn send(
        &self,
        sort: Sort,
        encode: impl FnOnce(&Codec, &mut Vec<u8>) -> Result<bool, PacketError>,
    ) -> Result<Result<bool, Untaken>, PacketError> {
        let mut scratch = scratch();
        let encoded = encode(&self.codec, &mut scratch)?;
        let sent = match encoded {
            true => self.append(sort, &mut scratch),
            false => Ok(()),
        };
        put_back(scratch);
        Ok(sent.map(|()| encoded))
    }

    /// Appends an encoded packet, if there is room for its sort. A large one is taken out of `packet`.
    pub(crate) fn append(&self, sort: Sort, packet: &mut Vec<u8>) -> Result<(), Untaken> {
        self.enqueue(sort, packet.len(), |queue| {
            queue.append(packet, self.limits.one_by_one);
        })
    }

    /// Appends a reply that is to be encoded later.
    pub(crate) fn append_unencoded(&self, reply: Encode) -> Result<(), Untaken> {
        self.enqueue(Sort::Reply, TURN, |queue| queue.append_unencoded(reply))
    }

    fn enqueue(
        &self,
        sort: Sort,
        bytes: usize,
        append: impl FnOnce(&mut Queue),
    ) -> Result<(), Untaken> {
        let task = {
            let mut queue = self.queue();
            queue.may_take(sort, bytes, &self.limits)?;
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

    /// Whether there is room for another packet that is nobody's reply.
    pub(crate) fn has_room(&self) -> bool {
        let queue = self.queue();
        queue.closed || queue.bytes < self.limits.bytes
    }

    /// Whether a reply of so many bytes would be taken. Another may take the room first.
    pub(crate) fn has_room_for_reply(&self, bytes: usize) -> bool {
        let taken = self.queue().may_take(Sort::Reply, bytes, &self.limits);
        !matches!(taken, Err(Untaken::Full))
    }

    /// Logs that there is no room for a reply: once as a warning, for a peer can have it happen at will.
    pub(crate) fn log_full(&self) {
        if self.warned.swap(true, Ordering::Relaxed) {
            tracing::debug!(target: "erps", "again there is no room for a reply");
        } else {
            tracing::warn!(target: "erps", "a peer does not read: there is no room for a reply");
        }
    }

    /// Waits until there is room for another packet that is nobody's reply, and tells whether it had to.
    /// Somebody else may take the room first.
    pub(crate) async fn room(&self) -> Result<bool, Closed> {
        let mut waited = false;
        loop {
            let listener = self.room.listen();
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

    /// For one who has waited for room, and is done: the next may come, if there is some left.
    pub(crate) fn pass_on_room(&self) {
        if self.has_room() {
            self.room.notify(1);
        }
    }

    /// For the connection's task: moves a chunk of what there is to `out`, or waits for something.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Taken> {
        let mut queue = self.queue();
        if queue.bytes == 0 {
            queue.wait(cx);
            return Poll::Pending;
        }
        let taken = queue.take(out);
        let has_room = queue.bytes < self.limits.bytes;
        drop(queue);
        if has_room {
            self.room.notify(1);
        }
        Poll::Ready(taken)
    }

    /// For the connection's task: whether the peer may be listened to, or has too much going on.
    pub(crate) fn poll_may_read(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue();
        if queue.in_flight < self.limits.in_flight
            && queue.bytes < self.limits.bytes
            && queue.unencoded == 0
        {
            // It takes what there is before it waits again; until then nobody need wake it.
            queue.task = None;
            return Poll::Ready(());
        }
        queue.wait(cx);
        Poll::Pending
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// How many bytes wait to be taken.
    pub(crate) fn bytes(&self) -> usize {
        self.queue().bytes
    }

    /// A call came in; it counts as in flight until [`call_ended`](Self::call_ended).
    pub(crate) fn call_began(&self) {
        self.queue().in_flight += 1;
    }

    pub(crate) fn call_ended(&self) {
        let task = {
            let mut queue = self.queue();
            queue.in_flight -= 1;
            // The task waits for this only at the limit, and to take leave.
            let was_full = queue.in_flight + 1 == self.limits.in_flight;
            if was_full || (queue.leave.is_some() && queue.in_flight == 0) {
                queue.task.take()
            } else {
                None
            }
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// How many calls of the peer have no answer yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.queue().in_flight
    }

    /// How many packets were ever to be sent.
    pub(crate) fn packets(&self) -> u64 {
        self.queue().packets
    }

    /// Has the connection take leave: what the peer sends until then is handled, and then the
    /// connection ends. Asked again, the nearer time counts.
    pub(crate) fn leave(&self, until: Instant) {
        let task = {
            let mut queue = self.queue();
            queue.leave = Some(queue.leave.map_or(until, |before| before.min(until)));
            self.leaving.store(true, Ordering::Release);
            queue.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Until when the peer is listened to, if the connection is to take leave.
    pub(crate) fn leaves(&self) -> Option<Instant> {
        if !self.leaving.load(Ordering::Acquire) {
            return None;
        }
        self.queue().leave
    }

    /// Takes nothing more. What is queued may still be taken out.
    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.notify_closed();
    }

    fn notify_closed(&self) {
        self.room.notify(usize::MAX);
        self.closed.notify(usize::MAX);
    }

    /// Returns true once nothing more is accepted.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue().closed
    }

    /// Waits until nothing more is accepted.
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

    /// As [`close`](Self::close), where nothing will be taken out any more: what is queued is dropped, whoever
    /// keeps this.
    pub(crate) fn abandon(&self) {
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
