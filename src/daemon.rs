//! The listening side: one daemon, one port, one server per connection.
//!
//! ```text
//! listener --> accept loop --> [handshake, then server]   one task per connection
//!                   |                    |
//!                   +---- supervisor ----+                which knows nothing of sockets
//! ```
//!
//! The accept loop does as little as it can: it never reads, never handshakes, and never waits for
//! a connection's server. A peer that stalls can therefore hold up nobody but itself.

mod accept;
mod connection;
mod options;
mod run;
mod shared;
mod supervisor;
mod ticket;

use std::{fmt, io, marker::PhantomData, net::SocketAddr, sync::Arc};

use crate::{ExitReason, Server, TaskRef, wire::identity::VersionReqError};
use shared::Shared;

pub use options::DaemonBuilder;
pub use supervisor::{ServerRecipe, ServerSupervisor, StartServer};

/// Sits on a TCP port and hands each connection to a new server.
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

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.shared.local_addr.port()
    }

    /// The address it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local_addr
    }

    /// Counts and limits, as they are now.
    #[must_use]
    pub fn info(&self) -> DaemonInfo {
        self.shared.info()
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

impl<S: Server> AsRef<TaskRef> for Daemon<S> {
    fn as_ref(&self) -> &TaskRef {
        &self.task
    }
}

impl<S: Server> fmt::Debug for Daemon<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon")
            .field("local_addr", &self.local_addr())
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}

/// A daemon's counts and limits at one moment. Made by [`Daemon::info`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DaemonInfo {
    /// The address it listens on.
    pub local_addr: SocketAddr,
    /// How many connections it has accepted.
    pub accepted: u64,
    /// How many of them never got a server: the handshake or the start failed.
    pub failed: u64,
    /// How many connections there are, in whatever stage.
    pub connections: usize,
    /// How many of them are at their handshake.
    pub handshakes: usize,
    /// How many of them have a server, if only one at its `init`.
    pub servers: usize,
    /// How many connections there may be.
    pub max_connections: usize,
    /// How many handshakes there may be.
    pub max_pending_handshakes: usize,
}

/// Why there is no daemon. Nothing is left listening.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartDaemonError {
    /// The port cannot be had: it is taken, or the address is not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
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
