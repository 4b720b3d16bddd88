//! Counters and limits of a daemon, and of each of its connections.

use std::{net::SocketAddr, time::Duration};

use super::{DaemonLimits, HandshakeCounts, RejectionCounts};
use crate::{PeerInfo, TaskRef};

/// A snapshot of a daemon's counters and limits. Made by [`Daemon::info`](crate::Daemon::info).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DaemonInfo {
    /// The first IP address it listens on, as in [`Daemon::local_addr`](crate::Daemon::local_addr).
    pub local_addr: SocketAddr,
    /// Connections accepted so far.
    pub accepted: u64,
    /// Connections closed because the handshake or the start of the server failed.
    pub failed: u64,
    /// Rejected connections, by reason.
    pub rejected: RejectionCounts,
    /// Failed handshakes, by reason.
    pub handshakes_failed: HandshakeCounts,
    /// Connections whose handshake completed and whose server did not start.
    pub not_started: u64,
    /// Connections that the peer closed before the handshake was complete, or, without a handshake, before
    /// it had sent a byte: health checks and port scans. They are logged at the level DEBUG. Those in a
    /// handshake count as [`HandshakeCounts::closed`], too.
    pub probes: u64,
    /// How often accepting has paused because the process or the system lacked a resource.
    pub accept_pauses: u64,
    /// Open connections, in any stage, except those that are being rejected.
    pub connections: usize,
    /// Connections in their handshake, including those that are being rejected.
    pub handshakes: usize,
    /// Connections that have a server, including those whose server runs `init`.
    pub servers: usize,
    /// Protocol bytes received, on all connections so far.
    pub bytes_received: u64,
    /// Protocol bytes sent, on all connections so far.
    pub bytes_sent: u64,
    /// The upper bound, in bytes, of the memory for the buffers of all connections with these limits,
    /// whatever peers send and do not read. Not included: the state of servers, decoded values, and the
    /// buffers of TLS (about 100 KiB per connection).
    ///
    /// With the defaults it is about 160 MiB per connection, most of it for packets of 16 MiB: see
    /// [`max_payload`](crate::ServerOptions::max_payload), [`max_outgoing`](crate::ServerOptions::max_outgoing)
    /// and [`max_unsent`](crate::ServerOptions::max_unsent).
    pub worst_case_memory: u64,
    /// The current limits.
    pub limits: DaemonLimits,
}

/// A snapshot of one connection. Made by [`Daemon::connections`](crate::Daemon::connections).
///
/// Bytes and packets are those of the protocol, before TLS encryption.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The peer.
    pub peer: PeerInfo,
    /// The task of its server.
    pub server: TaskRef,
    /// The time since its server was started.
    pub age: Duration,
    /// The time since the last byte was received; its age if none was.
    pub idle: Duration,
    /// Calls of the peer that have no reply yet.
    pub calls_in_flight: usize,
    /// [`Busy`](crate::Busy) guards of its server.
    pub busy: usize,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes handed to the system, or to TLS.
    pub bytes_sent: u64,
    /// Bytes queued because the peer does not read.
    pub bytes_unsent: usize,
    /// Packets received.
    pub packets_received: u64,
    /// Packets sent or queued.
    pub packets_sent: u64,
}
