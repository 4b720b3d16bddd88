//! Where a client stands.

use std::time::Instant;

use super::ConnectError;
use crate::{ExitReason, PeerInfo};

/// Where a client stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Status {
    /// It is making a connection.
    Connecting,
    /// It has one, to this server.
    Connected(PeerInfo),
    /// It lost its connection, or could not make one, and waits before it tries again.
    Waiting,
    /// It could not make a connection, or lost it at once, for a reason that is
    /// [likely permanent](ConnectError::is_likely_permanent), and waits
    /// [longer](crate::ClientBuilder::slow_backoff) before it tries again. [`Client::connect`](crate::Client::connect) does not wait.
    RetryingSlowly {
        /// Why.
        error: ConnectError,
        /// When it tries again, by the clock of [`time::now`](crate::time::now()). `None`: in a century or
        /// later, as the back-off says.
        next_attempt: Option<Instant>,
    },
    /// It was told to disconnect.
    Disconnected,
    /// It has ended.
    Ended(ExitReason),
}

impl Status {
    /// Tells whether there is a connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected(_))
    }
}
