//! A packet that is too large for the read buffer.

use std::thread;

use crate::wire::{
    decoder::READ_CHUNK,
    packet::{Header, Packet},
};

/// How much is allocated and read at a time: memory grows with what arrives, and a chunk is never moved.
const CHUNK: usize = READ_CHUNK;

/// A packet whose payload arrives chunk by chunk. It is put together where it is decoded.
#[derive(Debug)]
pub(crate) struct Large {
    header: Header,
    chunks: Vec<Vec<u8>>,
    /// How much of the last chunk is filled.
    filled: usize,
    /// How many bytes of the payload have not arrived.
    missing: usize,
}

impl Large {
    /// A packet of which this much of the payload has arrived.
    pub(crate) fn new(header: Header, arrived: Vec<u8>, missing: usize) -> Self {
        Self {
            header,
            filled: arrived.len(),
            chunks: vec![arrived],
            missing,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Where to read into; never beyond the end of the packet.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        if self.chunks.last().is_none_or(|it| it.len() == self.filled) {
            self.chunks.push(vec![0; self.missing.min(CHUNK)]);
            self.filled = 0;
        }
        let chunk = self
            .chunks
            .last_mut()
            .expect("there is one, or one was added");
        &mut chunk[self.filled..]
    }

    /// So many bytes were read into the [`spare`](Self::spare) room.
    pub(super) fn fill(&mut self, bytes: usize) {
        self.filled += bytes;
        self.missing -= bytes;
    }

    /// Puts the payload together, which copies it. For a thread that has time for that.
    pub(crate) fn join(mut self) -> Joined {
        let payload = match self.chunks.len() {
            1 => self.chunks.remove(0),
            _ => {
                let mut payload = Vec::with_capacity(self.chunks.iter().map(Vec::len).sum());
                // Each chunk is freed as soon as it has been copied. Other threads come first: theirs is the
                // work of all other connections.
                for chunk in self.chunks {
                    payload.extend_from_slice(&chunk);
                    thread::yield_now();
                }
                payload
            }
        };
        Joined {
            header: self.header,
            payload,
        }
    }
}

/// A packet that owns its payload.
pub(crate) struct Joined {
    header: Header,
    payload: Vec<u8>,
}

impl Joined {
    pub(crate) fn as_packet(&self) -> Packet<'_> {
        Packet {
            header: self.header,
            payload: &self.payload,
        }
    }
}
