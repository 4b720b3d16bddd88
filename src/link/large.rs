//! Packets that are larger than the read buffer.

use std::thread;

use crate::wire::{
    decoder::READ_CHUNK,
    packet::{Header, Packet},
};

/// The size of an allocation and a read: memory grows with the received bytes, and chunks are never moved.
const CHUNK: usize = READ_CHUNK;

/// A packet whose payload is received in chunks. They are joined where the packet is decoded.
#[derive(Debug)]
pub(crate) struct Large {
    header: Header,
    chunks: Vec<Vec<u8>>,
    /// How many bytes of the last chunk are filled.
    filled: usize,
    /// How many bytes of the payload have not been received.
    missing: usize,
}

impl Large {
    /// Returns a packet with the received part of its payload, and the number of missing bytes.
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

    /// Returns a buffer to read into, which ends at the end of the packet at the latest.
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

    /// Counts bytes that were read into the [`spare`](Self::spare) buffer.
    pub(super) fn fill(&mut self, bytes: usize) {
        self.filled += bytes;
        self.missing -= bytes;
    }

    /// Joins the chunks, which copies the payload. To be called off the executor's threads.
    pub(crate) fn join(mut self) -> Joined {
        let payload = match self.chunks.len() {
            1 => self.chunks.remove(0),
            _ => {
                let mut payload = Vec::with_capacity(self.chunks.iter().map(Vec::len).sum());
                // Each chunk is freed once it is copied. Other threads serve all other connections, so they have
                // priority.
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
