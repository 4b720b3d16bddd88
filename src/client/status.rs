//! The status of a client.

use std::time::Instant;

use super::ConnectError;
use crate::{ExitReason, PeerInfo};

/// The status of a client. Returned by [`Client::status`](crate::Client::status).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Status {
    /// The client is connecting.
    Connecting,
    /// The client is connected to this server.
    Connected(PeerInfo),
    /// The connection was lost or an attempt has failed, and the client waits for its
    /// [back-off](crate::ClientBuilder::backoff) before it retries.
    Waiting,
    /// The server rejected the client, or the attempt failed for another reason that is
    /// [likely permanent](ConnectError::is_likely_permanent), and the client waits for its
    /// [slow back-off](crate::ClientBuilder::slow_backoff) before it retries.
    /// [`Client::connect`](crate::Client::connect) retries at once.
    RetryingSlowly {
        /// Why the last attempt failed.
        error: ConnectError,
        /// When the client retries, by the clock of [`time::now`](crate::time::now()). `None` if the back-off is a
        /// century or longer.
        next_attempt: Option<Instant>,
    },
    /// [`Client::disconnect`](crate::Client::disconnect) was called.
    Disconnected,
    /// The client has exited.
    Ended(ExitReason),
}

impl Status {
    /// Returns true if the client is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected(_))
    }
}
