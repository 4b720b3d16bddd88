//! Handshake errors.

use std::{error::Error, io, sync::Arc};

use super::{Alert, Untrusted, text::without_password};
use crate::BoxError;

/// Why the handshake of a [`Transport`](crate::Transport) failed.
///
/// Check [`is_likely_permanent`](Self::is_likely_permanent) before trying again.
///
/// A TLS stream may also fail with it after the handshake: the [`io::Error`] then wraps it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer rejected this end with a TLS alert, most often because of its certificate.
    #[error("{summary}: {0}: {meaning}", summary = .0.summary(), meaning = .0.meaning())]
    Refused(Alert),
    /// This end rejected the peer, and sent it an alert.
    #[error("the peer is not trusted: {0}")]
    Untrusted(Untrusted),
    /// The host is neither a DNS name nor an IP address, so no certificate can name it. Nothing was sent.
    ///
    /// The text leaves out the user and the password of a URL.
    #[error(
        "{0:?} is neither a DNS name nor an IP address; set the name to verify the server's certificate against with `server_name`"
    )]
    ServerName(Arc<str>),
    /// The peer does not speak TLS: a plaintext client or server, or another protocol.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The peer violated the TLS protocol, or has no version or cipher in common with this end.
    #[error("the TLS handshake failed: {0}")]
    Protocol(Arc<str>),
    /// The peer closed the connection during the handshake.
    #[error("the peer closed the connection during the handshake")]
    Closed,
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[source] Arc<io::Error>),
    /// An error of a transport that is not part of this library.
    #[error("{0}")]
    Other(#[source] Arc<dyn Error + Send + Sync>),
}

impl HandshakeError {
    /// Wraps an error of a transport that is not part of this library.
    pub fn other(error: impl Into<BoxError>) -> Self {
        Self::Other(Arc::from(error.into()))
    }

    /// Returns the error for a host that is not a name, without the password of a URL.
    pub(super) fn server_name(host: &str) -> Self {
        Self::ServerName(without_password(host).into())
    }

    /// Returns true if another attempt most likely fails in the same way, until the settings of one end are
    /// changed.
    ///
    /// It is true if the peer rejected this end's certificate or TLS version, and if the server's name is invalid.
    /// An alert during the handshake is not authenticated: anyone on the network path can forge its seven bytes.
    /// So a client never stops trying, but tries [less often](crate::ClientBuilder::slow_backoff).
    #[must_use]
    pub fn is_likely_permanent(&self) -> bool {
        match self {
            Self::Refused(alert) => alert.is_likely_permanent(),
            Self::ServerName(_) => true,
            _ => false,
        }
    }

    /// Returns the kind by which log messages are throttled. There are few kinds.
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
    /// Unwraps a `HandshakeError` inside. Otherwise returns `Closed` if the peer closed the connection, else `Io`.
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

/// Returns the alert if a stream failed because the peer rejected this end, most likely permanently.
///
/// With TLS 1.3 a client may receive the alert after its handshake.
pub(crate) fn refusal(error: &io::Error) -> Option<HandshakeError> {
    match inside(error) {
        Some(refused @ HandshakeError::Refused(alert)) if alert.is_likely_permanent() => {
            Some(refused.clone())
        }
        _ => None,
    }
}

fn inside(error: &io::Error) -> Option<&HandshakeError> {
    error.get_ref()?.downcast_ref()
}
