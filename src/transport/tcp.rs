//! TCP without anything on top, and the options of its sockets.

mod apply;

use std::time::Duration;

use super::{BoxedStream, Handshake, Secured, Transport};
use crate::Endpoint;

pub(crate) use apply::Sockets;

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
/// Each is set by itself: one that the system refuses stays at the system's default and cancels no other.
/// A daemon tries them when it begins to listen, a client when it connects; what is refused, or larger than
/// the system takes, is a warning (an event of the target `erps`), once for each option and each daemon or
/// client. Only [`reuse_port(true)`](Self::reuse_port) and [`dual_stack`](Self::dual_stack) decide who
/// may connect: a system that refuses them fails the start with
/// [`StartDaemonError::Bind`](crate::StartDaemonError::Bind), which names the option.
///
/// Durations that the system counts in seconds or milliseconds are rounded up, never down to a zero that
/// would turn the option off.
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
    /// Rounded up to whole seconds: from 1 to 32 767, the limit of Linux. The system probes again every ten
    /// seconds, and closes the connection when three probes, or the [`user_timeout`](Self::user_timeout),
    /// have gone by without an answer. So a peer that has vanished without a word is detected even by an
    /// end that has nothing to send. `None` turns it off.
    pub fn keepalive(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.keepalive = idle.into();
        self
    }

    /// How long what was sent may go unacknowledged before the system gives the connection up
    /// (`TCP_USER_TIMEOUT`). Default: 60 seconds; `None` is the system's own limit, a quarter of an hour
    /// on Linux.
    ///
    /// Rounded up to whole milliseconds: from 1 to 2 147 483 647, the limit of Linux (24 days). Reading and
    /// writing fail then with `TimedOut`. Linux, Android and Fuchsia have it; elsewhere it has no effect.
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
    /// All of them have to ask for it. On Linux the system spreads the connections over them. One that
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
    /// Zero discards it and resets the connection. Anything else is rounded up to whole seconds, up to
    /// 32 767, and makes the drop wait, and with it the thread.
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
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self::new()
    }
}
