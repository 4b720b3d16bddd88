//! The listening side: a daemon listens on one or more ports and has one server per connection.
//!
//! ```text
//! listener --> accept loop --> [handshake, then server]   one task per connection
//! listener --> accept loop --^           |
//!                                    supervisor           independent of sockets
//! ```
//!
//! An accept loop never reads, never carries out a handshake, and never waits for a connection's server.
//! So a stalled peer blocks no other peer.
//!
//! Everything is compiled once, for all types of servers, except the handle, the builder, and the factory
//! that starts a server.

mod accept;
mod builder;
mod connection;
mod context;
mod counts;
mod drain;
mod drain_plan;
mod drain_report;
mod events;
mod factory;
mod info;
mod limits;
mod permit;
mod proxy;
mod publisher;
mod record;
mod run;
mod server_entry;
mod settings;
mod shared;
mod start_token;
mod state;
mod supervisor;
mod table;
mod warnings;

use std::{fmt, marker::PhantomData, net::SocketAddr, panic::Location, sync::Arc, time::Duration};

use crate::{
    Endpoint, ExitReason, Server, TaskRef,
    universe::{Resident, Resides},
};
use shared::Shared;

pub use builder::DaemonBuilder;
pub use drain_report::{DrainOutcome, DrainReport, Drained};
pub use events::{
    CloseReason, ConnectionStage, DaemonEvent, DaemonEvents, HandshakeCounts, HandshakeFailure,
    RejectionCounts,
};
pub use info::{ConnectionInfo, DaemonInfo};
pub use limits::{AtLimit, DaemonLimits, Rejection};
pub use run::StartDaemonError;
pub use supervisor::{ServerSpec, ServerSupervisor, StartServer};

/// A handle to a daemon, which listens and starts a server for each connection.
///
/// Clones are handles to the same daemon; dropping one has no effect on it. When the daemon exits, it
/// closes its listeners and shuts down the servers it started.
///
/// # Example
///
/// ```
/// use erps::{BoxError, Client, Context, Daemon, InitError, Protocol, ReplyTo, Server};
///
/// struct Echo;
/// impl Protocol for Echo {
///     type Call = String;
///     type Reply = String;
///     type Cast = ();
///     type Push = ();
/// }
///
/// struct EchoServer;
/// impl Server for EchoServer {
///     type Protocol = Echo;
///     type Seed = ();
///     type Info = ();
///
///     async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
///         Ok(Self)
///     }
///
///     async fn handle_call(
///         &mut self,
///         text: String,
///         from: ReplyTo<String>,
///         _: &mut Context<Self>,
///     ) -> Result<(), BoxError> {
///         from.reply(text);
///         Ok(())
///     }
/// }
///
/// smol::block_on(async {
///     let daemon = Daemon::<EchoServer>::builder(()).start_link().await?;
///     let client = Client::<Echo>::builder(daemon.local_addr()).connect().await?;
///     assert_eq!(client.call("hello".into()).await?, "hello");
///     Ok::<_, BoxError>(())
/// }).unwrap();
/// ```
pub struct Daemon<S: Server> {
    task: TaskRef,
    shared: Arc<Shared>,
    server: PhantomData<fn() -> S>,
}

impl<S: Server> Daemon<S> {
    fn new(task: TaskRef, shared: Arc<Shared>) -> Self {
        let server = PhantomData;
        Self {
            task,
            shared,
            server,
        }
    }

    /// Returns the port it listens on: the first, if there are several.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.local_addr().port()
    }

    /// Returns the IP address it listens on: the first, if there are several. `0.0.0.0:0` if there is none.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local_addr()
    }

    /// Returns all addresses it listens on, in the order of the builder calls.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<Endpoint> {
        self.shared.local_addrs.clone()
    }

    /// Returns its current counters and limits.
    #[must_use]
    pub fn info(&self) -> DaemonInfo {
        self.shared.info()
    }

    /// Lists the connections that have a server, including those whose server runs `init`, oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.shared.connections()
    }

    /// Returns a stream of its events from now on. There may be any number of streams.
    #[must_use]
    pub fn events(&self) -> DaemonEvents {
        self.shared.state.events.subscribe()
    }

    /// Returns its current limits.
    #[must_use]
    pub fn limits(&self) -> DaemonLimits {
        self.shared.state.limits()
    }

    /// Changes the limits for new connections. A restart by a supervisor begins with those of the builder
    /// again.
    ///
    /// ```
    /// # use erps::{AtLimit, Daemon, Server};
    /// # fn example<S: Server>(daemon: Daemon<S>) {
    /// daemon.set_limits(|limits| {
    ///     limits.connections = 100;
    ///     limits.at_limit = AtLimit::Close;
    /// });
    /// # }
    /// ```
    pub fn set_limits(&self, change: impl FnOnce(&mut DaemonLimits)) {
        self.shared.state.set_limits(change);
    }

    /// Stops accepting until it is [resumed](Self::resume). The port stays bound: new connections wait in
    /// the system's backlog. Open connections are not affected.
    pub fn suspend(&self) {
        self.shared.state.suspend(true);
    }

    /// Resumes accepting, with the connections in the backlog first. No effect unless it was
    /// [suspended](Self::suspend).
    pub fn resume(&self) {
        self.shared.state.suspend(false);
    }

    /// Drains the daemon: it exits as soon as its servers have answered their peers. Returns within
    /// `limit`.
    ///
    /// It proceeds in phases, for a limit of 20 seconds:
    ///
    /// 1. At once the port is closed, and so are connections in a handshake or in the backlog.
    /// 2. Until 1 second (1/8 of the limit, at most a second): other connections still read, so that packets in
    ///    transit arrive.
    /// 3. Until 15 seconds (3/4 of the limit, later if the [shutdown](DaemonBuilder::server_shutdown) of the servers
    ///    is shorter than the rest): nothing more is read, and calls are answered. When a server's calls are all
    ///    answered, including those whose [`ReplyTo`](crate::ReplyTo) is held elsewhere, and its mailbox is empty, it
    ///    exits with [`ExitReason::Shutdown`]: `terminate` runs, the send queue is flushed, and the connection is
    ///    closed.
    /// 4. Until 19 seconds (1/16 of the limit, at most a second, before its end): the remaining servers are shut
    ///    down.
    /// 5. Then the remaining servers are killed.
    ///
    /// The protocol has no packet for a drain: a client receives the replies to its calls, and then the connection is
    /// closed. Packets that it sends after phase 2 may be lost; for their calls
    /// [`CallError::may_have_run`](crate::CallError::may_have_run) returns true although they were not read. Then the
    /// client reconnects: its connection is refused, or accepted by the daemon's successor.
    ///
    /// A server learns of the drain by [`handle_drain`](Server::handle_drain): there it answers calls that it keeps. Work
    /// that no call is in flight for is announced by [`Context::busy`](crate::Context::busy): the drain waits for it as
    /// for a call, and reads the peer's packets meanwhile, until it has to shut the server down.
    ///
    /// Called again, the earlier deadline holds, and all callers receive the same report. The daemon exits with
    /// [`ExitReason::Shutdown`]. Its supervisor does not restart it, whatever its [`Restart`](crate::Restart), because
    /// its end was requested: a [`DynamicSupervisor`](crate::DynamicSupervisor) removes it, and a
    /// [`Supervisor`](crate::Supervisor) keeps its specification for `restart_child`.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the daemon is drained whether or not the future is dropped.
    ///
    /// # Example
    ///
    /// ```
    /// # use erps::{BoxError, Context, Daemon, InitError, Never, Protocol, ReplyTo, Server};
    /// # struct Shop;
    /// # impl Protocol for Shop {
    /// #     type Call = ();
    /// #     type Reply = ();
    /// #     type Cast = ();
    /// #     type Push = ();
    /// # }
    /// # struct ShopServer;
    /// # impl Server for ShopServer {
    /// #     type Protocol = Shop;
    /// #     type Seed = ();
    /// #     type Info = ();
    /// #     async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Self) }
    /// #     async fn handle_call(&mut self, _: (), from: ReplyTo<()>, _: &mut Context<Self>) -> Result<(), BoxError> {
    /// #         from.reply(());
    /// #         Ok(())
    /// #     }
    /// # }
    /// # smol::block_on(async {
    /// use std::time::Duration;
    ///
    /// let daemon = Daemon::<ShopServer>::builder(()).start().await?;
    /// let report = daemon.drain(Duration::from_secs(20)).await;
    /// for cut in report.cut() {
    ///     eprintln!("{}: {}", cut.peer, cut.outcome);
    /// }
    /// # assert!(report.is_clean());
    /// # Ok::<_, BoxError>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn drain(&self, limit: Duration) -> impl Future<Output = DrainReport> + Send + use<S> {
        let (task, shared) = (self.task.clone(), Arc::clone(&self.shared));
        let spawner = shared.spawner.made_at(Location::caller());
        async move { drain::drain(&shared, &task, &spawner, limit).await }
    }

    /// Waits until the daemon and all its servers have exited; returns the exit reason. OTP's monitor.
    ///
    /// If it was killed, its servers are killed, too, but may not have exited yet.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn exited(&self) -> ExitReason {
        self.task.exited().await
    }

    /// Returns [`exited`](Self::exited) as a future that borrows nothing. It does not keep the daemon alive.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn monitor(&self) -> impl Future<Output = ExitReason> + Send + use<S> {
        self.task.monitor()
    }

    /// Returns the handle to its task, to shut it down or kill it.
    #[must_use]
    pub fn task(&self) -> &TaskRef {
        &self.task
    }
}

impl<S: Server> Clone for Daemon<S> {
    fn clone(&self) -> Self {
        Self::new(self.task.clone(), Arc::clone(&self.shared))
    }
}

impl<S: Server> Resides for Daemon<S> {
    fn resident(&self) -> &Resident {
        AsRef::<TaskRef>::as_ref(self).resident()
    }
}

impl<S: Server> AsRef<TaskRef> for Daemon<S> {
    fn as_ref(&self) -> &TaskRef {
        &self.task
    }
}

impl<S: Server> fmt::Debug for Daemon<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon")
            .field("local_addrs", &self.shared.local_addrs)
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}
