//! Clients: a proxy for a server elsewhere, which heals.
//!
//! ```text
//! call, cast --> queue --+                          +--> reply --> caller
//!                        +--> task --> link --> ... +
//!   status <-------------+                          +--> push --> stream or handler
//! ```
//!
//! Many callers share one connection; replies may come in any order. One task dials, reads and
//! writes; callers only append to its queue and wait for their own answer, so that they may sit
//! in any runtime, or in none.

mod address;
mod complaints;
mod connection;
mod encode;
mod error;
mod handler;
mod options;
mod pending;
mod pushes;
mod queue;
mod retry;
mod session;
mod shared;
mod status;

use std::{fmt, panic::Location, sync::Arc, time::Duration};

use futures_channel::oneshot;

use crate::{
    ExitReason, Protocol, TaskRef,
    mailbox::mailbox,
    universe::{self, Resident, Resides},
};
use shared::{Listener, Shared};

pub use address::Address;
pub use connection::Reconnect;
pub use error::{CallError, CastError, ConnectError, Disconnect};
pub use handler::{ClientContext, ClientHandler, HandlerRef};
pub use options::ClientBuilder;
pub use pushes::Pushes;
pub use status::Status;

/// A proxy for a server at another place.
///
/// Clones are handles to the same client and share its connection. When the last handle is
/// dropped the client ends. Whatever the reason a connection is lost for, the client makes
/// another: see [`ClientBuilder::backoff`]. What was in flight is lost then, and says so.
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
    shared: Arc<Shared<P>>,
    reply_timeout: Duration,
    pushes: usize,
    task: Arc<EndsWithLastHandle>,
}

struct EndsWithLastHandle(TaskRef);

impl Drop for EndsWithLastHandle {
    fn drop(&mut self) {
        self.0.request_shutdown();
    }
}

impl<P: Protocol> Client<P> {
    /// Prepares a client of the server at `address`.
    #[track_caller]
    pub fn builder(address: impl Into<Address>) -> ClientBuilder<P> {
        ClientBuilder::new(address.into())
    }

    fn new(task: TaskRef, shared: Arc<Shared<P>>, reply_timeout: Duration, pushes: usize) -> Self {
        Self {
            shared,
            reply_timeout,
            pushes,
            task: Arc::new(EndsWithLastHandle(task)),
        }
    }

    /// Asks the server and waits for its answer, for up to
    /// [`reply_timeout`](ClientBuilder::reply_timeout): 5 seconds unless set.
    ///
    /// Every call has exactly one outcome, at its deadline at the latest; a later reply is
    /// dropped. A call of more than 64 KiB is encoded, and compressed, off the executor's threads when everything
    /// that was sent before it has left.
    ///
    /// # Errors
    ///
    /// - [`CallError::Disconnected`], [`CallError::QueueFull`], [`CallError::Unsendable`]: it was
    ///   not sent, or nobody was there to see it; the server has not seen it.
    /// - [`CallError::TimedOut`]: no answer in time; `sent` tells whether the server may have
    ///   seen it.
    /// - [`CallError::Lost`]: sent, and the connection was lost. The server may have seen it.
    /// - [`CallError::Remote`], [`CallError::Unanswered`], [`CallError::Undecodable`]: the server
    ///   saw it, and answered with something else than a reply.
    ///
    /// # Cancel safety
    ///
    /// A call that has not left when its future is dropped does not leave. One that has may be
    /// handled; its reply is dropped.
    #[track_caller]
    pub fn call(&self, call: P::Call) -> impl Future<Output = Result<P::Reply, CallError>> {
        self.call_within(call, self.reply_timeout)
    }

    /// As [`call`](Self::call), with a time limit of its own.
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
        self.call_made_at(Location::caller(), call, limit)
    }

    async fn call_made_at(
        &self,
        at: &'static Location<'static>,
        call: P::Call,
        limit: Duration,
    ) -> Result<P::Reply, CallError> {
        let _pending = universe::integration::enlist(format_args!("a call"), at);
        let (reference, reply) = self.shared.queue_call(call, limit)?;
        let mut waiting = Waiting {
            shared: &self.shared,
            reference: Some(reference),
        };
        let outcome = reply.await;
        waiting.reference = None;
        // The client's task fails every call before it goes, so this is only for form's sake.
        outcome.unwrap_or(Err(CallError::Lost))
    }

    /// Sends the server something it does not answer. Waits while the queue is full, and until a cast of more than
    /// 64 KiB has been encoded, off the executor's threads; ready means queued, not received. What is queued still leaves if the client is told to disconnect or
    /// to end.
    ///
    /// # Errors
    ///
    /// - [`CastError::Disconnected`]: there is no connection; it was not sent. *erps* drops it
    ///   without a word.
    /// - [`CastError::Unsendable`]: the value cannot be a packet.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is sent.
    pub async fn cast(&self, cast: P::Cast) -> Result<(), CastError> {
        self.shared.queue_cast(cast).await
    }

    /// The stream of what the server sends unasked.
    ///
    /// It begins now: pushes that nobody listened to are gone. There is one stream at a time; an
    /// earlier one ends. A client with a [handler](ClientBuilder::handler) gives its pushes to
    /// that, and the stream ends at once.
    #[must_use]
    pub fn pushes(&self) -> Pushes<P> {
        let (sender, events) = mailbox(self.pushes);
        self.listen(Listener::Stream(sender));
        Pushes {
            events,
            _client: self.clone(),
        }
    }

    fn listen(&self, listener: Listener<P>) {
        let mut state = self.shared.state();
        let taken = matches!(state.listener, Some(Listener::Handler(_)));
        if !taken && !matches!(state.status, Status::Ended(_)) {
            let earlier = state.listener.replace(listener);
            // A push may be waiting for room in the earlier stream.
            if let Some(earlier) = earlier {
                earlier.sender().close();
            }
        }
    }

    /// Where the client stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.state().status.clone()
    }

    /// Why the last connection was lost; `None` if none was yet.
    ///
    /// A call that ends with [`CallError::Lost`] finds here what took its connection.
    #[must_use]
    pub fn last_disconnect(&self) -> Option<Disconnect> {
        self.shared.state().last_disconnect.clone()
    }

    /// Why the last attempt to connect failed; `None` if it did not, or none has ended yet.
    ///
    /// While a client heals, [`status`](Self::status) only says that it waits; this says what for.
    #[must_use]
    pub fn last_connect_error(&self) -> Option<ConnectError> {
        self.shared.state().last_connect_error.clone()
    }

    /// Waits until the client's status is one that `wanted` wants, and returns it; or until the
    /// client has ended.
    ///
    /// A status that passes quickly may be missed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn until(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        self.shared.until(wanted).await
    }

    /// Connects, at once, whatever the back-off says, and waits for the outcome of that attempt.
    ///
    /// Needed after [`disconnect`](Self::disconnect), and otherwise the way not to wait: the
    /// [slow back-off](ClientBuilder::slow_backoff) begins anew. Ready immediately if there is a connection.
    ///
    /// A server that does not let this client in, see [`Disconnect::Refused`], says so over a connection: that
    /// one counts as made for the moment until its word has arrived.
    ///
    /// # Errors
    ///
    /// The [`ConnectError`] of the attempt. The client goes on trying, slowly if the error
    /// [is likely permanent](ConnectError::is_likely_permanent).
    ///
    /// # Cancel safety
    ///
    /// Once polled, the attempt is made whether or not the future is dropped.
    pub async fn connect(&self) -> Result<(), ConnectError> {
        let outcome = self.shared.tell(|state| {
            if state.status.is_connected() && state.wanted {
                return None;
            }
            let (waiter, outcome) = oneshot::channel();
            // Dropped at once if the client has ended.
            if !matches!(state.status, Status::Ended(_)) {
                state.waiters.push(waiter);
                state.wanted = true;
                state.hurry = true;
                state.leavers.clear();
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

    /// Closes the connection and makes no other until [`connect`](Self::connect) is called.
    ///
    /// Casts that were queued leave first, for up to three seconds. Calls in flight end with
    /// [`CallError::Lost`]. Ready when the connection is closed, or when somebody calls `connect`.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the connection is closed whether or not the future is dropped.
    pub async fn disconnect(&self) {
        let closed = self.shared.tell(|state| {
            let (leaver, closed) = oneshot::channel();
            state.wanted = false;
            state.hurry = false;
            state.answer_waiters(&Err(ConnectError::Disconnected));
            match state.status {
                Status::Disconnected | Status::Ended(_) => {}
                _ => state.leavers.push(leaver),
            }
            closed
        });
        let _ = closed.await;
    }

    /// Waits until the client has ended; tells why. OTP's monitor.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn exited(&self) -> ExitReason {
        self.task().exited().await
    }

    /// As [`exited`](Self::exited), for those who keep the future. It does not keep the client alive.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn monitor(&self) -> impl Future<Output = ExitReason> + Send + use<P> {
        self.task().monitor()
    }

    /// The handle to its task: to shut it down, kill it, or put it under supervision.
    #[must_use]
    pub fn task(&self) -> &TaskRef {
        &self.task.0
    }

    /// Why the client's connection is over for good, if it is.
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

/// Takes a call back if its caller gives up.
struct Waiting<'a, P: Protocol> {
    shared: &'a Shared<P>,
    reference: Option<u64>,
}

impl<P: Protocol> Drop for Waiting<'_, P> {
    fn drop(&mut self) {
        if let Some(reference) = self.reference {
            self.shared.state().pending.abandon(reference);
        }
    }
}
