//! Clients: handles to a server across a connection, which reconnect by themselves.
//!
//! ```text
//! call, cast --> queue --+                            +--> reply --> caller
//!                        +--> client's task <--> link +
//!      status <----------+    (`connection`)          +--> push --> stream or handler
//! ```
//!
//! Many callers share one connection, and replies may arrive in any order. One task dials, reads and writes. Callers
//! only append to its queue and wait for their reply, so they may run on any runtime, or on none.
//!
//! Only the handles (`Client`, `Pushes`, the handler) know the protocol: the task is compiled once.

mod address;
mod builder;
mod connection;
mod error;
mod flatten;
mod handler;
mod handler_work;
mod message;
mod pending;
mod pushes;
mod queue;
mod request;
mod retry;
mod send;
mod session;
mod settings;
mod state;
mod status;
mod subscriber;
mod warnings;
mod work;

use std::{fmt, marker::PhantomData, panic::Location, sync::Arc, time::Duration};

use futures_channel::oneshot;

use crate::{
    ExitReason, Message, Protocol, TaskRef,
    universe::{self, Resident, Resides},
};
use state::Shared;

pub use address::Address;
pub use builder::ClientBuilder;
pub use connection::Reconnect;
pub use error::{CallError, CastError, ConnectError, Disconnect, NotConnected};
pub use flatten::{FlattenReply, RequestError};
pub use handler::{ClientContext, ClientHandler, HandlerRef};
pub use pushes::Pushes;
pub use status::Status;

/// A handle to a client: calls and casts to a server across one connection.
///
/// Clones are handles to the same client and share its connection. When the last handle is dropped the client exits.
/// When the connection is lost, whatever the cause, the client reconnects after a [back-off](ClientBuilder::backoff),
/// and the calls in flight fail with [`CallError::Lost`].
///
/// # Example
///
/// ```no_run
/// use erps::Client;
/// # use erps::Protocol;
/// # struct Counter;
/// # impl Protocol for Counter { type Call = i64; type Reply = i64; type Cast = (); type Push = (); }
///
/// # async fn run() -> Result<(), erps::BoxError> {
/// let client = Client::<Counter>::builder(("localhost", 4747)).connect().await?;
/// assert_eq!(client.call(2).await?, 2);
/// # Ok(())
/// # }
/// ```
pub struct Client<P: Protocol> {
    shared: Arc<Shared>,
    reply_timeout: Duration,
    max_pushes: usize,
    task: Arc<ShutdownOnDrop>,
    _protocol: PhantomData<fn() -> P>,
}

struct ShutdownOnDrop(TaskRef);

impl Drop for ShutdownOnDrop {
    fn drop(&mut self) {
        self.0.request_shutdown();
    }
}

impl<P: Protocol> Client<P> {
    fn new(task: TaskRef, shared: Arc<Shared>, reply_timeout: Duration, max_pushes: usize) -> Self {
        Self {
            shared,
            reply_timeout,
            max_pushes,
            task: Arc::new(ShutdownOnDrop(task)),
            _protocol: PhantomData,
        }
    }

    /// Calls the server and waits for its reply, up to [`reply_timeout`](ClientBuilder::reply_timeout): 5 seconds unless
    /// set.
    ///
    /// Every call has exactly one outcome, at its deadline at the latest; a later reply is dropped. A call of more than
    /// 64 KiB is encoded and compressed on another thread, after everything before it in the queue was sent.
    ///
    /// The reply is decoded in this future, one of more than 64 KiB on another thread. A reply that arrived before the
    /// deadline is decoded after it too.
    ///
    /// # Errors
    ///
    /// - [`CallError::Disconnected`], [`CallError::QueueFull`], [`CallError::Unsendable`]: the call was not sent, or the
    ///   server rejected the connection. The server has not handled it. `Disconnected` holds the reason.
    /// - [`CallError::TimedOut`]: no reply in time. If `sent`, the server may have handled it.
    /// - [`CallError::Lost`]: the call was sent, and the connection was lost. The server may have handled it.
    /// - [`CallError::Failed`], [`CallError::Unanswered`], [`CallError::Remote`], [`CallError::Undecodable`]: the server
    ///   received the call and sent an error, or a reply that cannot be decoded.
    ///
    /// # Panics
    ///
    /// If the `Deserialize` of the reply panics. The client is not affected.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the call is sent, it is not sent. If later, the server may handle the call, and
    /// its reply is dropped.
    #[track_caller]
    pub fn call(&self, call: P::Call) -> impl Future<Output = Result<P::Reply, CallError>> {
        self.call_within(call, self.reply_timeout)
    }

    /// Calls the server as [`call`](Self::call) does, with this timeout.
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
        call: P::Call,
        limit: Duration,
    ) -> impl Future<Output = Result<P::Reply, CallError>> {
        self.call_from(Location::caller(), call, limit)
    }

    /// Calls the server, and decodes the reply as `T`.
    async fn call_from<T: Message>(
        &self,
        at: &'static Location<'static>,
        call: P::Call,
        limit: Duration,
    ) -> Result<T, CallError> {
        let _pending = universe::integration::enlist(format_args!("a call"), at);
        let (caller, reply) = oneshot::channel();
        let reference = send::send_call(&self.shared, call, limit, caller)?;
        let mut guard = AbandonOnDrop {
            shared: &self.shared,
            reference: Some(reference),
        };
        let outcome = reply.await;
        guard.reference = None;
        // The client's task fails every call before it exits: there always is an outcome.
        message::decode_reply(outcome.unwrap_or(Err(CallError::Lost))?).await
    }

    /// Sends the server a message without a reply.
    ///
    /// Waits while the send queue is full, and until a cast of more than 64 KiB has been encoded, on another thread.
    /// `Ok` means queued, not received. Queued casts are still sent when the client disconnects or exits, for up to
    /// three seconds.
    ///
    /// # Errors
    ///
    /// - [`CastError::Disconnected`]: there is no connection; the cast was not sent. *erps* drops it silently.
    /// - [`CastError::Unsendable`]: the cast cannot be encoded as a packet.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, nothing is sent.
    pub async fn cast(&self, cast: P::Cast) -> Result<(), CastError> {
        send::send_cast(&self.shared, cast).await
    }

    /// Returns the status of the client.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.state().status.clone()
    }

    /// Returns why the last connection was lost; `None` if none was lost yet.
    ///
    /// It is set before calls fail with [`CallError::Lost`].
    #[must_use]
    pub fn last_disconnect(&self) -> Option<Disconnect> {
        self.shared.state().last_disconnect.clone()
    }

    /// Returns why the last attempt to connect failed; `None` if it succeeded or is the first and still running.
    ///
    /// [`Status::Waiting`] does not hold the error; this returns it.
    #[must_use]
    pub fn last_connect_error(&self) -> Option<ConnectError> {
        self.shared.state().last_connect_error.clone()
    }

    /// Returns how many errors the server has sent that belong to no call, on all connections of this client.
    ///
    /// Such an error is mostly the reply to a cast that the server could not decode, or did not accept because of its
    /// [identifier](Protocol::IDENTIFIER) or version. [`ClientHandler::handle_error`] receives each. Rejections of a
    /// connection are not counted: see [`last_disconnect`](Self::last_disconnect).
    #[must_use]
    pub fn unmatched_errors(&self) -> u64 {
        self.shared.unmatched_errors()
    }

    /// Waits until `accept` returns true for the client's status, or the client has exited, and returns the status.
    ///
    /// A status that lasts only briefly may be missed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn until(&self, accept: impl Fn(&Status) -> bool) -> Status {
        self.shared.until(accept).await
    }

    /// Connects at once, without waiting for the back-off. `Ok` means that the transport is connected, not that the
    /// server serves this client.
    ///
    /// The protocol of erps 0.7 has no packet by which a server accepts a client. One that rejects it, whose `init`
    /// fails, or that expects another transport closes the connection later. Calls then fail with
    /// [`CallError::Disconnected`], which holds the reason ([`NotConnected::Disconnect`]).
    ///
    /// Needed after [`disconnect`](Self::disconnect). It resets the [slow back-off](ClientBuilder::slow_backoff), and is
    /// ready immediately if the client is connected.
    ///
    /// # Errors
    ///
    /// The [`ConnectError`] of the attempt. The client keeps retrying, slowly if the error
    /// [is likely permanent](ConnectError::is_likely_permanent).
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, the client connects even if the future is dropped.
    pub async fn connect(&self) -> Result<(), ConnectError> {
        let outcome = self.shared.update(|state| {
            if state.status.is_connected() && state.connection_wanted {
                return None;
            }
            let (waiter, outcome) = oneshot::channel();
            // Dropped at once if the client has ended.
            if !matches!(state.status, Status::Ended(_)) {
                state.connect_waiters.push(waiter);
                state.connection_wanted = true;
                state.connect_now = true;
                state.disconnect_waiters.clear();
            }
            Some(outcome)
        });
        match outcome {
            None => Ok(()),
            Some(outcome) => match outcome.await {
                Ok(outcome) => outcome,
                Err(oneshot::Canceled) => Err(ConnectError::Ended(self.exited().await)),
            },
        }
    }

    /// Closes the connection and stays disconnected until [`connect`](Self::connect) is called.
    ///
    /// Queued casts are sent first, for up to three seconds. Calls in flight fail with [`CallError::Lost`]. Ready when
    /// the connection is closed, or when `connect` is called.
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, the connection is closed even if the future is dropped.
    pub async fn disconnect(&self) {
        let closed = self.shared.update(|state| {
            let (waiter, closed) = oneshot::channel();
            state.connection_wanted = false;
            state.connect_now = false;
            state.answer_connect_waiters(&Err(ConnectError::Disconnected));
            match state.status {
                Status::Disconnected | Status::Ended(_) => {}
                _ => state.disconnect_waiters.push(waiter),
            }
            closed
        });
        let _ = closed.await;
    }

    /// Waits until the client has exited and returns why. OTP's monitor.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn exited(&self) -> ExitReason {
        self.task().exited().await
    }

    /// Returns a future like [`exited`](Self::exited) that borrows nothing. It does not keep the client alive.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn monitor(&self) -> impl Future<Output = ExitReason> + Send + use<P> {
        self.task().monitor()
    }

    /// Returns the handle to the client's task: to shut it down, kill it, or supervise it.
    #[must_use]
    pub fn task(&self) -> &TaskRef {
        &self.task.0
    }

    /// Returns why the client has exited, if it has.
    fn ended(&self) -> Option<ExitReason> {
        match self.status() {
            Status::Ended(reason) => Some(reason),
            _ => None,
        }
    }
}

impl<P: Protocol> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            task: Arc::clone(&self.task),
            ..*self
        }
    }
}

impl<P: Protocol> Resides for Client<P> {
    fn resident(&self) -> &Resident {
        AsRef::<TaskRef>::as_ref(self).resident()
    }
}

impl<P: Protocol> AsRef<TaskRef> for Client<P> {
    fn as_ref(&self) -> &TaskRef {
        self.task()
    }
}

impl<P: Protocol> fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("task", self.task())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// Abandons a call if its future is dropped.
struct AbandonOnDrop<'a> {
    shared: &'a Shared,
    reference: Option<u64>,
}

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(reference) = self.reference {
            self.shared.state().pending.abandon(reference);
        }
    }
}
