//! Why there is no connection, no reply, or nothing sent.

use std::{io, sync::Arc, time::Duration};

use super::session::End;
use crate::{
    AddressError, Endpoint, ExitReason,
    transport::{DialError, HandshakeError},
    wire::codec::PacketError,
};

/// Why a call has no reply.
///
/// Ordered by what the server may have done: nothing, or perhaps something.
/// [`may_have_run`](Self::may_have_run) is the question to ask before trying again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is no connection, or it was lost before the call left, or the server did not let this client
    /// in. Nobody has seen it.
    #[error("not connected")]
    Disconnected,
    /// Too much waits to be sent already. It was never sent.
    #[error("too many calls are waiting to be sent; see `max_queued`")]
    QueueFull,
    /// The value cannot be a packet. It was never sent.
    #[error("the call cannot be sent: {0}")]
    Unsendable(#[source] Box<PacketError>),
    /// No answer came in time.
    #[error("no answer in time{}", if *.sent { "" } else { ": the call did not even leave" })]
    TimedOut {
        /// Whether it left. If not, it will not.
        sent: bool,
    },
    /// It was sent, and then the connection was lost.
    #[error("the connection was lost before the answer came")]
    Lost,
    /// The server dropped the call without an answer.
    #[error("the server dropped the call unanswered")]
    Unanswered,
    /// The server refused the call, or failed at it, with this message.
    #[error("the server says: {0}")]
    Remote(String),
    /// The server answered with something that is not the protocol's reply.
    #[error("the answer was not understood: {0}")]
    Undecodable(String),
}

impl CallError {
    /// Tells whether the server may have handled the call, or part of it. If not, it is safe to
    /// call again.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        !matches!(
            self,
            Self::Disconnected
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
    #[error("not connected")]
    Disconnected,
    /// The value cannot be a packet.
    #[error("the cast cannot be sent: {0}")]
    Unsendable(#[source] Box<PacketError>),
}

/// Why there is no connection. No call was sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// What the client was given cannot be an address. Nothing was sent.
    #[error("no address to connect to: {0}")]
    Address(#[from] AddressError),
    /// The host's name leads to no address.
    #[error("cannot resolve {host:?}: {source}")]
    Unresolved {
        /// The host that was asked for.
        host: Arc<str>,
        /// What the system's resolver says.
        source: Arc<io::Error>,
    },
    /// The host does not answer, or refuses connections. Of several addresses, the last.
    #[error("cannot connect to {address}: {source}")]
    Unreachable {
        /// The address that was tried.
        address: Endpoint,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The host did not answer in time.
    #[error("cannot connect to {address}: no answer within {limit:?}")]
    TimedOut {
        /// The address that was tried.
        address: Endpoint,
        /// The time limit.
        limit: Duration,
    },
    /// The transport did not secure the connection.
    #[error("no secure connection: {0}")]
    Handshake(#[from] HandshakeError),
    /// The server did not complete the handshake in this time.
    #[error("no secure connection: the server did not complete its handshake within {0:?}")]
    HandshakeTimeout(Duration),
    /// `disconnect` was called meanwhile.
    #[error("the client was told to disconnect")]
    Disconnected,
    /// The client has ended.
    #[error("the client has ended: {0}")]
    Ended(ExitReason),
}

impl ConnectError {
    /// Returns true if another attempt most likely fails in the same way, until the settings of one end are
    /// changed: the address cannot be one, or the server refuses this client.
    ///
    /// The client tries again all the same, [slowly](crate::ClientBuilder::slow_backoff): what it was told
    /// may be a mistake, or come from a stranger on the way.
    #[must_use]
    pub fn is_likely_permanent(&self) -> bool {
        match self {
            Self::Address(_) => true,
            Self::Handshake(error) => error.is_likely_permanent(),
            _ => false,
        }
    }

    /// What it is logged as the same as. There are only so many.
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
    /// It was told to disconnect, or to end.
    #[error("as it was told")]
    Asked,
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server did not let this client in, and said why. A client that heals waits at least as long
    /// as it was told, unless [`connect`](crate::Client::connect) is called: a day at most, and a minute at most if the
    /// transport is not secure, for then anybody on the path may have said it.
    #[error("the server does not let this client in: {why}")]
    Refused {
        /// What the server says.
        why: String,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
    },
    /// The server reported this error as its last word, and closed the connection: what it was sent last was
    /// over a limit of its, for instance, or no packet.
    #[error("the server closed the connection: {0}")]
    Reported(String),
    /// The connection failed.
    #[error("{0}")]
    Failed(Arc<io::Error>),
    /// The server sent what is no packet, or did not go on in time.
    #[error("{0}")]
    Broken(String),
}

impl From<&End> for Disconnect {
    fn from(end: &End) -> Self {
        match end {
            End::Exit(_) | End::Asked => Self::Asked,
            End::Closed => Self::Closed,
            End::Refused(refusal) => Self::Refused {
                why: refusal.reason.clone(),
                retry_after: refusal.retry_after,
            },
            End::Reported(why) => Self::Reported(why.clone()),
            End::Failed(error) => Self::Failed(Arc::clone(error)),
            End::Broken(why) => Self::Broken(why.clone()),
        }
    }
}
