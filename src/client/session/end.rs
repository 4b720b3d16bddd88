//! Why a session has ended.

use std::{fmt, io, sync::Arc};

use crate::{
    Disconnect, ExitReason,
    transport::{self, HandshakeError},
    wire::rejection::Rejection,
};

/// Why a session has ended.
pub(in crate::client) enum End {
    /// The client exits.
    Exit(ExitReason),
    /// `disconnect` was called.
    Disconnected,
    /// The server closed the connection.
    Closed,
    /// The server rejected this client with an error packet and closed the connection.
    Rejected(Rejection),
    /// The server sent this error as its last packet and closed the connection.
    Reported(String),
    /// The connection failed.
    Failed(Arc<io::Error>),
    /// The server violated the protocol, or a timeout of the connection has passed.
    Broken(String),
    /// The first bytes of the peer are not a packet: it is not a server of erps, or expects another transport.
    NoPacket(String),
}

impl End {
    /// Returns false if the server has certainly handled none of the calls that were sent.
    pub(in crate::client) fn may_have_served(&self) -> bool {
        !matches!(self, Self::Rejected(_) | Self::NoPacket(_)) && self.rejection().is_none()
    }

    /// Returns the alert with which the server rejected this client's certificate, if that is why.
    pub(in crate::client) fn rejection(&self) -> Option<HandshakeError> {
        match self {
            Self::Failed(error) => transport::refusal(error),
            _ => None,
        }
    }
}

impl From<&End> for Disconnect {
    fn from(end: &End) -> Self {
        match end {
            End::Exit(_) | End::Disconnected => Self::Asked,
            End::Closed => Self::Closed,
            End::Rejected(refusal) => Self::Refused {
                why: refusal.reason.clone(),
                retry_after: refusal.retry_after,
            },
            End::Reported(why) => Self::Reported(why.clone()),
            End::Failed(error) => Self::Failed(Arc::clone(error)),
            End::Broken(why) | End::NoPacket(why) => Self::Broken(why.clone()),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(reason) => write!(f, "the client exits: {reason}"),
            Self::Disconnected => f.write_str("the client was told to disconnect"),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Rejected(refusal) => refusal.fmt(f),
            Self::Reported(why) => write!(f, "the server closed the connection: {why}"),
            Self::Failed(error) => error.fmt(f),
            Self::Broken(why) | Self::NoPacket(why) => f.write_str(why),
        }
    }
}
