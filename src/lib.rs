//! Supervised servers over two-way TLS, whose parallel tests do not disturb each other.
//!
//! The Elixir library erps 0.7, in Rust, on smol; either end may be an Elixir node. A [`Protocol`]
//! names what both ends agree on. A [`Server`] handles its calls and casts, one at a time, and answers
//! through [`ReplyTo`]. A [`Daemon`] has one server started per connection, under a
//! [`DynamicSupervisor`]. A [`Client`] is shared by many callers and heals. [`Tls`] secures both ends.
//!
//! ```
//! use erps::{BoxError, Client, Context, Daemon, InitError, Protocol, ReplyTo, Server};
//!
//! struct Adder;
//! impl Protocol for Adder {
//!     type Call = (i64, i64);
//!     type Reply = i64;
//!     type Cast = ();
//!     type Push = ();
//! }
//!
//! struct AdderServer;
//! impl Server for AdderServer {
//!     type Protocol = Adder;
//!     type Seed = ();
//!     type Info = ();
//!
//!     async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
//!         Ok(Self)
//!     }
//!
//!     async fn handle_call(
//!         &mut self,
//!         (a, b): (i64, i64),
//!         from: ReplyTo<i64>,
//!         _: &mut Context<Self>,
//!     ) -> Result<(), BoxError> {
//!         from.reply(a + b);
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), BoxError> {
//! smol::block_on(async {
//!     let daemon = Daemon::<AdderServer>::builder(()).start_link().await?;
//!     let client = Client::<Adder>::builder(daemon.local_addr()).connect().await?;
//!     assert_eq!(client.call((2, 3)).await?, 5);
//!     Ok(())
//! })
//! # }
//! ```
//!
//! - *To do X, read Y.* Typed messages: [`wire::etf`]. Untyped ones: [`Term`]. Certificates: [`Tls`].
//!   Limits: [`ServerOptions`], [`DaemonBuilder`], [`ClientBuilder`]. Servers started by a closure:
//!   [`ServerSupervisor`]. A server without a network: [`ServerRef`]. Elixir peers: [`Peer`].
//! - *Cancel safety.* Any future may be dropped at any time; each says what has happened by then. Those
//!   of clients, servers and daemons poll no socket and no timer: any runtime may wait for them.
//! - *Supervision.* A restarted task has lost its state. A connection's server is not restarted; the
//!   client makes another of both. [`CallError::may_have_run`] tells what may be repeated.
//! - *Threads.* All tasks run on smol's executor: one thread unless `SMOL_THREADS` says more, or one of
//!   your own. A callback that blocks holds up all on its thread. A packet that costs more than 64 KiB to decode or
//!   encode is handled on smol's blocking pool, a processor short of all of them. Events go to `tracing`.
//! - *Testing.* [`erps::test`](test) runs a test in a [`universe`]: own statics, and own clock and network.
#![warn(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit
)]

mod backoff;
mod client;
mod daemon;
mod encode;
mod endpoint;
mod exit;
mod link;
mod mailbox;
mod outbox;
mod protocol;
mod recipes;
mod reply;
mod server;
mod supervisor;
mod task;
mod text;
mod throttle;
mod transport;
pub mod wire;

pub use backoff::Backoff;
pub use client::{
    Address, CallError, CastError, Client, ClientBuilder, ClientContext, ClientHandler,
    ConnectError, Disconnect, HandlerRef, Pushes, Reconnect, Status,
};
pub use daemon::{
    AtLimit, ConnectionEnd, ConnectionInfo, ConnectionStage, Daemon, DaemonBuilder, DaemonEvent,
    DaemonEvents, DaemonInfo, DaemonLimits, DrainOutcome, DrainReport, Drained, HandshakeCounts,
    HandshakeFailure, NotAdmitted, NotAdmittedCounts, ServerRecipe, ServerSupervisor,
    StartDaemonError, StartServer,
};
pub use endpoint::{AddressError, Endpoint};
pub use erps_wire::{codec::PacketError, proxy::ProxyError};
pub use exit::{BoxError, ExitReason, SendError};
pub use link::{Peer, PeerInfo};
pub use protocol::{Message, Never, Protocol};
pub use reply::ReplyTo;
pub use serde_etf::Term;
pub use server::{
    Context, InitError, ProtocolError, PushError, Server, ServerBuilder, ServerError,
    ServerOptions, ServerRef, StartError,
};
pub use supervisor::{
    AutoShutdown, Branch, ChildError, ChildInfo, ChildKind, ChildSpec, ChildState, Counts,
    DynamicSupervisor, DynamicSupervisorBuilder, Exit, Restart, RestartDelay, StartChildError,
    StartSupervisorError, Started, Strategy, Supervisor, SupervisorBuilder, SupervisorGone,
    TerminateChildError, Tree, UntilError,
};
pub use task::{Linked, Shutdown, TaskRef};
pub use test_universe::spawn;
pub use test_universe::{
    self as universe, Config, Host, Mock, Network, Registration, Registry, Sharded, Universe,
    network, time,
};
pub use test_universe_macros::erps_test as test;
pub use transport::{
    Alert, BoxedStream, ByteStream, HandedIn, Handshake, HandshakeError, PeerCredentials,
    PeerIdentity, Secured, Tcp, TcpOptions, Tls, TlsError, Transport, UnreadableCertificate,
    Untrusted,
};
#[cfg(feature = "test-ca")]
pub use transport::{TestCa, TestCertificate, TestRequest};

/// The code in the README, compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
#[allow(unused_extern_crates, reason = "the test attribute names it")]
extern crate self as erps;
