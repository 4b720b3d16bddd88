//! Why a task ended, in OTP's words.
//!
//! Pure: a reason is a value. Whoever starts tasks produces it (`task`), whoever restarts them
//! reads it (`supervisor`).

use std::{error::Error, fmt, sync::Arc};

use crate::universe::integration::Shown;

/// Any error, as handlers and callbacks return it: `?` turns every error into one.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a server, a client, a daemon or a supervisor ended.
///
/// The equivalent of an Erlang exit reason. A [`Transient`](crate::Restart::Transient) child is
/// restarted after every reason that [is abnormal](Self::is_abnormal).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExitReason {
    /// It had nothing left to do, or was told to stop with this reason. OTP's `normal`.
    Normal,
    /// It was told to end: by its supervisor, by its owner, or by itself. OTP's `shutdown`.
    Shutdown,
    /// The connection it served is gone. erps' `disconnected`.
    Disconnected,
    /// It was ended without being asked, at its next await. OTP's `killed`.
    Killed,
    /// A callback panicked; the text is the panic's message.
    Panic(Arc<str>),
    /// A callback, or the library itself, failed with this error.
    Error(Arc<dyn Error + Send + Sync>),
}

impl ExitReason {
    /// Wraps an error, so that its type can still be asked for with `downcast_ref`.
    pub fn error(error: impl Into<BoxError>) -> Self {
        Self::Error(Arc::from(error.into()))
    }

    /// Tells whether OTP counts the end as a failure: everything but
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

/// Whoever a message was for has ended; it was not delivered.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the receiver has ended: {0}")]
pub struct SendError(pub ExitReason);
