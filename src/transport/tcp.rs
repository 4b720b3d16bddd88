//! Plain TCP, and TCP socket options.

mod apply;

use std::time::Duration;

use super::{BoxedStream, Handshake, Secured, Transport};
use crate::Endpoint;

pub(crate) use apply::SocketOptions;

/// The plaintext transport: no handshake, no encryption, no authentication.
///
/// For tests, and for networks that are secured by other means.
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

/// The options of TCP listeners and connections.
///
/// Each option is set separately. If the system rejects one, or it exceeds the system's maximum, the others still
/// take effect, and one warning per option is emitted (target `erps`); a rejected option keeps the system's
/// default. A daemon tries its options when it starts to listen, a client when it connects. If the system
/// rejects [`reuse_port(true)`](Self::reuse_port) or [`dual_stack`](Self::dual_stack), the daemon fails to start
/// with [`StartDaemonError::Bind`](crate::StartDaemonError::Bind), which names the option.
///
/// Durations that the system counts in seconds or milliseconds are rounded up, so that a short one does not
/// become zero, which would turn the option off.
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
    /// Returns the default options, which the methods document.
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

    /// Sets whether small packets are sent without delay (`TCP_NODELAY`). Default: true.
    ///
    /// With false a packet may wait 40 milliseconds for the acknowledgement of the previous one.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Sets the idle time before the system sends keepalive probes (`SO_KEEPALIVE`, `TCP_KEEPIDLE`).
    /// Default: 60 seconds. `None` disables keepalive.
    ///
    /// Rounded up to whole seconds, from 1 to 32 767, the limit of Linux. Probes follow every ten seconds. The
    /// system closes the connection when three probes are unanswered, or after the
    /// [`user_timeout`](Self::user_timeout). An end that sends nothing detects a vanished peer in this way.
    pub fn keepalive(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.keepalive = idle.into();
        self
    }

    /// Sets how long sent data may stay unacknowledged before the system closes the connection
    /// (`TCP_USER_TIMEOUT`). Default: 60 seconds. `None` leaves the system's limit, about 15 minutes on Linux.
    ///
    /// Rounded up to whole milliseconds, from 1 to 2 147 483 647, the limit of Linux (24 days). Reads and writes
    /// then fail with `TimedOut`. No effect on systems other than Linux, Android and Fuchsia.
    pub fn user_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.user_timeout = limit.into();
        self
    }

    /// Sets how many connections may wait to be accepted. Default: 1024.
    ///
    /// The system's own limit (`somaxconn` on Linux) applies too. When the backlog is full, the client's system
    /// retries the connection. Elixir's erps uses 5.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Sets whether a port can be bound while closed connections of it are in `TIME_WAIT` (`SO_REUSEADDR`).
    /// Default: true.
    ///
    /// Two listeners on one port are still an error. No effect on Windows, where the option would allow them.
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// Sets whether other listeners may use the same address and port (`SO_REUSEPORT`), in this process or in
    /// others of the same user. Default: false.
    ///
    /// All of the listeners have to set it. Linux distributes the connections over them; connections in the
    /// backlog of a listener that closes are reset. On systems without the option, and in a simulated universe,
    /// it has no effect: the second listener fails to bind.
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Sets whether a listener at `::` accepts IPv4 too (the reverse of `IPV6_V6ONLY`). Default: true, regardless
    /// of the system's default.
    ///
    /// IPv4 peers then appear with their plain IPv4 addresses. With false another listener can use `0.0.0.0` and
    /// the same port. OpenBSD never accepts both; on a simulated network `::` always does.
    pub fn dual_stack(mut self, both: bool) -> Self {
        self.dual_stack = both;
        self
    }

    /// Sets how long the system tries to deliver unsent data when a connection is dropped (`SO_LINGER`).
    /// Default: `None`, the system delivers it in the background.
    ///
    /// Zero discards the data and resets the connection. Other values are rounded up to whole seconds, at most
    /// 32 767, and *the drop blocks its thread* for up to this time.
    pub fn linger(mut self, linger: impl Into<Option<Duration>>) -> Self {
        self.linger = linger.into();
        self
    }

    /// Sets the size of the system's send buffer, in bytes (`SO_SNDBUF`). Default: `None`, the system adjusts it.
    pub fn send_buffer(mut self, bytes: impl Into<Option<u32>>) -> Self {
        self.send_buffer = bytes.into();
        self
    }

    /// Sets the size of the system's receive buffer, in bytes (`SO_RCVBUF`). Default: `None`, the system adjusts
    /// it.
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
