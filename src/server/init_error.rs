//! Why a server did not start.

use crate::BoxError;

/// Why [`Server::init`](crate::Server::init) did not succeed. `?` turns any error into a [`Stop`](Self::Stop).
#[derive(Debug)]
#[non_exhaustive]
pub enum InitError {
    /// There is nothing to do: the server exits normally, without a warning. OTP's `:ignore`.
    Ignore,
    /// The server cannot start, for this reason. OTP's `{:stop, reason}`.
    Stop(BoxError),
}

/// `InitError` itself does not implement [`Error`](std::error::Error): this conversion would conflict.
impl<E: Into<BoxError>> From<E> for InitError {
    fn from(error: E) -> Self {
        Self::Stop(error.into())
    }
}
