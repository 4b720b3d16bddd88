//! What a daemon tells of itself and of its connections.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{DaemonLimits, HandshakeCounts, NotAdmittedCounts, drain::Serving};
use crate::{PeerInfo, TaskRef};

/// A daemon's counts and limits at one moment. Made by [`Daemon::info`](crate::Daemon::info).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DaemonInfo {
    /// The first IP address it listens on, as [`Daemon::local_addr`](crate::Daemon::local_addr) has it.
    pub local_addr: SocketAddr,
    /// How many connections it has accepted.
    pub accepted: u64,
    /// How many of them were let in and never got a server: the handshake or the start failed.
    pub failed: u64,
    /// How many were not let in, by reason.
    pub not_admitted: NotAdmittedCounts,
    /// How many handshakes failed, by reason.
    pub handshakes_failed: HandshakeCounts,
    /// How many got through their handshake and got no server.
    pub not_started: u64,
    /// How many connections the peer closed before their handshake was complete, or, without a handshake,
    /// before it had sent a byte: health checks and port scans. They are logged at the level DEBUG. Those at
    /// their handshake count as [`HandshakeCounts::closed`], too.
    pub probes: u64,
    /// How often accepting had to pause, because the process or the system was short of something.
    pub accept_pauses: u64,
    /// How many connections there are, in whatever stage. Those who are being refused are not counted.
    pub connections: usize,
    /// How many of them are at their handshake, with those who are being refused.
    pub handshakes: usize,
    /// How many of them have a server, if only one at its `init`.
    pub servers: usize,
    /// How many bytes of the protocol were received, on all connections there ever were.
    pub bytes_received: u64,
    /// How many bytes of the protocol were sent.
    pub bytes_sent: u64,
    /// The most that the buffers of all connections may ever take with these limits, in bytes, whatever
    /// peers send and do not read. What servers keep themselves, values that have been decoded, and what
    /// TLS holds (some 100 KiB for each connection) come on top.
    ///
    /// With the defaults it is some 160 MiB for each connection, most of it for packets of 16 MiB: see
    /// [`max_payload`](crate::ServerOptions::max_payload), [`max_outgoing`](crate::ServerOptions::max_outgoing)
    /// and [`max_unsent`](crate::ServerOptions::max_unsent).
    pub worst_case_memory: u64,
    /// The limits.
    pub limits: DaemonLimits,
}

/// A connection at one moment. Made by [`Daemon::connections`](crate::Daemon::connections).
///
/// Bytes and packets are those of the protocol: what TLS makes of them is not counted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Who is at the other end.
    pub peer: PeerInfo,
    /// Its server's task.
    pub server: TaskRef,
    /// How long ago its server was started.
    pub age: Duration,
    /// How long ago something was received; if nothing ever was, its age.
    pub idle: Duration,
    /// How many calls of the peer have no answer yet.
    pub calls_in_flight: usize,
    /// How many bytes were received.
    pub bytes_received: u64,
    /// How many bytes were handed to the system, or to TLS.
    pub bytes_sent: u64,
    /// How many bytes wait to be handed on, because the peer does not read.
    pub bytes_unsent: usize,
    /// How many packets were received.
    pub packets_received: u64,
    /// How many packets were sent, or wait for it.
    pub packets_sent: u64,
}

impl ConnectionInfo {
    pub(super) fn new(serving: &Serving, now: Instant) -> Self {
        let meter = serving.connection.meter();
        Self {
            peer: serving.peer.clone(),
            server: serving.task.clone(),
            age: now.saturating_duration_since(meter.since()),
            idle: now.saturating_duration_since(meter.heard_at()),
            calls_in_flight: serving.connection.in_flight(),
            bytes_received: meter.read(),
            bytes_sent: meter.written(),
            bytes_unsent: serving.connection.bytes_unsent(),
            packets_received: meter.packets(),
            packets_sent: serving.connection.packets_sent(),
        }
    }
}
