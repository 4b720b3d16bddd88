//! The errors of calls, casts and connections.

use std::{io, sync::Arc, time::Duration};

use crate::{
    AddressError, Endpoint, ExitReason,
    task::timeout_hint,
    text::Chain,
    transport::{DialError, HandshakeError},
    wire::codec::PacketError,
};

/// Why a call has no reply.
///
/// The variants are ordered by what the server may have done.
/// [`may_have_run`](Self::may_have_run) returns whether the server may have handled the call.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is no connection, it was lost before the call was sent, or the server rejected this client. The server
    /// has not handled the call.
    #[error("not connected: {why}")]
    Disconnected {
        /// Why there is no connection.
        why: Box<NotConnected>,
    },
    /// The send queue is full. The call was not sent.
    #[error("the send queue is full; see `max_queued`")]
    QueueFull,
    /// The call cannot be encoded as a packet. It was not sent.
    #[error(transparent)]
    Unsendable(Box<PacketError>),
    /// The call timed out.
    #[error("{}{}", if *.sent { "no reply in time" } else { "the call timed out before it was sent" }, timeout_hint())]
    TimedOut {
        /// Whether the call was sent. If not, it will not be.
        sent: bool,
    },
    /// The call was sent, and the connection was lost before the reply.
    #[error("the connection was lost before the reply arrived")]
    Lost,
    /// The server failed while it handled this call, or before it had replied: a callback returned an error or
    /// panicked. The server has exited, and the connection with it.
    #[error("the server failed before it replied{}", .message.as_ref().map(|it| format!(": {it}")).unwrap_or_default())]
    Failed {
        /// The error, if the server [sends it](crate::ServerOptions::error_details).
        message: Option<String>,
    },
    /// The server dropped the call's [`ReplyTo`](crate::ReplyTo) without a reply, and continues to run.
    #[error("the server dropped the call without a reply")]
    Unanswered,
    /// The server rejected the call, or failed to handle it, with this message.
    #[error("error from the server: {0}")]
    Remote(String),
    /// The reply cannot be decoded as the protocol's.
    #[error("the reply cannot be decoded: {0}")]
    Undecodable(String),
}

impl CallError {
    /// Returns true if the server may have handled the call, or part of it. If not, it is safe to repeat the call.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        !matches!(
            self,
            Self::Disconnected { .. }
                | Self::QueueFull
                | Self::Unsendable(_)
                | Self::TimedOut { sent: false }
        )
    }
}

/// Why a cast was not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CastError {
    /// There is no connection.
    #[error("not connected: {why}")]
    Disconnected {
        /// Why there is no connection.
        why: Box<NotConnected>,
    },
    /// The cast cannot be encoded as a packet.
    #[error(transparent)]
    Unsendable(Box<PacketError>),
}

/// Why a client is not connected.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotConnected {
    /// The first attempt to connect has not finished.
    #[error("the client is connecting for the first time")]
    Connecting,
    /// The last attempt to connect has failed.
    #[error("{}", Chain(.0))]
    Connect(ConnectError),
    /// The last connection was lost, or the server has rejected it, and the next attempt has not finished.
    #[error("{0}")]
    Disconnect(Disconnect),
    /// The client has exited.
    #[error("the client has exited: {0}")]
    Exited(ExitReason),
}

/// Why an attempt to connect has failed. No call was sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The client was given an invalid address. Nothing was sent.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The host name has no address.
    #[error("cannot resolve {host:?}")]
    Unresolved {
        /// The host name.
        host: Arc<str>,
        /// The error of the system's resolver.
        source: Arc<io::Error>,
    },
    /// The system could not connect: the port refuses connections or the host is unreachable, for instance. If the
    /// host name has several addresses, this is the error of the last.
    #[error("cannot connect to {address}")]
    Unreachable {
        /// The address that was tried.
        address: Endpoint,
        /// The error of the system.
        source: Arc<io::Error>,
    },
    /// The host did not respond within the [connect timeout](crate::ClientBuilder::connect_timeout).
    #[error("cannot connect to {address}: no response within {limit:?}")]
    TimedOut {
        /// The address that was tried.
        address: Endpoint,
        /// The timeout.
        limit: Duration,
    },
    /// The handshake of the transport failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The handshake timed out after this [time](crate::ClientBuilder::handshake_timeout).
    #[error("the server did not complete its handshake within {0:?}")]
    HandshakeTimeout(Duration),
    /// [`Client::disconnect`](crate::Client::disconnect) was called during the attempt.
    #[error("the client was told to disconnect")]
    Disconnected,
    /// The client has exited.
    #[error("the client has exited: {0}")]
    Ended(ExitReason),
}

impl ConnectError {
    /// Returns true if another attempt most likely fails in the same way until the settings of one end are changed: the
    /// address is invalid, or the server rejects this client.
    ///
    /// The client retries all the same, [slowly](crate::ClientBuilder::slow_backoff): a rejection may be a mistake of
    /// the server, or forged by anything on the path.
    #[must_use]
    pub fn is_likely_permanent(&self) -> bool {
        match self {
            Self::Address(_) => true,
            Self::Handshake(error) => error.is_likely_permanent(),
            _ => false,
        }
    }

    /// Returns the kind by which log messages are rate-limited. There are few kinds.
    pub(super) fn kind(&self) -> (&'static str, Option<io::ErrorKind>) {
        match self {
            Self::Address(_) => ("address", None),
            Self::Unresolved { source, .. } => ("unresolved", Some(source.kind())),
            Self::Unreachable { source, .. } => ("unreachable", Some(source.kind())),
            Self::TimedOut { .. } => ("timed out", None),
            Self::Handshake(error) => error.kind(),
            Self::HandshakeTimeout(_) => ("handshake timed out", None),
            Self::Disconnected => ("disconnected", None),
            Self::Ended(_) => ("ended", None),
        }
    }
}

impl From<DialError> for ConnectError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Address(error) => Self::Address(error),
            DialError::Unresolved { host, source } => Self::Unresolved {
                host: host.into(),
                source: Arc::new(source),
            },
            DialError::NoAddress(host) => Self::Unresolved {
                host: host.into(),
                source: Arc::new(io::ErrorKind::NotFound.into()),
            },
            DialError::Failed { address, source } => Self::Unreachable {
                address,
                source: Arc::new(source),
            },
            DialError::TimedOut { address, limit } => Self::TimedOut { address, limit },
        }
    }
}

/// Why a client lost its connection.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnect {
    /// [`Client::disconnect`](crate::Client::disconnect) was called, or the client exits.
    #[error("the client was told to disconnect")]
    Asked,
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server rejected this client and sent the reason.
    ///
    /// The client waits at least `retry_after` before it reconnects, unless [`connect`](crate::Client::connect) is
    /// called. It waits a day at most, and a minute at most if the transport is not secure: then anything on the path
    /// may have sent the rejection.
    #[error("rejected by the server: {why}")]
    Refused {
        /// The reason, as the server sent it.
        why: String,
        /// When to reconnect, if the server sent that.
        retry_after: Option<Duration>,
    },
    /// The server sent this error as its last packet and closed the connection: it received a packet over its limit, for
    /// instance, or bytes that are not a packet.
    #[error("the server closed the connection: {0}")]
    Reported(String),
    /// The connection failed.
    #[error("{0}")]
    Failed(Arc<io::Error>),
    /// The server violated the protocol, did not complete a packet in time, or did not read in time.
    #[error("{0}")]
    Broken(String),
}
