//! Data in flight: the bytes of one write, or the end of the stream.

use std::time::Instant;

use super::link::{Arrival, Due};

pub(super) struct Chunk {
    pub(super) sent: Instant,
    pub(super) arrival: Arrival,
    /// Empty: the end of the stream.
    bytes: Vec<u8>,
    /// How many of them were read.
    read: usize,
}

impl Chunk {
    pub(super) fn new(sent: Instant, arrival: Arrival, bytes: Vec<u8>) -> Self {
        Self {
            sent,
            arrival,
            bytes,
            read: 0,
        }
    }

    /// Whether it is the end of the stream.
    pub(super) fn is_end(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_read(&self) -> bool {
        self.read == self.bytes.len()
    }

    /// Whether something of it has arrived and was not read.
    pub(super) fn is_here(&self, now: Instant) -> bool {
        match self.is_end() {
            true => self.arrival.due.is_by(now),
            false => self.arrival.arrived(self.bytes.len(), now) > self.read,
        }
    }

    /// Reads what has arrived into `room`.
    pub(super) fn take(&mut self, room: &mut [u8], now: Instant) -> usize {
        let arrived = self.arrival.arrived(self.bytes.len(), now);
        let bytes = &self.bytes[self.read..arrived];
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.read += count;
        count
    }

    /// Holds back what has not arrived, as a chunk of its own if some of it has.
    pub(super) fn hold(mut self, now: Instant) -> [Option<Self>; 2] {
        let held = match self.arrival.due {
            Due::At(at) => at > now,
            Due::Held | Due::Never => false,
        };
        if !held {
            return [Some(self), None];
        }
        let arrived = self.arrival.arrived(self.bytes.len(), now);
        let rest = self.bytes.split_off(arrived);
        let rest = Self::new(self.sent, Arrival::whole(Due::Held), rest);
        // An empty chunk would be the end of the stream.
        let here = (self.read < arrived).then(|| {
            self.arrival = Arrival::whole(Due::At(now));
            self
        });
        [here, Some(rest)]
    }
}
