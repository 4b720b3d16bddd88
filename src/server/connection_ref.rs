//! A handle to the connection of a server.

use std::{sync::Arc, time::Instant};

use crate::{link::LinkStats, outbox::Outbox};

/// A handle to the connection of a server. It may outlive the connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionRef {
    outbox: Arc<Outbox>,
    stats: Arc<LinkStats>,
}

impl ConnectionRef {
    pub(super) fn new(outbox: Arc<Outbox>, stats: Arc<LinkStats>) -> Self {
        Self { outbox, stats }
    }

    /// Drains the connection: packets are still read until the given time.
    pub(crate) fn drain(&self, until: Instant) {
        self.outbox.leave(until);
    }

    /// Returns the number of calls of the peer that have no reply yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.outbox.in_flight()
    }

    /// Returns the number of packets sent or queued.
    pub(crate) fn packets_sent(&self) -> u64 {
        self.outbox.packets()
    }

    /// Returns the number of bytes in the send queue.
    pub(crate) fn bytes_unsent(&self) -> usize {
        self.outbox.bytes()
    }

    pub(crate) fn stats(&self) -> &LinkStats {
        &self.stats
    }
}
