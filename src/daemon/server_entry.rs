//! A daemon's record of one of its servers.

use std::time::{Duration, Instant};

use super::{ConnectionInfo, DrainOutcome, Drained};
use crate::{ExitReason, PeerInfo, TaskRef, server::ConnectionRef};

/// One server of a daemon, from before its `init` until it exits.
pub(super) struct ServerEntry {
    pub(super) task: TaskRef,
    pub(super) peer: PeerInfo,
    pub(super) connection: ConnectionRef,
    /// The number of unanswered calls, and of [`Busy`](crate::Busy) guards, when it was shut down before it was finished.
    pub(super) cut: Option<(usize, usize)>,
}

impl ServerEntry {
    /// Notes that it is shut down now, finished or not.
    pub(super) fn cut(&mut self) {
        let unfinished = (self.connection.in_flight(), self.connection.busy());
        self.cut.get_or_insert(unfinished);
    }

    /// Returns whether no byte was received or sent.
    pub(super) fn is_unused(&self) -> bool {
        let stats = self.connection.stats();
        stats.read() == 0 && stats.written() == 0
    }

    /// Returns its outcome in a drain, once it has exited.
    pub(super) fn drained(&self, reason: &ExitReason, took: Duration) -> Drained {
        let outcome = match (self.cut, reason) {
            (Some((calls, busy)), _) if calls + busy > 0 => DrainOutcome::Cut { calls, busy },
            // Also if it was sending its last bytes when it was shut down.
            (_, _) if self.connection.stats().was_flushed() => DrainOutcome::Finished,
            (_, ExitReason::Disconnected) => DrainOutcome::PeerClosed,
            (_, _) => DrainOutcome::Cut { calls: 0, busy: 0 },
        };
        Drained {
            peer: self.peer.address.clone(),
            outcome,
            reason: reason.clone(),
            took,
        }
    }

    pub(super) fn info(&self, now: Instant) -> ConnectionInfo {
        let stats = self.connection.stats();
        ConnectionInfo {
            peer: self.peer.clone(),
            server: self.task.clone(),
            age: now.saturating_duration_since(stats.opened_at()),
            idle: now.saturating_duration_since(stats.last_read()),
            calls_in_flight: self.connection.in_flight(),
            busy: self.connection.busy(),
            bytes_received: stats.read(),
            bytes_sent: stats.written(),
            bytes_unsent: self.connection.bytes_unsent(),
            packets_received: stats.packets(),
            packets_sent: self.connection.packets_sent(),
        }
    }
}
