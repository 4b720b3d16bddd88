//! The queued packets, in order, and their limits.

use std::{
    collections::VecDeque,
    fmt,
    task::{Context, Waker},
    time::Instant,
};

use crate::{encode::Encode, task::BUDGET};

/// The largest chunk of several packets. A single packet may be larger.
pub(crate) const CHUNK: usize = 64 * 1024;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The number of bytes above which pushes wait, and no further packet of the peer is handled.
    pub(crate) bytes: usize,
    /// The number of bytes above which replies are rejected, unless `bytes` was not reached before.
    pub(crate) replies: usize,
    /// The number of unanswered calls at which no further packet of the peer is handled.
    pub(crate) in_flight: usize,
    /// Whether packets are dequeued one at a time, for a peer that cannot receive two in one read.
    pub(crate) one_by_one: bool,
}

/// The deadlines of a drain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Until when packets of a server that is not busy are read.
    pub(crate) read_until: Instant,
    /// When servers that have not finished are shut down.
    pub(crate) finish_by: Instant,
}

impl Deadlines {
    fn earliest(self, other: Self) -> Self {
        Self {
            read_until: self.read_until.min(other.read_until),
            finish_by: self.finish_by.min(other.finish_by),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Completed chunks, which precede the one that is being filled.
    full: VecDeque<Chunk>,
    filling: Vec<u8>,
    /// The total size of all chunks.
    pub(super) bytes: usize,
    /// The number of unencoded chunks.
    pub(super) unencoded: usize,
    pub(super) in_flight: usize,
    /// The number of packets appended so far.
    pub(super) packets: u64,
    /// How many [`Busy`](crate::Busy) guards there are.
    pub(super) busy: usize,
    /// The deadlines of the drain, if the connection drains.
    pub(super) drain: Option<Deadlines>,
    pub(super) closed: bool,
    /// The connection's task, if it waits.
    pub(super) task: Option<Waker>,
}

enum Chunk {
    /// Whole packets.
    Bytes(Vec<u8>),
    /// One unencoded packet. It counts as [`BUDGET`] bytes.
    Encode(Encode),
}

/// The result of a dequeue.
pub(crate) enum Dequeued {
    /// Packets were appended to the buffer.
    Bytes,
    /// A packet to be encoded first.
    Encode(Encode),
}

/// The class of a packet, which determines its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketClass {
    /// A push: limited to `bytes`.
    Push,
    /// The reply to a call: limited to `replies`.
    Reply,
    /// A short error packet, for a rejected packet or a call without a reply: always accepted.
    Error,
}

/// Why a packet was not queued.
#[derive(Debug)]
pub(crate) enum EnqueueError {
    /// The connection is closed or closing: no packet can be sent.
    Closed,
    /// The queue is full for packets of this class.
    Full,
}

impl Queue {
    /// Begins a drain, or moves its deadlines to earlier ones.
    pub(super) fn drain(&mut self, deadlines: Deadlines) {
        let earlier = self.drain.map_or(deadlines, |it| it.earliest(deadlines));
        self.drain = Some(earlier);
    }

    /// Returns whether nothing of the server keeps a drain from ending.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.busy == 0
    }

    /// Checks whether a packet of this class and size is accepted.
    pub(super) fn check(
        &self,
        class: PacketClass,
        bytes: usize,
        limits: &Limits,
    ) -> Result<(), EnqueueError> {
        let full = match class {
            PacketClass::Push => self.bytes >= limits.bytes,
            // Below the limit of `bytes` a reply of any size is accepted.
            PacketClass::Reply => self.bytes >= limits.bytes && self.bytes + bytes > limits.replies,
            PacketClass::Error => false,
        };
        match (self.closed, full) {
            (true, _) => Err(EnqueueError::Closed),
            (false, true) => Err(EnqueueError::Full),
            (false, false) => Ok(()),
        }
    }

    pub(super) fn append(&mut self, packet: &mut Vec<u8>, alone: bool) {
        if packet.len() > CHUNK {
            self.end_chunk();
            let mut packet = std::mem::take(packet);
            packet.shrink_to_fit();
            self.full.push_back(Chunk::Bytes(packet));
        } else {
            self.append_small(packet, alone);
        }
    }

    /// Appends a packet that is not larger than a chunk.
    pub(super) fn append_small(&mut self, packet: &[u8], alone: bool) {
        if alone || self.filling.len() + packet.len() > CHUNK {
            self.end_chunk();
        }
        self.filling.extend_from_slice(packet);
    }

    pub(super) fn append_unencoded(&mut self, packet: Encode) {
        self.end_chunk();
        self.full.push_back(Chunk::Encode(packet));
        self.unencoded += 1;
    }

    /// Moves the first chunk to `out`, or returns the packet to be encoded.
    pub(super) fn dequeue(&mut self, out: &mut Vec<u8>) -> Dequeued {
        let mut chunk = match self.full.pop_front() {
            Some(Chunk::Encode(packet)) => {
                self.bytes -= BUDGET;
                self.unencoded -= 1;
                return Dequeued::Encode(packet);
            }
            Some(Chunk::Bytes(chunk)) => chunk,
            None => std::mem::take(&mut self.filling),
        };
        if self.full.is_empty() {
            self.full = VecDeque::new();
        }
        self.bytes -= chunk.len();
        if out.is_empty() {
            // The emptied buffer is reused for the next chunk.
            std::mem::swap(out, &mut chunk);
            if self.filling.capacity() == 0 {
                self.filling = chunk;
            }
        } else {
            out.append(&mut chunk);
        }
        Dequeued::Bytes
    }

    /// Removes all packets, and returns them to be dropped without the lock.
    pub(super) fn clear(&mut self) -> impl Sized + use<> {
        self.bytes = 0;
        self.unencoded = 0;
        let full = std::mem::take(&mut self.full);
        (full, std::mem::take(&mut self.filling))
    }

    /// Completes the chunk that is being filled.
    fn end_chunk(&mut self) {
        if !self.filling.is_empty() {
            let mut chunk = std::mem::take(&mut self.filling);
            // It is kept for longer if the peer is slow, or it is large.
            chunk.shrink_to_fit();
            self.full.push_back(Chunk::Bytes(chunk));
        }
    }

    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(cx.waker()),
            None => self.task = Some(cx.waker().clone()),
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Encode(_) => f.write_str("Encode"),
        }
    }
}
