//! Calls of a client whose replies have types of their own.

use std::panic::Location;

use super::{CallError, CastError, Client};
use crate::{
    Message, Protocol,
    request::{CallOptions, Caller, Request, With},
};

impl<P: Protocol> Client<P> {
    /// Calls the server with a request that has a reply type of its own, as [`call`](Self::call) does otherwise.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call). A reply of another type is [`CallError::Undecodable`].
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    #[track_caller]
    pub fn request<R: Request<P>>(
        &self,
        request: R,
    ) -> impl Future<Output = Result<R::Reply, CallError>> {
        Caller::request(self, request)
    }

    /// Returns the client with options for its calls.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # #[erps::protocol]
    /// # trait Counter { async fn total() -> i64; }
    /// # async fn run(client: erps::Client<CounterProtocol>) -> Result<(), erps::CallError> {
    /// let total = client.with(Duration::from_secs(60)).total().await?;
    /// # let _ = total;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with(&self, options: impl Into<CallOptions>) -> With<'_, Self> {
        With::new(self, options.into())
    }
}

impl<P: Protocol> Caller<P> for Client<P> {
    type CallError = CallError;
    type CastError = CastError;

    #[track_caller]
    fn call_with<T: Message>(
        &self,
        call: P::Call,
        options: CallOptions,
    ) -> impl Future<Output = Result<T, CallError>> + Send {
        let limit = options.timeout_or(self.reply_timeout);
        self.call_from(Location::caller(), call, limit)
    }

    fn cast(&self, cast: P::Cast) -> impl Future<Output = Result<(), CastError>> + Send {
        self.cast(cast)
    }
}
