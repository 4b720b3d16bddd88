//! A handle to the connection of a server.

use std::{sync::Arc, time::Instant};

use crate::{
    link::LinkStats,
    send_queue::{Deadlines, SendQueue},
};

/// A handle to the connection of a server. It may outlive the connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionRef {
    send_queue: Arc<SendQueue>,
    stats: Arc<LinkStats>,
}

impl ConnectionRef {
    pub(super) fn new(send_queue: Arc<SendQueue>, stats: Arc<LinkStats>) -> Self {
        Self { send_queue, stats }
    }

    /// Drains the connection: packets are read until a time, or until another if the server is busy.
    pub(crate) fn drain(&self, read_until: Instant, finish_by: Instant) {
        self.send_queue.drain(Deadlines {
            read_until,
            finish_by,
        });
    }

    /// Returns the number of calls of the peer that have no reply yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.send_queue.in_flight()
    }

    /// Returns the number of [`Busy`](crate::Busy) guards.
    pub(crate) fn busy(&self) -> usize {
        self.send_queue.busy()
    }

    /// Returns the number of packets sent or queued.
    pub(crate) fn packets_sent(&self) -> u64 {
        self.send_queue.packets()
    }

    /// Returns the number of bytes in the send queue.
    pub(crate) fn bytes_unsent(&self) -> usize {
        self.send_queue.bytes()
    }

    pub(crate) fn stats(&self) -> &LinkStats {
        &self.stats
    }
}
