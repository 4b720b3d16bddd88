//! Why a connection was not secured, in the words of either end.

use std::{error::Error, fmt, io, sync::Arc, time::SystemTime};

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
    #[error("the peer refused this end: {0}")]
    Refused(Alert),
    /// This end refused the peer, and has told it so.
    #[error("the peer is not trusted: {0}")]
    Untrusted(Untrusted),
    /// The host to connect to can be in no certificate. Nothing was sent.
    #[error(
        "{0:?} is neither a DNS name nor an IP address; say with `server_name` what the server's certificate is to be checked against"
    )]
    ServerName(Arc<str>),
    /// The peer does not speak TLS: a plaintext client or server, or another protocol.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The peer speaks TLS, but broke its rules, or shares no version or cipher with this end.
    #[error("the TLS handshake went wrong: {0}")]
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

/// Why this end does not trust its peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untrusted {
    /// It presented no certificate.
    #[error("it presented no certificate")]
    NoCertificate,
    /// Its certificate comes from none of the CAs that this end was given.
    #[error("its certificate was issued by an unknown CA")]
    UnknownIssuer,
    /// Its certificate, or one of its issuers', is no longer valid.
    #[error("its certificate has expired")]
    Expired,
    /// Its certificate, or one of its issuers', is not valid yet. One of the clocks may be wrong.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// Its certificate is for other hosts than the one this client asked for.
    #[error("its certificate is not valid for {expected:?}, only for {presented:?}")]
    WrongName {
        /// The name the client asked for.
        expected: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// Its certificate may not be used by this kind of peer: a server's by a client, or the
    /// reverse.
    #[error("its certificate is not meant for this use")]
    WrongPurpose,
    /// Its certificate, or one of its issuers', was revoked.
    #[error("its certificate was revoked")]
    Revoked,
    /// There is no telling whether its certificate was revoked: a revocation list that this end was
    /// given should have been replaced by another. The fault is this end's.
    #[error("the revocation list of {issuer:?} has expired, so that nobody it may name is let in")]
    RevocationListExpired {
        /// Whose list it is: the distinguished name of a CA.
        issuer: String,
        /// When there should have been another.
        next_update: SystemTime,
    },
    /// There is no telling whether its certificate was revoked, for this reason. The fault is this
    /// end's.
    #[error("whether its certificate was revoked is unknown: {0}")]
    RevocationUnknown(String),
    /// [`check_peer`](crate::Tls::check_peer) refused it, with this text.
    #[error("{0}")]
    Check(String),
    /// Its certificate, or the proof that it holds the certificate's key, is wrong.
    #[error("its certificate is not acceptable: {0}")]
    BadCertificate(String),
}

/// What a peer says when it ends a TLS connection: the number of an alert, as in RFC 8446.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alert(u8);

impl Alert {
    /// The alert with this number.
    #[must_use]
    pub const fn new(code: u8) -> Self {
        Self(code)
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Its name in RFC 8446.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            22 => "record_overflow",
            40 => "handshake_failure",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            109 => "missing_extension",
            110 => "unsupported_extension",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            _ => "unknown alert",
        }
    }

    /// Tells whether the same peer would say it again: it dislikes what this end is or offers,
    /// not what happened on the way.
    const fn is_lasting(self) -> bool {
        matches!(self.0, 40 | 42..=46 | 48 | 49 | 70 | 71 | 112 | 116 | 120)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}
