//! Supervised network servers and reconnecting clients over mutual TLS, with tests that run isolated and in parallel.
//!
//! A Rust version of the Elixir library [erps](https://hex.pm/packages/erps) 0.7, on smol, with the same wire protocol:
//! either end may be an Elixir node. [`erps::protocol`](macro@protocol) declares the messages. A server,
//! [`erps::server`](macro@server), handles calls and casts, one at a time. A [`Daemon`] listens on a port and starts one
//! server per connection. A [`Client`] reconnects by itself. [`Tls`] secures both ends.
//!
//! ```
//! use erps::{BoxError, Client, Daemon};
//!
//! #[erps::protocol]
//! trait Adder {
//!     async fn add(a: i64, b: i64) -> i64;
//! }
//!
//! #[derive(Default)]
//! struct AdderServer;
//!
//! #[erps::server]
//! impl Adder for AdderServer {
//!     async fn add(&mut self, a: i64, b: i64) -> i64 {
//!         a + b
//!     }
//! }
//!
//! # fn main() -> Result<(), BoxError> {
//! smol::block_on(async {
//!     let daemon = Daemon::<AdderServer>::builder(()).start_link().await?;
//!     let client = Client::<AdderProtocol>::builder(daemon.local_addr()).connect().await?;
//!     assert_eq!(client.add(2, 3).await?, 5);
//!     Ok(())
//! })
//! # }
//! ```
//!
//! Underneath are the traits [`Protocol`], whose messages are any serde types, and [`Server`], whose
//! [`handle_call`](Server::handle_call) answers through [`ReplyTo`]. They are implemented directly for untyped peers, and
//! where one enum of calls and one type of replies is enough.
//!
//! - *Where to read on.* Typed protocols: [`erps::protocol`](macro@protocol). Messages as terms: [`wire::etf`]. Untyped messages: [`Term`]. Certificates: [`Tls`]. Limits:
//!   [`ServerOptions`], [`DaemonBuilder`], [`ClientBuilder`]. Starting servers yourself: [`ServerSupervisor`], [`ServerRef`].
//! - *Cancel safety.* Every future may be dropped at any time; its documentation states the effect. The futures of
//!   clients, servers and daemons poll no sockets and no timers: they run on any runtime.
//! - *Supervision.* A restarted task loses its state. The server of a connection is not restarted: the client
//!   reconnects, and a new server is started. [`CallError::may_have_run`] returns whether a call may have been handled.
//! - *Threads.* All tasks run on smol's global executor, with one thread unless `SMOL_THREADS` is set, or on an executor
//!   of yours. A callback that blocks delays every task of its thread. A packet that costs more than 64 KiB to decode or
//!   encode is handled on smol's blocking pool, by one thread fewer than there are processors (at least one). Events are
//!   emitted through `tracing`, with the target `erps`.
//! - *Testing.* [`erps::test`](test) runs a test in a [`universe`]: with its own values of statics, and on request with a
//!   simulated clock and network.
#![warn(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit
)]

#[doc(hidden)]
pub mod __private;
mod backoff;
mod child_spec;
mod client;
mod daemon;
mod encode;
mod endpoint;
mod exit;
mod group;
mod link;
mod macros;
mod mailbox;
mod protocol;
mod reply;
mod request;
mod send_queue;
mod server;
mod supervisor;
mod task;
mod text;
mod throttle;
mod timers;
mod transport;
pub mod wire;

pub use backoff::Backoff;
pub use client::{
    Address, CallError, CastError, Client, ClientBuilder, ClientContext, ClientHandler,
    ConnectError, Disconnect, FlattenReply, HandlerRef, NotConnected, Pushes, Reconnect,
    RequestError, Status,
};
pub use daemon::{
    AtLimit, CloseReason, ConnectionInfo, ConnectionStage, Daemon, DaemonBuilder, DaemonEvent,
    DaemonEvents, DaemonInfo, DaemonLimits, DrainOutcome, DrainReport, Drained, HandshakeCounts,
    HandshakeFailure, Rejection, RejectionCounts, ServerSpec, ServerSupervisor, StartDaemonError,
    StartServer,
};
pub use endpoint::{AddressError, Endpoint};
pub use erps_wire::{codec::PacketError, proxy::ProxyError};
pub use exit::{BoxError, ExitReason, SendError};
pub use group::{Broadcast, Group, Groups, WhenFull};
pub use link::{Peer, PeerInfo};
pub use macros::{handler, protocol, server};
pub use protocol::{Message, Never, Protocol};
pub use reply::{AnyReply, IntoReply, ReplyTo};
pub use request::{CallOptions, Caller, Request, With};
pub use serde_etf::Term;
pub use server::{
    Busy, Context, InitError, ProtocolError, PushError, Pusher, Server, ServerBuilder, ServerError,
    ServerOptions, ServerRef, StartError,
};
pub use supervisor::{
    AutoShutdown, Branch, ChildError, ChildInfo, ChildKind, ChildSpec, ChildState, Counts,
    DynamicSupervisor, DynamicSupervisorBuilder, Exit, Restart, RestartDelay, StartChildError,
    StartSupervisorError, Started, Strategy, Supervisor, SupervisorBuilder, SupervisorStopped,
    TerminateChildError, Tree, UntilError,
};
pub use task::{Linked, Shutdown, TaskHandle, TaskRef, spawn, unblock};
pub use test_universe::{
    self as universe, Config, Host, Mock, Network, Registration, Registry, Sharded, Universe,
    network, time,
};
pub use test_universe_macros::erps_test as test;
pub use timers::Timer;
pub use transport::{
    Alert, BoxedStream, ByteStream, ExternalListener, Handshake, HandshakeError, PeerCredentials,
    PeerIdentity, Secured, Tcp, TcpOptions, Tls, TlsError, Transport, UnreadableCertificate,
    Untrusted,
};
#[cfg(feature = "test-ca")]
pub use transport::{TestCa, TestCertificate, TestRequest};

/// The names that most programs use, for `use erps::prelude::*`.
///
/// `use erps::*` imports [`erps::test`](crate::test) too, and makes Rust's own `#[test]` ambiguous; this does not.
pub mod prelude {
    pub use crate::{
        Address, BoxError, CallError, Client, Context, Daemon, DynamicSupervisor, ExitReason,
        InitError, Linked, Protocol, ReplyTo, Server, ServerOptions, ServerRef, ServerSupervisor,
        Supervisor, Tls, Universe,
    };
}

/// The code in the README, compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
#[allow(unused_extern_crates, reason = "the test attribute names it")]
extern crate self as erps;
