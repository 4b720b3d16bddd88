//! What the handlers of a typed protocol return.

use crate::BoxError;

/// What a handler of a typed protocol may return: `T`, the reply that the protocol declares, or `Result<T, BoxError>`,
/// whose error stops the server or the client, as that of every other callback does.
///
/// Not to be implemented: the two implementations below are all.
#[diagnostic::on_unimplemented(
    message = "this handler returns `{Self}`, and the protocol declares `{T}`",
    label = "expected `{T}` or `Result<{T}, BoxError>`",
    note = "the error of a `Result<{T}, BoxError>` stops the server or the client"
)]
pub trait IntoReply<T> {
    /// Returns the reply.
    ///
    /// # Errors
    ///
    /// The error that stops the server or the client.
    fn into_reply(self) -> Result<T, BoxError>;
}

impl<T> IntoReply<T> for T {
    fn into_reply(self) -> Result<T, BoxError> {
        Ok(self)
    }
}

impl<T> IntoReply<T> for Result<T, BoxError> {
    fn into_reply(self) -> Self {
        self
    }
}
