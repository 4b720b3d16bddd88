//! The connection of a server, as seen by those who look on from outside.

use std::{sync::Arc, time::Instant};

use crate::{link::Meter, outbox::Outbox};

/// A handle to the connection of a server. It may outlive it.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionRef {
    outbox: Arc<Outbox>,
    meter: Arc<Meter>,
}

impl ConnectionRef {
    pub(super) fn new(outbox: Arc<Outbox>, meter: Arc<Meter>) -> Self {
        Self { outbox, meter }
    }

    /// Has the connection take leave of its peer, which is listened to until then.
    pub(crate) fn leave(&self, until: Instant) {
        self.outbox.leave(until);
    }

    /// How many calls of the peer have no answer yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.outbox.in_flight()
    }

    /// How many packets were ever to be sent.
    pub(crate) fn packets_sent(&self) -> u64 {
        self.outbox.packets()
    }

    /// How many bytes wait to be sent.
    pub(crate) fn bytes_unsent(&self) -> usize {
        self.outbox.bytes()
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }
}
