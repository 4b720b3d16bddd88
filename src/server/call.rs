//! Calls, casts and monitoring of a server from within the process.

use std::{panic::Location, time::Duration};

use futures_channel::oneshot;
use futures_lite::FutureExt as _;

use super::{Message, Server, ServerRef};
use crate::{
    ExitReason, Protocol, ReplyTo, SendError, reply::Refused, task::timeout_hint, universe,
};

/// The time limit of [`ServerRef::call`], as of `GenServer.call/2`.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

impl<S: Server> ServerRef<S> {
    /// Calls the server and waits for its reply, for up to 5 seconds.
    ///
    /// # Errors
    ///
    /// - [`ServerError::Stopped`]: the server has exited, or exited without replying. It is not known
    ///   whether it began to handle the call.
    /// - [`ServerError::TimedOut`]: no reply in time. The server may still handle the call.
    /// - [`ServerError::Unanswered`], [`ServerError::Refused`]: the server handled the call and gave no
    ///   reply.
    ///
    /// # Cancel safety
    ///
    /// The call may have been delivered; its reply is dropped.
    #[track_caller]
    pub fn call(
        &self,
        call: <S::Protocol as Protocol>::Call,
    ) -> impl Future<Output = Result<<S::Protocol as Protocol>::Reply, ServerError>> {
        self.call_within(call, CALL_TIMEOUT)
    }

    /// As [`call`](Self::call), with another time limit.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    #[track_caller]
    pub fn call_within(
        &self,
        call: <S::Protocol as Protocol>::Call,
        limit: Duration,
    ) -> impl Future<Output = Result<<S::Protocol as Protocol>::Reply, ServerError>> {
        self.call_made_at(Location::caller(), call, limit)
    }

    pub(super) async fn call_made_at(
        &self,
        at: &'static Location<'static>,
        call: <S::Protocol as Protocol>::Call,
        limit: Duration,
    ) -> Result<<S::Protocol as Protocol>::Reply, ServerError> {
        let _pending = universe::integration::enlist(format_args!("a call"), at);
        let (sender, receiver) = oneshot::channel();
        let (unanswered, certain) = oneshot::channel();
        let answer = async {
            let message = Message::Call(call, ReplyTo::local(sender, unanswered, at));
            if self.mailbox().send(message).await.is_err() {
                return Err(ServerError::Stopped(self.stopped().await));
            }
            match receiver.await {
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(Refused(message))) => Err(ServerError::Refused(message)),
                Err(oneshot::Canceled) => {
                    // It is known whether the server still runs only when this is dropped too.
                    let _ = certain.await;
                    if self.is_running() {
                        return Err(ServerError::Unanswered);
                    }
                    Err(ServerError::Stopped(self.stopped().await))
                }
            }
        };
        // The holder of the `ReplyTo` may outlive the server.
        let exited = async { Err(ServerError::Stopped(self.task().exited().await)) };
        let late = async {
            self.spawner().made_at(at).after(limit).await;
            Err(ServerError::TimedOut)
        };
        answer.or(exited).or(late).await
    }

    /// Sends the server a cast, which has no reply. Waits while its mailbox is full.
    ///
    /// # Errors
    ///
    /// [`SendError`] if the server has exited: it was not delivered.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is sent.
    pub async fn cast(&self, cast: <S::Protocol as Protocol>::Cast) -> Result<(), SendError> {
        self.send(Message::Cast(cast)).await
    }

    /// Sends the server an info message, which only code in this process can send. Waits while its mailbox
    /// is full.
    ///
    /// # Errors
    ///
    /// [`SendError`] if the server has exited: it was not delivered.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is sent.
    pub async fn info(&self, info: S::Info) -> Result<(), SendError> {
        self.send(Message::Info(info)).await
    }

    /// Closes the server's connection after its current message. The server exits with
    /// [`ExitReason::Disconnected`]. erps' `disconnect/1`.
    pub fn disconnect(&self) {
        self.task().request_exit(ExitReason::Disconnected);
    }

    /// Waits until the server has exited; returns the exit reason. OTP's monitor.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn exited(&self) -> ExitReason {
        self.task().exited().await
    }

    /// Returns [`exited`](Self::exited) as a future that borrows nothing. It does not keep the server alive.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn monitor(&self) -> impl Future<Output = ExitReason> + Send + use<S> {
        self.task().monitor()
    }

    async fn send(&self, message: Message<S>) -> Result<(), SendError> {
        match self.mailbox().send(message).await {
            Ok(()) => Ok(()),
            Err(_) => Err(SendError(self.stopped().await)),
        }
    }
}

/// Why a call from within the process has no reply.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The server has exited. It may have begun to handle the call.
    #[error("the server has stopped: {0}")]
    Stopped(ExitReason),
    /// No reply in time. The server may still handle the call.
    #[error("the server did not reply in time{}", timeout_hint())]
    TimedOut,
    /// The server dropped its [`ReplyTo`](crate::ReplyTo).
    #[error("the server dropped the call without a reply")]
    Unanswered,
    /// The server replied with [`ReplyTo::refuse`](crate::ReplyTo::refuse).
    #[error("the server refused: {0}")]
    Refused(String),
    /// The reply is of another type than the one that the caller waits for.
    #[error("the reply is of another type: {0}")]
    WrongType(String),
}
