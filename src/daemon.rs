//! The listening side: one daemon, a port or several, one server per connection.
//!
//! ```text
//! listener --> accept loop --> [handshake, then server]   one task per connection
//! listener --> accept loop --^           |
//!                                    supervisor           which knows nothing of sockets
//! ```
//!
//! An accept loop does as little as it can: it never reads, never handshakes, and never waits for
//! a connection's server. A peer that stalls can therefore hold up nobody but itself.

mod accept;
mod connection;
mod drain;
mod events;
mod info;
mod journal;
mod limits;
mod options;
mod proxy;
mod run;
mod shared;
mod supervisor;
mod ticket;
mod visit;
mod warnings;

use std::{
    fmt, io, marker::PhantomData, net::SocketAddr, panic::Location, sync::Arc, time::Duration,
};

use futures_lite::FutureExt as _;

use crate::{
    Endpoint, ExitReason, Server, TaskRef,
    universe::{Resident, Resides},
    wire::identity::VersionReqError,
};
use shared::Shared;

pub use drain::{DrainOutcome, DrainReport, Drained};
pub use events::{
    ConnectionEnd, ConnectionStage, DaemonEvent, DaemonEvents, HandshakeCounts, HandshakeFailure,
    NotAdmittedCounts,
};
pub use info::{ConnectionInfo, DaemonInfo};
pub use limits::{AtLimit, DaemonLimits, NotAdmitted};
pub use options::DaemonBuilder;
pub use supervisor::{ServerRecipe, ServerSupervisor, StartServer};

/// Sits on a port and hands each connection to a new server.
///
/// Clones are handles to the same daemon; dropping one has no effect on it. When the daemon ends
/// it closes its port, and ends the servers it started.
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
    shared: Arc<Shared<S>>,
    server: PhantomData<fn() -> S>,
}

impl<S: Server> Daemon<S> {
    /// Prepares a daemon whose servers are all made from `seed`.
    #[track_caller]
    pub fn builder(seed: S::Seed) -> DaemonBuilder<S> {
        DaemonBuilder::new(seed)
    }

    /// The port it listens on: the first, if there are several.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.local_addr().port()
    }

    /// The IP address it listens on: the first, if there are several. `0.0.0.0:0` if there is none.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local_addr()
    }

    /// Where it listens, in the order in which the builder was told.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<Endpoint> {
        self.shared.local_addrs.clone()
    }

    /// Counts and limits, as they are now.
    #[must_use]
    pub fn info(&self) -> DaemonInfo {
        self.shared.info()
    }

    /// The connections that have a server, if only one at its `init`, oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.shared.connections()
    }

    /// What happens to its connections from now on. As many may watch as like to.
    #[must_use]
    pub fn events(&self) -> DaemonEvents {
        self.shared.journal.watch()
    }

    /// The limits, as they are now.
    #[must_use]
    pub fn limits(&self) -> DaemonLimits {
        self.shared.limits()
    }

    /// Changes the limits for all who come from now on. A restart by a supervisor begins with those of
    /// the builder again.
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
        self.shared.set_limits(change);
    }

    /// Accepts nobody until it is [resumed](Self::resume). The port stays bound: who connects meanwhile
    /// waits in the system's backlog. The connections there are go on.
    pub fn suspend(&self) {
        self.shared.suspend(true);
    }

    /// Accepts again, those who wait in the backlog first. No effect unless it was
    /// [suspended](Self::suspend).
    pub fn resume(&self) {
        self.shared.suspend(false);
    }

    /// Ends the daemon as soon as its servers have answered their peers, and returns within `limit`.
    ///
    /// The port is closed at once, and whoever is at a handshake or in the backlog is dropped. On every
    /// other connection, for an eighth of the limit and a second at most, all that the peer sends is
    /// taken: what is on its way arrives. Then nothing more is read. When all calls are answered, those
    /// also whose [`ReplyTo`](crate::ReplyTo) is elsewhere, and nothing is in the mailbox, the server
    /// ends with [`ExitReason::Shutdown`]: `terminate` runs, all that is to be sent is sent, and the
    /// connection is closed.
    ///
    /// Servers that are not done after three quarters of the limit, or later if their
    /// [shutdown](DaemonBuilder::server_shutdown) leaves more time, are shut down; what is still there
    /// a sixteenth before its end, or a second, is killed.
    ///
    /// The protocol has no word for this, so that a client sees a connection that is closed after the
    /// replies to its calls. What it sends after the time of listening may be lost
    /// ([`CallError::may_have_run`](crate::CallError::may_have_run) cannot tell that it was not read).
    /// Then it dials, and finds nobody there, or a successor.
    ///
    /// Called again, the nearer end counts, and all who wait are told the same. A daemon under a
    /// supervisor ends so with [`ExitReason::Shutdown`]: a permanent one is started anew.
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
    ///     eprintln!("{} was cut: {:?}", cut.peer, cut.outcome);
    /// }
    /// # assert!(report.is_clean());
    /// # Ok::<_, BoxError>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn drain(&self, limit: Duration) -> impl Future<Output = DrainReport> + Send + use<S> {
        let this = self.clone();
        let timer = self.shared.spawner.made_at(Location::caller());
        async move {
            this.shared.drain(limit);
            let late = async {
                timer.after(limit).await;
                ExitReason::Killed
            };
            this.task.exited().or(late).await;
            this.shared.report()
        }
    }

    /// Waits until the daemon has ended, and all its servers with it; tells why. OTP's monitor.
    ///
    /// A daemon that was killed kills its servers, and is not there any more to wait for them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn exited(&self) -> ExitReason {
        self.task.exited().await
    }

    /// As [`exited`](Self::exited), for those who keep the future. It does not keep the daemon alive.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn monitor(&self) -> impl Future<Output = ExitReason> + Send + use<S> {
        self.task.monitor()
    }

    /// The handle to its task: to shut it down or kill it.
    #[must_use]
    pub fn task(&self) -> &TaskRef {
        &self.task
    }
}

impl<S: Server> Clone for Daemon<S> {
    fn clone(&self) -> Self {
        Self {
            task: self.task.clone(),
            shared: Arc::clone(&self.shared),
            server: PhantomData,
        }
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

/// Why there is no daemon. Nothing is left listening.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartDaemonError {
    /// The port cannot be had: it is taken, or the address is not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address that was asked for.
        address: Endpoint,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// Other machines would speak plaintext to it.
    #[error(
        "{0} can be reached from other machines, but the transport is not secure: \
         use `Tls`, or say `plaintext_anywhere()`"
    )]
    Plaintext(SocketAddr),
    /// [`Protocol::ACCEPTS`](crate::Protocol::ACCEPTS) is no version requirement.
    #[error("`Protocol::ACCEPTS` is no version requirement: {0}")]
    Accepts(#[source] VersionReqError),
    /// It was ended while it started.
    #[error("the daemon ended while it started: {0}")]
    Ended(ExitReason),
}
