//! TCP without anything on top, and the options of its sockets.

use std::{io, time::Duration};

use async_net::TcpStream;
use socket2::{Domain, SockRef, Socket, TcpKeepalive};

use super::{BoxedStream, Handshake, Secured, Transport};
use crate::{Endpoint, network};

/// The transport without a handshake: plaintext, and peers that nobody vouches for.
///
/// For tests, and for networks where something else keeps strangers out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Transport for Tcp {
    fn accept<'a>(&'a self, stream: BoxedStream, _peer: Endpoint) -> Handshake<'a> {
        Box::pin(std::future::ready(Ok(Secured::new(stream))))
    }

    fn connect<'a>(&'a self, stream: BoxedStream, _server_name: &'a str) -> Handshake<'a> {
        Box::pin(std::future::ready(Ok(Secured::new(stream))))
    }

    fn is_secure(&self) -> bool {
        false
    }
}

/// The options of a TCP socket, a listening or a connected one.
///
/// An option that the system refuses for a listening socket is an error of binding; one that it
/// refuses for a single connection is left as it is.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use erps::TcpOptions;
///
/// let options = TcpOptions::new()
///     .keepalive(Duration::from_secs(60))
///     .backlog(64);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TcpOptions {
    nodelay: bool,
    keepalive: Option<Duration>,
    user_timeout: Option<Duration>,
    backlog: u32,
    reuse_address: bool,
    reuse_port: bool,
    dual_stack: bool,
    linger: Option<Duration>,
    send_buffer: Option<u32>,
    receive_buffer: Option<u32>,
}

impl TcpOptions {
    /// The defaults, as each method states them.
    pub fn new() -> Self {
        Self {
            nodelay: true,
            keepalive: Some(Duration::from_secs(60)),
            user_timeout: Some(Duration::from_secs(60)),
            backlog: 1024,
            reuse_address: true,
            reuse_port: false,
            dual_stack: true,
            linger: None,
            send_buffer: None,
            receive_buffer: None,
        }
    }

    /// Whether small packets leave at once (`TCP_NODELAY`). Default: true.
    ///
    /// Without it a packet may wait 40 milliseconds for the acknowledgement of the one before.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// How long nothing has been heard of the peer before the system asks whether it is there
    /// (`SO_KEEPALIVE`). Default: 60 seconds.
    ///
    /// Whole seconds, at least one. It asks again every ten seconds, and gives the connection up when
    /// three questions, or the [`user_timeout`](Self::user_timeout), have gone by without an answer. So
    /// a peer that has vanished without a word is found out even by an end that has nothing to send.
    pub fn keepalive(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.keepalive = idle.into();
        self
    }

    /// How long what was sent may go unacknowledged before the system gives the connection up
    /// (`TCP_USER_TIMEOUT`). Default: 60 seconds; `None` is the system's own limit, a quarter of an hour
    /// on Linux.
    ///
    /// Reading and writing fail then with `TimedOut`. Linux, Android and Fuchsia have it; elsewhere it
    /// has no effect.
    pub fn user_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.user_timeout = limit.into();
        self
    }

    /// How many connections may wait to be accepted. Default: 1024.
    ///
    /// The system has a limit of its own; beyond either, a client waits and tries again. The
    /// original has 5.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Whether a port can be bound again while old connections of it linger (`SO_REUSEADDR`).
    /// Default: true.
    ///
    /// Two listeners on one port are refused all the same. It has no effect on Windows, where it
    /// would allow just that.
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// Whether others may listen at the same address and port (`SO_REUSEPORT`), of this process or of
    /// another of the same user. Default: false.
    ///
    /// All of them have to say so. On Linux the system spreads the connections over them. One that
    /// stops listening takes those with it that wait in its backlog. Where the system does not have it,
    /// and in a simulated universe, it has no effect: the second is refused.
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Whether a listener at `::` takes IPv4 as well (the reverse of `IPV6_V6ONLY`). Default: true,
    /// whatever the system's default is.
    ///
    /// The peers are then known by their plain IPv4 addresses. Without it, there may be another listener
    /// at `0.0.0.0` and the same port. OpenBSD never takes both. On the network of a simulated universe
    /// `::` always does.
    pub fn dual_stack(mut self, both: bool) -> Self {
        self.dual_stack = both;
        self
    }

    /// How long the system tries to deliver what is unsent when a connection is dropped
    /// (`SO_LINGER`). Default: as the system does, in the background.
    ///
    /// Zero discards it and resets the connection. Anything else makes the drop wait, and with it
    /// the thread.
    pub fn linger(mut self, linger: impl Into<Option<Duration>>) -> Self {
        self.linger = linger.into();
        self
    }

    /// The size of the system's send buffer, in bytes (`SO_SNDBUF`). Default: the system's, which
    /// grows by itself.
    pub fn send_buffer(mut self, bytes: impl Into<Option<u32>>) -> Self {
        self.send_buffer = bytes.into();
        self
    }

    /// The size of the system's receive buffer, in bytes (`SO_RCVBUF`). Default: the system's,
    /// which grows by itself.
    pub fn receive_buffer(mut self, bytes: impl Into<Option<u32>>) -> Self {
        self.receive_buffer = bytes.into();
        self
    }

    /// What has to be set before the socket listens: accepted sockets inherit the buffers.
    pub(super) fn apply_to_listener(&self, socket: &Socket, domain: Domain) -> io::Result<()> {
        if cfg!(not(windows)) {
            socket.set_reuse_address(self.reuse_address)?;
        }
        #[cfg(all(
            unix,
            not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
        ))]
        socket.set_reuse_port(self.reuse_port)?;
        if domain == Domain::IPV6 && cfg!(not(target_os = "openbsd")) {
            socket.set_only_v6(!self.dual_stack)?;
        }
        self.apply_buffers(socket)
    }

    /// How many may wait to be accepted, as the system wants to be told.
    pub(super) fn most_waiting(&self) -> i32 {
        i32::try_from(self.backlog).unwrap_or(i32::MAX)
    }

    pub(super) fn simulated_backlog(&self) -> u32 {
        self.backlog
    }

    /// These, for one of several listeners of one daemon.
    pub(crate) fn sharing_port(&self) -> Self {
        self.clone().reuse_port(true)
    }

    fn apply_to_connection(&self, socket: &Socket) -> io::Result<()> {
        socket.set_tcp_nodelay(self.nodelay)?;
        if let Some(idle) = self.keepalive {
            socket.set_tcp_keepalive(&keepalive(idle))?;
        }
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
        socket.set_tcp_user_timeout(self.user_timeout)?;
        if self.linger.is_some() {
            socket.set_linger(self.linger)?;
        }
        self.apply_buffers(socket)
    }

    fn apply_buffers(&self, socket: &Socket) -> io::Result<()> {
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes as usize)?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes as usize)?;
        }
        Ok(())
    }

    /// Sets up a connection and hides that it is TCP.
    ///
    /// A socket that is dead already refuses its options; its reader will find out.
    pub(super) fn finish(&self, stream: TcpStream) -> BoxedStream {
        if let Err(error) = self.apply_to_connection(&SockRef::from(&stream)) {
            tracing::debug!(%error, "a socket option was refused");
        }
        Box::new(stream)
    }

    /// How long the system asks a peer that has been silent for `idle` whether it is there.
    fn probing(&self, idle: Duration) -> Duration {
        let probing = PROBE_INTERVAL * PROBES;
        match self.user_timeout {
            Some(limit) => limit.saturating_sub(idle).clamp(PROBE_INTERVAL, probing),
            None => probing,
        }
    }

    pub(super) fn finish_simulated(&self, mut stream: network::Stream) -> BoxedStream {
        if self.linger == Some(Duration::ZERO) {
            stream.abort_on_drop();
        }
        stream.set_patience(network::Patience {
            unanswered: self.user_timeout,
            unheard: self
                .keepalive
                .map(|idle| idle.saturating_add(self.probing(idle))),
        });
        Box::new(stream)
    }
}

/// How often a peer is asked whether it is there, and how often in vain.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

fn keepalive(idle: Duration) -> TcpKeepalive {
    let keepalive = TcpKeepalive::new().with_time(idle.max(Duration::from_secs(1)));
    #[cfg(not(any(target_os = "openbsd", target_os = "redox", target_os = "solaris")))]
    let keepalive = keepalive.with_interval(PROBE_INTERVAL);
    #[cfg(not(any(
        windows,
        target_os = "openbsd",
        target_os = "redox",
        target_os = "solaris"
    )))]
    let keepalive = keepalive.with_retries(PROBES);
    keepalive
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self::new()
    }
}
