//! Servers: one task, one state, one message at a time.
//!
//! ```text
//! ServerRef::call, cast, info --> mailbox --+
//!                                           +--> handler --> ReplyTo --> caller
//! socket --> link --> call, cast -----------+                   |
//!   ^                                                           |
//!   +-------------------- send queue <--------------------------+-- push
//! ```
//!
//! Local callers and the peer of the connection reach the same handlers. One task reads, runs the
//! handlers, and writes; while a handler awaits, it continues to write. A server without a connection
//! is a plain GenServer.
//!
//! The trait, its context and its handle are defined here, because each names the others. What can be
//! done with a handle is above them: calls, pushes, and the start of a server.

mod broadcast;
mod builder;
mod busy;
mod call;
mod connection;
mod connection_ref;
mod drain;
mod driver;
mod handle;
mod init_error;
mod memory;
mod options;
mod push;
mod receive;
mod reject;
mod request;
mod run;
mod start;
mod timer;
mod work;

use std::{
    any::Any,
    fmt,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use crate::{
    BoxError, ExitReason, PeerIdentity, PeerInfo, Protocol, ReplyTo, TaskRef,
    mailbox::Sender,
    send_queue::SendQueue,
    task::{Children, Spawner},
    timers::Timers,
    universe::{Resident, Resides},
};

pub(crate) use broadcast::EncodedPush;
pub use builder::ServerBuilder;
pub use busy::Busy;
pub use call::ServerError;
pub(crate) use connection_ref::ConnectionRef;
use handle::Core;
pub use init_error::InitError;
pub(crate) use memory::worst_case_memory;
pub use options::ServerOptions;
pub use push::{PushError, Pusher};
pub use receive::ProtocolError;
pub(crate) use reject::{reject, reject_unstarted};
pub use start::StartError;
pub(crate) use start::{Connected, OnSpawn, start};

/// The callbacks of a server. OTP's `gen_server`, typed.
///
/// Every callback may be a plain `async fn`. They run one at a time, each to its end, so `self`
/// needs no lock. An `Err`, where a callback may return one, stops the server with
/// [`ExitReason::Error`]; a panic stops it with [`ExitReason::Panic`] and affects no other task. In
/// both cases [`terminate`](Self::terminate) runs.
///
/// # Example
///
/// ```
/// use erps::{BoxError, Context, InitError, Protocol, ReplyTo, Server, ServerRef};
///
/// struct Adder;
/// impl Protocol for Adder {
///     type Call = (i64, i64);
///     type Reply = i64;
///     type Cast = ();
///     type Push = ();
/// }
///
/// struct AdderServer;
/// impl Server for AdderServer {
///     type Protocol = Adder;
///     type Seed = ();
///     type Info = ();
///
///     async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
///         Ok(Self)
///     }
///
///     async fn handle_call(
///         &mut self,
///         (a, b): (i64, i64),
///         from: ReplyTo<i64>,
///         _: &mut Context<Self>,
///     ) -> Result<(), BoxError> {
///         from.reply(a + b);
///         Ok(())
///     }
/// }
///
/// smol::block_on(async {
///     let server = ServerRef::<AdderServer>::builder(()).start_link().await?;
///     assert_eq!(server.call((2, 3)).await?, 5);
///     Ok::<_, BoxError>(())
/// }).unwrap();
/// ```
pub trait Server: Sized + Send + 'static {
    /// The protocol it serves.
    type Protocol: Protocol;
    /// The initial data, cloned for every server of a daemon. What they share is behind an `Arc` in it, or a handle: see
    /// [the example](macro@crate::server#state-that-the-servers-of-a-daemon-share).
    type Seed: Clone + Send + 'static;
    /// Messages from within the process, besides calls and casts.
    type Info: Send + 'static;

    /// Makes the state.
    ///
    /// Runs in the server's own task, after the peer, returned by [`Context::peer`], has been
    /// authenticated. No message is handled before it has returned. OTP's `init/1`.
    fn init(
        seed: Self::Seed,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Self, InitError>> + Send;

    /// Handles a call, of the peer or of a [`ServerRef`], as returned by [`ReplyTo::is_remote`].
    ///
    /// An `Err`, and so a `?` that meets an error, stops the server, as an exception does in OTP: the connection is
    /// closed, and the caller receives [`CallError::Failed`](crate::CallError::Failed). To report an error to the caller
    /// and continue, make it part of the reply ([`Protocol::Reply`]), or use [`ReplyTo::refuse`].
    ///
    /// `from.reply(..)` may be called here, or later from any task or thread. What follows it here is
    /// OTP's `handle_continue`: the reply is sent at the next await, while the handler continues.
    ///
    /// The server handles its next message when this returns. To handle calls of one connection side by side, or to call
    /// another service, move `from` into a task ([`Context::spawn`] has an example) and return. A handler that computes or blocks for long without
    /// awaiting delays its own reply and all other tasks of its thread: use [`erps::unblock`](crate::unblock) for such
    /// work. The thread belongs to smol's executor, or to that of the builder. tokio's timers and sockets, and what is built on
    /// them, work in a callback with the feature `tokio`, if the builder was made in a tokio runtime or names one
    /// ([`ServerBuilder`], [`DaemonBuilder`](crate::DaemonBuilder): `tokio`).
    fn handle_call(
        &mut self,
        call: <Self::Protocol as Protocol>::Call,
        from: ReplyTo<<Self::Protocol as Protocol>::Reply>,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Handles a cast, which has no reply. Default: ignores it.
    fn handle_cast(
        &mut self,
        cast: <Self::Protocol as Protocol>::Cast,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (cast, cx);
        async { Ok(()) }
    }

    /// Handles a message of [`ServerRef::info`], a timer, a monitor, or spawned work. Default: ignores it.
    fn handle_info(
        &mut self,
        info: Self::Info,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (info, cx);
        async { Ok(()) }
    }

    /// Handles the timeout set by [`Context::timeout`]. Default: does nothing.
    fn handle_timeout(
        &mut self,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = cx;
        async { Ok(()) }
    }

    /// Runs when a drain or a shutdown of the daemon begins. Default: does nothing.
    ///
    /// The place to answer parked calls, to refuse new work, and to tell the peer with a push. Calls and casts that arrive
    /// later are handled as before. The server exits when its calls are answered and it is not [busy](Context::busy);
    /// at `deadline`, a time of [`erps::time::now`](crate::time::now), it is shut down.
    fn handle_drain(
        &mut self,
        deadline: Instant,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (deadline, cx);
        async { Ok(()) }
    }

    /// Runs before the server exits, whatever the reason, unless it is killed. Default: does nothing.
    ///
    /// Packets sent here are still delivered if the connection is open.
    fn terminate(
        &mut self,
        reason: &ExitReason,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (reason, cx);
        async {}
    }
}

/// A server's view of itself and its connection, passed to every callback.
pub struct Context<S: Server> {
    this: ServerRef<S>,
    peer: Option<PeerInfo>,
    stop: Option<ExitReason>,
    timeout: Option<Duration>,
    children: Children,
    timers: Timers<S::Info>,
    parent: Option<Parent>,
}

/// What has started the server, if it exists still. Its type is known above this module.
pub(crate) type Parent = Weak<dyn Any + Send + Sync>;

impl<S: Server> Context<S> {
    fn new(this: ServerRef<S>, peer: Option<PeerInfo>, parent: Option<Parent>) -> Self {
        Self {
            this,
            peer,
            parent,
            stop: None,
            timeout: None,
            children: Children::default(),
            timers: Timers::new(),
        }
    }

    /// Returns the peer; `None` if there is no connection.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerInfo> {
        self.peer.as_ref()
    }

    /// Returns the identity in the peer's certificate; `None` without TLS, and without a connection.
    #[must_use]
    pub fn identity(&self) -> Option<&PeerIdentity> {
        self.peer.as_ref()?.identity.as_ref()
    }

    /// Returns the server's own handle, to be passed to other tasks.
    ///
    /// A server that calls itself waits for itself: the call times out.
    #[must_use]
    pub fn this(&self) -> &ServerRef<S> {
        &self.this
    }

    /// Returns what has started the server, if it is of this type.
    pub(crate) fn parent<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.parent.as_ref()?.upgrade()?.downcast().ok()
    }

    /// Stops the server with `reason` when this callback has returned. OTP's `{:stop, reason, …}`.
    ///
    /// Replies that were already given are still delivered.
    pub fn stop(&mut self, reason: ExitReason) {
        self.stop = Some(reason);
    }

    /// Runs [`handle_timeout`](Server::handle_timeout) if no message arrives within `limit` after this
    /// callback. OTP's timeout: any message cancels it.
    pub fn timeout(&mut self, limit: Duration) {
        self.timeout = Some(limit);
    }

    /// Closes the connection when this callback has returned. The server exits with
    /// [`ExitReason::Disconnected`].
    pub fn disconnect(&mut self) {
        self.stop = Some(ExitReason::Disconnected);
    }
}

impl<S: Server> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("this", &self.this)
            .field("peer", &self.peer)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}

/// A handle to a running server. What a pid is in OTP, typed.
///
/// Clones are handles to the same server; dropping one has no effect on it. Works from any
/// executor and any thread.
pub struct ServerRef<S: Server> {
    inner: Arc<Inner<S>>,
}

struct Inner<S: Server> {
    mailbox: Sender<Message<S>>,
    core: Core,
}

impl<S: Server> ServerRef<S> {
    fn new(
        task: TaskRef,
        mailbox: Sender<Message<S>>,
        send_queue: Option<Arc<SendQueue>>,
        spawner: Spawner,
    ) -> Self {
        let core = Core::new(task, send_queue, spawner);
        Self {
            inner: Arc::new(Inner { mailbox, core }),
        }
    }

    /// Returns the handle to its task, to shut it down, kill it, or put it under supervision.
    #[must_use]
    pub fn task(&self) -> &TaskRef {
        &self.inner.core.task
    }

    fn mailbox(&self) -> &Sender<Message<S>> {
        &self.inner.mailbox
    }

    pub(crate) fn send_queue(&self) -> Option<&SendQueue> {
        self.inner.core.send_queue.as_deref()
    }

    fn shared_send_queue(&self) -> Option<Arc<SendQueue>> {
        self.inner.core.send_queue.clone()
    }

    fn spawner(&self) -> &Spawner {
        &self.inner.core.spawner
    }

    /// Closes the mailbox, and sets the reason that its senders receive.
    fn close_mailbox(&self, reason: &ExitReason) {
        self.inner.core.set_stopped(reason);
        self.inner.mailbox.close();
    }

    fn is_running(&self) -> bool {
        self.inner.core.is_running()
    }

    /// Returns why the mailbox is closed. Of a killed server this is known only once it has exited.
    async fn stopped(&self) -> ExitReason {
        self.inner.core.stopped().await
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
        self.task().resident()
    }
}

impl<S: Server> AsRef<TaskRef> for ServerRef<S> {
    fn as_ref(&self) -> &TaskRef {
        self.task()
    }
}

impl<S: Server> fmt::Debug for ServerRef<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerRef").field(self.task()).finish()
    }
}

/// A message from within the process.
enum Message<S: Server> {
    Call(
        <S::Protocol as Protocol>::Call,
        ReplyTo<<S::Protocol as Protocol>::Reply>,
    ),
    Cast(<S::Protocol as Protocol>::Cast),
    Info(S::Info),
}
