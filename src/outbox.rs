//! What a server has to send: packets, whole and in order, from any task or thread.
//!
//! ```text
//! handler, ReplyTo, ServerRef::push --> outbox --> the connection's task --> socket
//! ```
//!
//! Senders append under a short lock and wake the connection's task only if it waits. The task
//! takes all there is at once, so that what was sent together leaves in one write.

use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use event_listener::Event;

use crate::wire::codec::{Codec, PacketError};

/// The most that the scratch buffer of a thread may keep between two packets.
const SCRATCH: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Outbox {
    codec: Codec,
    limits: Limits,
    queue: Mutex<Queue>,
    /// True once the connection is to take leave: asked at every turn, without the lock.
    leaving: AtomicBool,
    /// Notified when the queue falls below its limit, and when it closes.
    room: Event,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes above which pushes wait and no further packet of the peer is handled. Replies are
    /// always taken: they are bounded by `in_flight`.
    pub(crate) bytes: usize,
    /// Calls of the peer that have no answer yet.
    pub(crate) in_flight: usize,
    /// Hand out one packet at a time, for a peer that cannot take two together.
    pub(crate) one_by_one: bool,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Where each packet ends, kept only if they are handed out one by one.
    ends: VecDeque<usize>,
    in_flight: usize,
    /// How many packets were ever appended.
    packets: u64,
    /// Until when the peer is listened to, if the connection is to take leave.
    leave: Option<Instant>,
    closed: bool,
    /// The connection's task, if it waits.
    task: Option<Waker>,
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
            room: Event::new(),
        }
    }

    /// Appends a packet, over the limit of bytes if need be.
    ///
    /// The user's `Serialize` runs in `encode`, outside the lock.
    pub(crate) fn send(
        &self,
        encode: impl FnOnce(&Codec, &mut Vec<u8>) -> Result<(), PacketError>,
    ) -> Result<Result<(), Closed>, PacketError> {
        let mut scratch = scratch();
        encode(&self.codec, &mut scratch)?;
        let task = {
            let mut queue = self.queue();
            if queue.closed {
                return Ok(Err(Closed));
            }
            queue.bytes.extend_from_slice(&scratch);
            queue.packets += 1;
            if self.limits.one_by_one {
                let end = queue.bytes.len();
                queue.ends.push_back(end);
            }
            queue.task.take()
        };
        put_back(scratch);
        if let Some(task) = task {
            task.wake();
        }
        Ok(Ok(()))
    }

    /// Whether there is room for another packet that is nobody's reply.
    pub(crate) fn has_room(&self) -> bool {
        let queue = self.queue();
        queue.closed || queue.bytes.len() < self.limits.bytes
    }

    /// Waits until there is room for another packet that is nobody's reply.
    pub(crate) async fn room(&self) -> Result<(), Closed> {
        loop {
            let listener = self.room.listen();
            {
                let queue = self.queue();
                if queue.closed {
                    return Err(Closed);
                }
                if queue.bytes.len() < self.limits.bytes {
                    return Ok(());
                }
            }
            listener.await;
        }
    }

    /// For the connection's task: moves what there is to `out`, or waits for something.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<()> {
        let mut queue = self.queue();
        if queue.bytes.is_empty() {
            queue.wait(cx);
            return Poll::Pending;
        }
        match queue.ends.pop_front() {
            Some(end) => {
                out.extend(queue.bytes.drain(..end));
                queue.ends.iter_mut().for_each(|later| *later -= end);
            }
            None if out.is_empty() => std::mem::swap(out, &mut queue.bytes),
            None => out.append(&mut queue.bytes),
        }
        drop(queue);
        self.room.notify(usize::MAX);
        Poll::Ready(())
    }

    /// For the connection's task: whether the peer may be listened to, or has too much going on.
    pub(crate) fn poll_may_read(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue();
        if queue.in_flight < self.limits.in_flight && queue.bytes.len() < self.limits.bytes {
            // It takes what there is before it waits again; until then nobody need wake it.
            queue.task = None;
            return Poll::Ready(());
        }
        queue.wait(cx);
        Poll::Pending
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue().bytes.is_empty()
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
        self.room.notify(usize::MAX);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(cx.waker()),
            None => self.task = Some(cx.waker().clone()),
        }
    }
}

thread_local! {
    /// Packets are built here, so that building one neither allocates nor holds a lock.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The thread's buffer, empty. A `Serialize` that itself sends finds a new one.
pub(crate) fn scratch() -> Vec<u8> {
    BUFFER.try_with(RefCell::take).unwrap_or_default()
}

pub(crate) fn put_back(mut scratch: Vec<u8>) {
    if scratch.capacity() <= SCRATCH {
        scratch.clear();
        // A thread that is ending has no buffer any more.
        let _ = BUFFER.try_with(|buffer| buffer.replace(scratch));
    }
}
