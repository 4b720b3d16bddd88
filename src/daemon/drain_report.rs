//! The result of a drain.

use std::{fmt, time::Duration};

use crate::{Endpoint, ExitReason};

/// The outcome of each connection of a daemon that was [drained](crate::Daemon::drain).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DrainReport {
    /// How long it took until the last connection was closed, or until the limit.
    pub took: Duration,
    /// The connections that had a server, in the order in which they were closed.
    pub connections: Vec<Drained>,
    /// The number of connections closed before they had a server: during the handshake when the drain
    /// began, or during `init` at the limit. No call of theirs was read.
    pub without_server: usize,
    /// The number of connections still open: their servers compute and never await, so that they cannot
    /// be killed.
    pub stuck: usize,
}

impl DrainReport {
    /// Returns the connections whose calls were answered, and whose replies were handed to the system.
    pub fn finished(&self) -> impl Iterator<Item = &Drained> {
        let finished = |it: &&Drained| matches!(it.outcome, DrainOutcome::Finished);
        self.connections.iter().filter(finished)
    }

    /// Returns the connections that were closed before they were finished.
    pub fn cut(&self) -> impl Iterator<Item = &Drained> {
        let cut = |it: &&Drained| matches!(it.outcome, DrainOutcome::Cut { .. });
        self.connections.iter().filter(cut)
    }

    /// Returns whether no connection was cut and none is stuck.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.stuck == 0 && self.cut().next().is_none()
    }
}

/// The outcome of one drained connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Drained {
    /// The address of the peer.
    pub peer: Endpoint,
    /// Whether it was finished.
    pub outcome: DrainOutcome,
    /// The exit reason of its server.
    pub reason: ExitReason,
    /// How long after the start of the drain it was closed.
    pub took: Duration,
}

/// Whether a connection was finished when it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DrainOutcome {
    /// Its calls were answered, and the system has accepted all packets for sending.
    Finished,
    /// The peer closed it first.
    PeerClosed,
    /// It was shut down or killed first, or its peer did not read its replies.
    Cut {
        /// The number of unanswered calls at that moment.
        calls: usize,
        /// The number of [`Busy`](crate::Busy) guards at that moment.
        busy: usize,
    },
}

/// As in "cut with 2 unanswered calls".
impl fmt::Display for DrainOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::PeerClosed => f.write_str("closed by the peer"),
            Self::Cut { calls: 0, busy: 0 } => f.write_str("cut"),
            Self::Cut { calls: 0, .. } => f.write_str("cut while busy"),
            Self::Cut { calls: 1, .. } => f.write_str("cut with 1 unanswered call"),
            Self::Cut { calls, .. } => write!(f, "cut with {calls} unanswered calls"),
        }
    }
}
