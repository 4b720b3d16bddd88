//! Exit reasons, in OTP's terms.
//!
//! Pure: a reason is a value. `task` produces it, `supervisor` decides by it.

use std::{error::Error, fmt, sync::Arc};

use crate::universe::integration::Shown;

/// The error type of handlers and callbacks: `?` converts every error into it, `anyhow::Error` included.
///
/// The other way, in a function that returns `anyhow::Result`, is `.map_err(anyhow::Error::from_boxed)`.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a server, a client, a daemon or a supervisor exited.
///
/// The equivalent of an Erlang exit reason. A [`Transient`](crate::Restart::Transient) child is
/// restarted after every reason that [is abnormal](Self::is_abnormal).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExitReason {
    /// It finished, or was stopped with this reason. OTP's `normal`.
    Normal,
    /// It was shut down by its supervisor, by its owner, or by itself. OTP's `shutdown`.
    Shutdown,
    /// The connection it served was closed. erps' `disconnected`.
    Disconnected,
    /// It was killed, at its next await. OTP's `killed`.
    Killed,
    /// A callback panicked; the text is the panic's message.
    Panic(Arc<str>),
    /// A callback, or the library itself, failed with this error.
    Error(Arc<dyn Error + Send + Sync>),
}

impl ExitReason {
    /// Wraps an error, whose type stays available through `downcast_ref`.
    pub fn error(error: impl Into<BoxError>) -> Self {
        Self::Error(Arc::from(error.into()))
    }

    /// Returns whether OTP counts the exit as a failure: every reason except
    /// [`Normal`](Self::Normal) and [`Shutdown`](Self::Shutdown).
    #[must_use]
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Disconnected => f.write_str("disconnected"),
            Self::Killed => f.write_str("killed"),
            Self::Panic(message) => write!(f, "panicked: {message}"),
            Self::Error(error) => fmt::Display::fmt(&Shown(error), f),
        }
    }
}

/// The receiver of a message has exited; the message was not delivered.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the receiver has exited: {0}")]
pub struct SendError(pub ExitReason);
