//! Handles of servers, for callers in the process.

use std::{
    fmt,
    panic::Location,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_channel::oneshot;
use futures_lite::FutureExt as _;
use serde::Serialize;

use super::{Message, Server, ServerBuilder};
use crate::{
    ExitReason, Protocol, ReplyTo, SendError, TaskRef,
    mailbox::Sender,
    outbox::{Outbox, Sort, Untaken},
    reply::Refused,
    task::{self, Spawner, TURN},
    universe::{self, Resident, Resides},
    wire::{
        codec::{PacketError, UNLIMITED},
        packet::Kind,
    },
};

/// How long [`ServerRef::call`] waits, as `GenServer.call/2` does.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle to a running server. What a pid is in OTP, typed.
///
/// Clones are handles to the same server; dropping one has no effect on it. Works from any
/// executor and any thread.
pub struct ServerRef<S: Server> {
    inner: Arc<Inner<S>>,
}

struct Inner<S: Server> {
    task: TaskRef,
    mailbox: Sender<Message<S>>,
    outbox: Option<Arc<Outbox>>,
    spawner: Spawner,
    /// Known from the moment the server takes no messages any more, before `terminate` has run.
    ending: OnceLock<ExitReason>,
}

impl<S: Server> ServerRef<S> {
    /// Prepares a server without a connection: a plain GenServer.
    #[track_caller]
    pub fn builder(seed: S::Seed) -> ServerBuilder<S> {
        ServerBuilder::new(seed)
    }

    pub(super) fn new(
        task: TaskRef,
        mailbox: Sender<Message<S>>,
        outbox: Option<Arc<Outbox>>,
        spawner: Spawner,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                task,
                mailbox,
                outbox,
                spawner,
                ending: OnceLock::new(),
            }),
        }
    }

    /// Asks the server and waits for its answer, for up to 5 seconds.
    ///
    /// # Errors
    ///
    /// - [`ServerError::Stopped`]: the server has ended, or ended without answering. Whether it
    ///   began to handle the call is not known.
    /// - [`ServerError::TimedOut`]: no answer in time. The server may still handle the call.
    /// - [`ServerError::Unanswered`], [`ServerError::Refused`]: it handled the call and gave no
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
        call: <S::Protocol as Protocol>::Call,
        limit: Duration,
    ) -> impl Future<Output = Result<<S::Protocol as Protocol>::Reply, ServerError>> {
        self.call_made_at(Location::caller(), call, limit)
    }

    async fn call_made_at(
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
            if self.inner.mailbox.send(message).await.is_err() {
                return Err(ServerError::Stopped(self.stopped().await));
            }
            match receiver.await {
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(Refused(message))) => Err(ServerError::Refused(message)),
                Err(oneshot::Canceled) => {
                    // Whether the server goes on is known only when this is dropped too.
                    let _ = certain.await;
                    if self.inner.ending.get().is_none() && !self.inner.task.is_killed_or_exited() {
                        return Err(ServerError::Unanswered);
                    }
                    Err(ServerError::Stopped(self.stopped().await))
                }
            }
        };
        // Whoever holds the `ReplyTo` may outlive the server.
        let ended = async { Err(ServerError::Stopped(self.inner.task.exited().await)) };
        let late = async {
            self.inner.spawner.made_at(at).after(limit).await;
            Err(ServerError::TimedOut)
        };
        answer.or(ended).or(late).await
    }

    /// Sends the server something it need not answer. Waits while its mailbox is full.
    ///
    /// # Errors
    ///
    /// [`SendError`] if the server has ended: it was not delivered.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is sent.
    pub async fn cast(&self, cast: <S::Protocol as Protocol>::Cast) -> Result<(), SendError> {
        self.send(Message::Cast(cast)).await
    }

    /// Sends the server a message that only code in this process can send. Waits while its
    /// mailbox is full.
    ///
    /// # Errors
    ///
    /// [`SendError`] if the server has ended: it was not delivered.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is sent.
    pub async fn info(&self, info: S::Info) -> Result<(), SendError> {
        self.send(Message::Info(info)).await
    }

    /// Sends the peer at the other end of the server's connection something it did not ask for.
    ///
    /// Waits while too much is queued for a peer that does not read. Whoever pushes to many wants
    /// [`try_push`](Self::try_push), so that the slowest does not hold up the others.
    ///
    /// A push of more than 64 KiB is encoded, and compressed, off the executor's threads.
    ///
    /// # Errors
    ///
    /// As [`Context::push`](crate::Context::push).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is sent.
    pub async fn push(&self, push: <S::Protocol as Protocol>::Push) -> Result<(), PushError> {
        let outbox = self.inner.outbox.as_ref();
        let outbox = outbox.ok_or(PushError::Disconnected)?;
        if when_room(outbox, || send_push(outbox, &push, TURN)).await? {
            return Ok(());
        }
        let codec = outbox.codec().clone();
        let encode = move || {
            let mut packet = Vec::new();
            let encoded = codec.term(&mut packet, Kind::Push, &push, UNLIMITED);
            encoded.map(|_| packet)
        };
        let encoded = task::offload(encode).await;
        let encoded = encoded.unwrap_or_else(|panic| panic.resume());
        let mut packet = encoded.map_err(unsendable)?;
        when_room(outbox, || {
            outbox.append(Sort::Push, &mut packet).map_err(untaken)
        })
        .await
    }

    /// As [`push`](Self::push), and does not wait. However large, the push is encoded by the caller.
    ///
    /// # Errors
    ///
    /// - [`PushError::Full`]: more than
    ///   [`max_outgoing`](crate::ServerOptions::max_outgoing) bytes are queued for a peer that does
    ///   not read. Nothing was sent; it may be time to [`disconnect`](Self::disconnect) it.
    /// - else as [`push`](Self::push).
    pub fn try_push(&self, push: &<S::Protocol as Protocol>::Push) -> Result<(), PushError> {
        let outbox = self.inner.outbox.as_ref();
        let outbox = outbox.ok_or(PushError::Disconnected)?;
        if !outbox.has_room() {
            return Err(PushError::Full);
        }
        send_push(outbox, push, UNLIMITED).map(|_| ())
    }

    /// Closes the server's connection after the message it is at, which ends the server with
    /// [`ExitReason::Disconnected`]. erps' `disconnect/1`.
    pub fn disconnect(&self) {
        self.inner.task.request_exit(ExitReason::Disconnected);
    }

    /// Waits until the server has ended; tells why. OTP's monitor.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn exited(&self) -> ExitReason {
        self.inner.task.exited().await
    }

    /// As [`exited`](Self::exited), for those who keep the future. It does not keep the server alive.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn monitor(&self) -> impl Future<Output = ExitReason> + Send + use<S> {
        self.inner.task.monitor()
    }

    /// The handle to its task: to shut it down, kill it, or put it under supervision.
    #[must_use]
    pub fn task(&self) -> &TaskRef {
        &self.inner.task
    }

    /// The server takes no messages any more.
    pub(super) fn ending(&self, reason: &ExitReason) {
        let first = self.inner.ending.set(reason.clone());
        debug_assert!(first.is_ok(), "a server ends once");
        self.inner.mailbox.close();
    }

    async fn send(&self, message: Message<S>) -> Result<(), SendError> {
        match self.inner.mailbox.send(message).await {
            Ok(()) => Ok(()),
            Err(_) => Err(SendError(self.stopped().await)),
        }
    }

    /// Why the mailbox is closed. A killed server gives its reason only when it is gone.
    async fn stopped(&self) -> ExitReason {
        match self.inner.ending.get() {
            Some(reason) => reason.clone(),
            None => self.inner.task.exited().await,
        }
    }
}

impl<S: Server> Clone for ServerRef<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<S: Server> Resides for ServerRef<S> {
    fn resident(&self) -> &Resident {
        AsRef::<TaskRef>::as_ref(self).resident()
    }
}

impl<S: Server> AsRef<TaskRef> for ServerRef<S> {
    fn as_ref(&self) -> &TaskRef {
        self.task()
    }
}

impl<S: Server> fmt::Debug for ServerRef<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerRef").field(&self.inner.task).finish()
    }
}

/// Sends a push as soon as there is room for it.
async fn when_room<T>(
    outbox: &Outbox,
    mut send: impl FnMut() -> Result<T, PushError>,
) -> Result<T, PushError> {
    loop {
        let Ok(waited) = outbox.room().await else {
            return Err(PushError::Disconnected);
        };
        let _turn = waited.then(|| Turn(outbox));
        match send() {
            // Another may have been faster.
            Err(PushError::Full) => {}
            sent => return sent,
        }
    }
}

/// Returns whether the push could be encoded within so many bytes. If not, nothing was sent.
fn send_push(outbox: &Outbox, push: &impl Serialize, within: usize) -> Result<bool, PushError> {
    outbox
        .send(Sort::Push, |codec, out| {
            codec.term(out, Kind::Push, push, within)
        })
        .map_err(unsendable)?
        .map_err(untaken)
}

fn unsendable(error: PacketError) -> PushError {
    PushError::Unsendable(Box::new(error))
}

fn untaken(why: Untaken) -> PushError {
    match why {
        Untaken::Closed => PushError::Disconnected,
        Untaken::Full => PushError::Full,
    }
}

/// The turn of one who has waited for room. It ends even if a user's `Serialize` panics.
struct Turn<'a>(&'a Outbox);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.pass_on_room();
    }
}

/// Why a call within the process has no reply.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The server has ended. It may have begun to handle the call.
    #[error("the server has ended: {0}")]
    Stopped(ExitReason),
    /// No answer came in time. The server may still handle the call.
    #[error("the server gave no answer in time")]
    TimedOut,
    /// The server dropped its [`ReplyTo`](crate::ReplyTo).
    #[error("the server dropped the call unanswered")]
    Unanswered,
    /// The server answered with [`ReplyTo::refuse`](crate::ReplyTo::refuse).
    #[error("the server refused: {0}")]
    Refused(String),
}

/// Why a push was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The server has no connection, or none any more.
    #[error("there is no connection to push to")]
    Disconnected,
    /// Too much is queued already; only [`ServerRef::try_push`] says so.
    #[error("too much is queued for a peer that does not read; see `max_outgoing`")]
    Full,
    /// The value cannot be a packet: it has no form as a term, or is over the limit.
    #[error("the push cannot be sent: {0}")]
    Unsendable(#[source] Box<PacketError>),
}
