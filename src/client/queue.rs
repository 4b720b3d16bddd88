//! The send queue of a client.

use std::collections::VecDeque;

use crate::{encode::Encode, link::WRITE_CHUNK, task::BUDGET};

/// Packets in the order of sending: encoded, or jobs that encode them.
#[derive(Default)]
pub(super) struct Queue {
    /// The bytes of the small packets.
    small: Vec<u8>,
    /// How many bytes of `small` were popped.
    taken: usize,
    packets: VecDeque<Queued>,
    /// The bytes of all packets.
    bytes: usize,
}

struct Queued {
    /// `None` if the packet has no reply.
    reference: Option<u64>,
    packet: Packet,
}

enum Packet {
    /// The length of a packet in `small`.
    Small(usize),
    Large(Vec<u8>),
    /// A packet that is encoded when it is sent. It counts as [`BUDGET`] bytes.
    Unencoded(Encode),
}

/// A packet that was taken from the queue.
pub(super) enum Popped<'a> {
    Small(&'a [u8]),
    Large(Vec<u8>),
    Unencoded(Encode),
}

impl Queue {
    /// Appends a packet. A large one is moved out of `packet`.
    pub(super) fn push(&mut self, packet: &mut Vec<u8>, reference: Option<u64>) {
        let len = packet.len();
        let packet = if len > WRITE_CHUNK {
            Packet::Large(std::mem::take(packet))
        } else {
            self.small.extend_from_slice(packet);
            Packet::Small(len)
        };
        self.bytes += len;
        self.packets.push_back(Queued { reference, packet });
    }

    /// Appends a packet that is encoded when it is sent.
    pub(super) fn push_unencoded(&mut self, packet: Encode, reference: Option<u64>) {
        let packet = Packet::Unencoded(packet);
        self.bytes += BUDGET;
        self.packets.push_back(Queued { reference, packet });
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the reference of the first packet: `None` if the queue is empty, `Some(None)` if it is no call.
    pub(super) fn front(&self) -> Option<Option<u64>> {
        self.packets.front().map(|queued| queued.reference)
    }

    /// Removes the first packet; `None` if the queue is empty.
    pub(super) fn pop(&mut self) -> Option<Popped<'_>> {
        let len = match self.packets.pop_front()?.packet {
            Packet::Small(len) => len,
            Packet::Large(packet) => {
                self.bytes -= packet.len();
                return Some(Popped::Large(packet));
            }
            Packet::Unencoded(packet) => {
                self.bytes -= BUDGET;
                return Some(Popped::Unencoded(packet));
            }
        };
        if self.taken >= WRITE_CHUNK && self.taken * 2 > self.small.len() {
            self.small.drain(..self.taken);
            self.taken = 0;
        }
        let start = self.taken;
        self.taken += len;
        self.bytes -= len;
        Some(Popped::Small(&self.small[start..self.taken]))
    }

    /// Releases memory if the queue is empty.
    pub(super) fn tidy(&mut self) {
        if self.packets.is_empty() {
            self.taken = 0;
            if self.small.capacity() > WRITE_CHUNK {
                self.small = Vec::new();
            } else {
                self.small.clear();
            }
        }
    }
}
