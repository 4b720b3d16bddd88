//! What a callback may do besides changing its state.

use std::{fmt, time::Duration};

use super::{PushError, Server, ServerRef};
use crate::{ExitReason, PeerIdentity, PeerInfo, Protocol};

/// A server's own view of itself, handed to every callback.
pub struct Context<S: Server> {
    this: ServerRef<S>,
    peer: Option<PeerInfo>,
    pub(super) stop: Option<ExitReason>,
    pub(super) timeout: Option<Duration>,
}

impl<S: Server> Context<S> {
    pub(super) fn new(this: ServerRef<S>, peer: Option<PeerInfo>) -> Self {
        Self {
            this,
            peer,
            stop: None,
            timeout: None,
        }
    }

    /// Who is at the other end of the connection; `None` if there is no connection.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerInfo> {
        self.peer.as_ref()
    }

    /// What the peer's certificate says of it; `None` without TLS, and without a connection.
    #[must_use]
    pub fn identity(&self) -> Option<&PeerIdentity> {
        self.peer.as_ref()?.identity.as_ref()
    }

    /// The server's own handle, to be given to whoever should send it something.
    ///
    /// A server that calls itself waits for itself: the call times out.
    #[must_use]
    pub fn this(&self) -> &ServerRef<S> {
        &self.this
    }

    /// Ends the server with `reason` when this callback has returned. OTP's `{:stop, reason, …}`.
    ///
    /// Replies already given still reach their callers.
    pub fn stop(&mut self, reason: ExitReason) {
        self.stop = Some(reason);
    }

    /// Runs [`handle_timeout`](Server::handle_timeout) if no message comes within `limit` after
    /// this callback. OTP's time-out: any message cancels it.
    pub fn timeout(&mut self, limit: Duration) {
        self.timeout = Some(limit);
    }

    /// Sends the peer something it did not ask for.
    ///
    /// Waits while more than [`max_outgoing`](crate::ServerOptions::max_outgoing) bytes are queued
    /// for a peer that does not read; ready does not mean received.
    ///
    /// # Errors
    ///
    /// - [`PushError::Disconnected`]: there is no connection, or it is gone.
    /// - [`PushError::Unsendable`]: the value cannot be a packet. Nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is sent.
    pub async fn push(&self, push: <S::Protocol as Protocol>::Push) -> Result<(), PushError> {
        self.this.push(push).await
    }

    /// Closes the connection when this callback has returned, which ends the server with
    /// [`ExitReason::Disconnected`].
    pub fn disconnect(&mut self) {
        self.stop = Some(ExitReason::Disconnected);
    }
}

impl<S: Server> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("this", &self.this)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
