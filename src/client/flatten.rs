//! One error for calls whose reply is a `Result`.

use super::CallError;

/// Why a call whose reply is a `Result` has no value: it has failed, or the reply is an error.
///
/// Returned by [`FlattenReply::flatten_reply`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError<E, C = CallError> {
    /// The call has no reply.
    #[error(transparent)]
    Call(C),
    /// The reply is an error of the application. The server has handled the call.
    #[error(transparent)]
    Reply(E),
}

impl<E> RequestError<E> {
    /// Returns true if the server may have handled the call, or part of it. As [`CallError::may_have_run`].
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::Call(error) => error.may_have_run(),
            Self::Reply(_) => true,
        }
    }
}

/// Turns the two errors of a call whose reply is a `Result` into one.
///
/// In a callback of a [`ClientHandler`](crate::ClientHandler) write `??` instead: there a [`CallError`] of a lost
/// connection is ignored, and a [`RequestError`] ends the client.
///
/// # Example
///
/// ```
/// use erps::{CallError, FlattenReply as _, RequestError};
///
/// let outcome: Result<Result<u64, String>, CallError> = Ok(Err("too large".into()));
/// match outcome.flatten_reply() {
///     Ok(id) => println!("submitted as {id}"),
///     Err(RequestError::Reply(why)) => println!("rejected: {why}"),
///     Err(RequestError::Call(error)) => println!("not known: {error}"),
/// }
/// ```
pub trait FlattenReply {
    /// The value of the reply.
    type Value;
    /// The error of the reply.
    type Error;
    /// The error of the call: [`CallError`], or that of a server in this process.
    type CallError;

    /// Returns the value, or why there is none.
    ///
    /// # Errors
    ///
    /// - [`RequestError::Call`]: the call has no reply.
    /// - [`RequestError::Reply`]: the reply is an error.
    fn flatten_reply(self) -> Result<Self::Value, RequestError<Self::Error, Self::CallError>>;
}

impl<T, E, C> FlattenReply for Result<Result<T, E>, C> {
    type Value = T;
    type Error = E;
    type CallError = C;

    fn flatten_reply(self) -> Result<T, RequestError<E, C>> {
        match self {
            Ok(reply) => reply.map_err(RequestError::Reply),
            Err(error) => Err(RequestError::Call(error)),
        }
    }
}
