//! Why a connection was not secured, in the words of either end.

use std::{error::Error, io, sync::Arc};

use super::{Alert, Untrusted, text::without_password};
use crate::BoxError;

/// Why a [`Transport`](crate::Transport) did not secure a connection.
///
/// Ordered by who is at fault: this end in the peer's eyes, the peer in ours, or the line between
/// them. [`is_likely_permanent`](Self::is_likely_permanent) is the question to ask before trying again.
///
/// A TLS stream may also fail with it later: then it is found inside the [`io::Error`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer refused this end, most often its certificate, and said why.
    #[error("{verdict}: {0}: {meaning}", verdict = .0.verdict(), meaning = .0.meaning())]
    Refused(Alert),
    /// This end refused the peer, and has told it so.
    #[error("the peer is not trusted: {0}")]
    Untrusted(Untrusted),
    /// The host to connect to can be in no certificate. Nothing was sent.
    ///
    /// It is shown without the user and the password of a URL.
    #[error(
        "{0:?} is neither a DNS name nor an IP address; say with `server_name` what the server's certificate is to be checked against"
    )]
    ServerName(Arc<str>),
    /// The peer does not speak TLS: a plaintext client or server, or another protocol.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The peer speaks TLS, but broke its rules, or shares no version or cipher with this end.
    #[error("the TLS handshake failed: {0}")]
    Protocol(Arc<str>),
    /// The peer went away during the handshake.
    #[error("the peer closed the connection during the handshake")]
    Closed,
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[source] Arc<io::Error>),
    /// A transport that is not this library's has a reason of its own.
    #[error("{0}")]
    Other(#[source] Arc<dyn Error + Send + Sync>),
}

impl HandshakeError {
    /// A reason that this library does not know, for transports written by its users.
    pub fn other(error: impl Into<BoxError>) -> Self {
        Self::Other(Arc::from(error.into()))
    }

    /// The error for a host that is no name, without the password it may hold.
    pub(super) fn server_name(host: &str) -> Self {
        Self::ServerName(without_password(host).into())
    }

    /// Returns true if another attempt most likely fails in the same way, until the settings of one end are
    /// changed.
    ///
    /// It is where the peer refuses this end's certificate or versions, and where the server's
    /// name makes no sense. But a refusal is not authenticated: seven bytes of a stranger on the way look
    /// like one. So a client tries again all the same, [slowly](crate::ClientBuilder::slow_backoff).
    #[must_use]
    pub fn is_likely_permanent(&self) -> bool {
        match self {
            Self::Refused(alert) => alert.is_lasting(),
            Self::ServerName(_) => true,
            _ => false,
        }
    }

    /// What it is logged as the same as. There are only so many.
    pub(crate) fn kind(&self) -> (&'static str, Option<io::ErrorKind>) {
        match self {
            Self::Refused(alert) => (alert.name(), None),
            Self::Untrusted(_) => ("untrusted", None),
            Self::ServerName(_) => ("server name", None),
            Self::NotTls => ("not TLS", None),
            Self::Protocol(_) => ("TLS protocol", None),
            Self::Closed => ("closed", None),
            Self::Io(error) => ("failed", Some(error.kind())),
            Self::Other(_) => ("other", None),
        }
    }
}

impl From<io::Error> for HandshakeError {
    /// Finds the error of the handshake inside, or tells a peer that left from a socket that
    /// failed.
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
        };
        if let Some(inner) = inside(&error) {
            return inner.clone();
        }
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof => {
                Self::Closed
            }
            _ => Self::Io(Arc::new(error)),
        }
    }
}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Returns the refusal if a stream failed because the peer refuses this end, most likely for good.
///
/// Under TLS 1.3 a client may be told after its handshake that its certificate was refused.
pub(crate) fn refusal(error: &io::Error) -> Option<HandshakeError> {
    match inside(error) {
        Some(refused @ HandshakeError::Refused(alert)) if alert.is_lasting() => {
            Some(refused.clone())
        }
        _ => None,
    }
}

fn inside(error: &io::Error) -> Option<&HandshakeError> {
    error.get_ref()?.downcast_ref()
}
