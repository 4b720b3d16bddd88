//! Supervised, authenticated, testable network servers.
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
mod exit;
mod link;
mod mailbox;
mod outbox;
mod protocol;
mod reply;
mod server;
mod supervisor;
mod task;
mod transport;
pub mod universe;
pub mod wire;

pub use backoff::Backoff;
pub use client::{
    Address, AddressError, CallError, CastError, Client, ClientBuilder, ClientContext,
    ClientHandler, ConnectError, Disconnect, HandlerRef, Pushes, Reconnect, Status,
};
pub use daemon::{
    Daemon, DaemonBuilder, DaemonInfo, ServerRecipe, ServerSupervisor, StartDaemonError,
    StartServer,
};
pub use exit::{BoxError, ExitReason, SendError};
pub use link::{Peer, PeerInfo};
pub use protocol::{Message, Protocol};
pub use reply::ReplyTo;
pub use server::{
    Context, InitError, ProtocolError, PushError, Server, ServerBuilder, ServerError,
    ServerOptions, ServerRef, StartError,
};
pub use supervisor::{
    ChildInfo, ChildSpec, ChildState, Counts, DynamicSupervisor, DynamicSupervisorBuilder, Restart,
    StartChildError, Started, SupervisorGone, TerminateChildError,
};
pub use task::{Linked, Shutdown, TaskRef};
pub use transport::{
    Alert, BoxedStream, ByteStream, Handshake, HandshakeError, PeerIdentity, Secured, Tcp,
    TcpOptions, Tls, TlsError, Transport, UnreadableCertificate, Untrusted,
};
pub use universe::{Sharded, Universe};
pub use wire::{codec::PacketError, term::Term};
