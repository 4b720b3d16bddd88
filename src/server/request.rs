//! Calls within the process whose replies have types of their own.

use std::panic::Location;

use super::{Server, ServerError, ServerRef, call::CALL_TIMEOUT};
use crate::{
    AnyReply, Message, Protocol, SendError,
    request::{CallOptions, Caller, Request, With},
};

impl<S: Server> ServerRef<S> {
    /// Returns the handle with options for its calls.
    pub fn with(&self, options: impl Into<CallOptions>) -> With<'_, Self> {
        With::new(self, options.into())
    }
}

impl<S> ServerRef<S>
where
    S: Server,
    S::Protocol: Protocol<Reply = AnyReply>,
{
    /// Calls the server with a request that has a reply type of its own, as [`call`](Self::call) does otherwise.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call). A reply of another type is [`ServerError::WrongType`].
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    #[track_caller]
    pub fn request<R: Request<S::Protocol>>(
        &self,
        request: R,
    ) -> impl Future<Output = Result<R::Reply, ServerError>> {
        Caller::request(self, request)
    }
}

impl<S> Caller<S::Protocol> for ServerRef<S>
where
    S: Server,
    S::Protocol: Protocol<Reply = AnyReply>,
{
    type CallError = ServerError;
    type CastError = SendError;

    #[track_caller]
    fn call_with<T: Message>(
        &self,
        call: <S::Protocol as Protocol>::Call,
        options: CallOptions,
    ) -> impl Future<Output = Result<T, ServerError>> + Send {
        let reply = self.call_made_at(Location::caller(), call, options.timeout_or(CALL_TIMEOUT));
        async {
            let reply = reply.await?;
            reply
                .decode()
                .map_err(|error| ServerError::WrongType(error.to_string()))
        }
    }

    fn cast(
        &self,
        cast: <S::Protocol as Protocol>::Cast,
    ) -> impl Future<Output = Result<(), SendError>> + Send {
        self.cast(cast)
    }
}
