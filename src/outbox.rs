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
//! Nothing here grows without a bound, whoever sends and whoever does not read:
//!
//! ```text
//! 0                     limit of bytes                limit of replies
//! |-------------------------|-----------------------------|
//! | everything is taken     | replies only                | a call that would be answered now
//! |                         | the peer is not read from   | fails, with a message that says why
//! ```

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

/// How large a chunk of several packets becomes. One packet may be larger.
pub(crate) const CHUNK: usize = 64 * 1024;

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
    /// Bytes above which pushes wait and no further packet of the peer is handled.
    pub(crate) bytes: usize,
    /// Bytes above which no reply is taken, unless it is the one that crosses the limit of `bytes`.
    pub(crate) replies: usize,
    /// Calls of the peer that have no answer yet.
    pub(crate) in_flight: usize,
    /// Hand out one packet at a time, for a peer that cannot take two together.
    pub(crate) one_by_one: bool,
}

#[derive(Debug, Default)]
struct Queue {
    /// Chunks that are full, before the one that is being filled.
    full: VecDeque<Vec<u8>>,
    filling: Vec<u8>,
    /// How long all chunks are together.
    bytes: usize,
    in_flight: usize,
    /// How many packets were ever appended.
    packets: u64,
    /// Until when the peer is listened to, if the connection is to take leave.
    leave: Option<Instant>,
    closed: bool,
    /// The connection's task, if it waits.
    task: Option<Waker>,
}

/// What is sent, in the eyes of the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Nobody waits for it: it has to have room.
    Push,
    /// The answer to a call.
    Reply,
    /// Short and rare: why a packet was refused, or a call has no reply.
    Error,
}

/// Why a packet was not taken.
#[derive(Debug)]
pub(crate) enum Untaken {
    /// The connection is gone, or about to go; nothing can be sent any more.
    Closed,
    /// There is no room for this sort.
    Full,
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

    /// Appends a packet, if there is room for its sort.
    ///
    /// The user's `Serialize` runs in `encode`, outside the lock.
    pub(crate) fn send(
        &self,
        sort: Sort,
        encode: impl FnOnce(&Codec, &mut Vec<u8>) -> Result<(), PacketError>,
    ) -> Result<Result<(), Untaken>, PacketError> {
        let mut scratch = scratch();
        encode(&self.codec, &mut scratch)?;
        let (taken, task) = {
            let mut queue = self.queue();
            let taken = queue.may_take(sort, scratch.len(), &self.limits);
            if taken.is_ok() {
                queue.append(&scratch, self.limits.one_by_one);
            }
            let task = taken.is_ok().then(|| queue.task.take());
            (taken, task.flatten())
        };
        put_back(scratch);
        if let Some(task) = task {
            task.wake();
        }
        Ok(taken)
    }

    /// Whether there is room for another packet that is nobody's reply.
    pub(crate) fn has_room(&self) -> bool {
        let queue = self.queue();
        queue.closed || queue.bytes < self.limits.bytes
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
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<()> {
        let mut queue = self.queue();
        if queue.bytes == 0 {
            queue.wait(cx);
            return Poll::Pending;
        }
        let before = out.len();
        match queue.full.pop_front() {
            Some(chunk) if before == 0 => *out = chunk,
            Some(mut chunk) => out.append(&mut chunk),
            None if before == 0 => std::mem::swap(out, &mut queue.filling),
            None => out.append(&mut queue.filling),
        }
        if queue.full.is_empty() {
            queue.full = VecDeque::new();
        }
        queue.bytes -= out.len() - before;
        let has_room = queue.bytes < self.limits.bytes;
        drop(queue);
        if has_room {
            self.room.notify(1);
        }
        Poll::Ready(())
    }

    /// For the connection's task: whether the peer may be listened to, or has too much going on.
    pub(crate) fn poll_may_read(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue();
        if queue.in_flight < self.limits.in_flight && queue.bytes < self.limits.bytes {
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
        self.room.notify(usize::MAX);
    }

    /// As [`close`](Self::close), where nothing will be taken out any more: what is queued is dropped, whoever
    /// keeps this.
    pub(crate) fn abandon(&self) {
        let queued = {
            let mut queue = self.queue();
            queue.closed = true;
            queue.bytes = 0;
            (
                std::mem::take(&mut queue.full),
                std::mem::take(&mut queue.filling),
            )
        };
        drop(queued);
        self.room.notify(usize::MAX);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn may_take(&self, sort: Sort, bytes: usize, limits: &Limits) -> Result<(), Untaken> {
        let full = match sort {
            Sort::Push => self.bytes >= limits.bytes,
            // Whatever its size, it has room if nothing waits that should not.
            Sort::Reply => self.bytes >= limits.bytes && self.bytes + bytes > limits.replies,
            Sort::Error => false,
        };
        match (self.closed, full) {
            (true, _) => Err(Untaken::Closed),
            (false, true) => Err(Untaken::Full),
            (false, false) => Ok(()),
        }
    }

    fn append(&mut self, packet: &[u8], alone: bool) {
        let size = self.filling.len() + packet.len();
        if !self.filling.is_empty() && (alone || size > CHUNK) {
            let mut chunk = std::mem::take(&mut self.filling);
            // It waits behind others, so that its peer is slow, or it is large.
            chunk.shrink_to_fit();
            self.full.push_back(chunk);
        }
        self.filling.extend_from_slice(packet);
        self.bytes += packet.len();
        self.packets += 1;
    }

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
