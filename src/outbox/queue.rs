//! The packets that wait to be sent, in order, and the limits that they are held to.

use std::{
    collections::VecDeque,
    fmt,
    task::{Context, Waker},
    time::Instant,
};

use crate::{encode::Encode, task::TURN};

/// How large a chunk of several packets becomes. One packet may be larger.
pub(crate) const CHUNK: usize = 64 * 1024;

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
pub(super) struct Queue {
    /// Chunks that are full, before the one that is being filled.
    full: VecDeque<Chunk>,
    filling: Vec<u8>,
    /// How long all chunks are together.
    pub(super) bytes: usize,
    /// How many chunks are still to be encoded.
    pub(super) unencoded: usize,
    pub(super) in_flight: usize,
    /// How many packets were ever appended.
    pub(super) packets: u64,
    /// Until when the peer is listened to, if the connection is to take leave.
    pub(super) leave: Option<Instant>,
    pub(super) closed: bool,
    /// The connection's task, if it waits.
    pub(super) task: Option<Waker>,
}

enum Chunk {
    /// Whole packets.
    Bytes(Vec<u8>),
    /// One packet, to be encoded. It counts as [`TURN`] bytes.
    Encode(Encode),
}

/// What the connection's task is given to send.
pub(crate) enum Taken {
    /// Whole packets, appended to its buffer.
    Bytes,
    /// A packet that is to be encoded first.
    Encode(Encode),
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

impl Queue {
    pub(super) fn may_take(
        &self,
        sort: Sort,
        bytes: usize,
        limits: &Limits,
    ) -> Result<(), Untaken> {
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

    pub(super) fn append(&mut self, packet: &mut Vec<u8>, alone: bool) {
        let size = self.filling.len() + packet.len();
        if alone || size > CHUNK {
            self.end_chunk();
        }
        if packet.len() > CHUNK {
            let mut packet = std::mem::take(packet);
            packet.shrink_to_fit();
            self.full.push_back(Chunk::Bytes(packet));
        } else {
            self.filling.extend_from_slice(packet);
        }
    }

    pub(super) fn append_unencoded(&mut self, packet: Encode) {
        self.end_chunk();
        self.full.push_back(Chunk::Encode(packet));
        self.unencoded += 1;
    }

    /// Moves the first chunk to `out`, or returns the packet that is to be encoded.
    pub(super) fn take(&mut self, out: &mut Vec<u8>) -> Taken {
        let mut chunk = match self.full.pop_front() {
            Some(Chunk::Encode(packet)) => {
                self.bytes -= TURN;
                self.unencoded -= 1;
                return Taken::Encode(packet);
            }
            Some(Chunk::Bytes(chunk)) => chunk,
            None => std::mem::take(&mut self.filling),
        };
        if self.full.is_empty() {
            self.full = VecDeque::new();
        }
        self.bytes -= chunk.len();
        if out.is_empty() {
            // The buffer that is emptied is filled next.
            std::mem::swap(out, &mut chunk);
            if self.filling.capacity() == 0 {
                self.filling = chunk;
            }
        } else {
            out.append(&mut chunk);
        }
        Taken::Bytes
    }

    /// Takes everything out, to be dropped without the lock.
    pub(super) fn clear(&mut self) -> impl Sized + use<> {
        self.bytes = 0;
        self.unencoded = 0;
        let full = std::mem::take(&mut self.full);
        (full, std::mem::take(&mut self.filling))
    }

    /// What follows is not part of the chunk that is being filled.
    fn end_chunk(&mut self) {
        if !self.filling.is_empty() {
            let mut chunk = std::mem::take(&mut self.filling);
            // It waits behind others, so that its peer is slow, or it is large.
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
