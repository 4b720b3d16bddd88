//! Applies socket options one by one, within the system's limits, and reports those that the system rejects.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::TcpOptions;
use crate::{network, transport::BoxedStream};

/// The interval of keepalive probes, and how many may stay unanswered.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// The largest `TCP_KEEPIDLE` that Linux accepts, and the largest `SO_LINGER` that every system accepts.
const MOST_SECONDS: Duration = Duration::from_secs(32_767);

/// The largest `TCP_USER_TIMEOUT` that Linux accepts: it reads a signed number.
const MOST_MILLISECONDS: Duration = Duration::from_millis(i32::MAX as u64);

/// The TCP options of one daemon or client, and the options that it has warned of.
#[derive(Clone, Debug)]
pub(crate) struct SocketOptions {
    options: TcpOptions,
    reported: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl SocketOptions {
    pub(crate) fn new(options: TcpOptions) -> Self {
        Self {
            options,
            reported: Arc::default(),
        }
    }

    /// Returns the same options with `SO_REUSEPORT`, for one of several listeners on one port.
    pub(crate) fn sharing_port(&self) -> Self {
        Self {
            options: self.options.clone().reuse_port(true),
            reported: Arc::clone(&self.reported),
        }
    }

    /// Sets the options that a socket needs before it listens: accepted sockets inherit the buffer sizes.
    pub(in crate::transport) fn apply_to_listener(
        &self,
        socket: &Socket,
        domain: Domain,
    ) -> io::Result<()> {
        let options = &self.options;
        if cfg!(not(windows)) {
            self.set(
                "SO_REUSEADDR",
                socket.set_reuse_address(options.reuse_address),
            );
        }
        #[cfg(all(
            unix,
            not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
        ))]
        if options.reuse_port {
            required("SO_REUSEPORT", socket.set_reuse_port(true))?;
        }
        if domain == Domain::IPV6 && cfg!(not(target_os = "openbsd")) {
            required("IPV6_V6ONLY", socket.set_only_v6(!options.dual_stack))?;
        }
        self.apply_buffers(socket);
        Ok(())
    }

    /// Tries the options of connections on a temporary socket, so that a daemon warns of rejected options before
    /// the first connection.
    pub(in crate::transport) fn try_for_connections(&self, domain: Domain) {
        if let Ok(socket) = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)) {
            self.apply_to_connection(&socket);
        }
    }

    /// Returns the backlog as the argument of `listen`.
    pub(in crate::transport) fn backlog(&self) -> i32 {
        i32::try_from(self.options.backlog).unwrap_or(i32::MAX)
    }

    pub(in crate::transport) fn simulated_backlog(&self) -> u32 {
        self.options.backlog
    }

    fn apply_to_connection(&self, socket: &Socket) {
        let options = &self.options;
        self.set("TCP_NODELAY", socket.set_tcp_nodelay(options.nodelay));
        match self.keepalive() {
            Some(idle) => self.set_keepalive(socket, idle),
            None => self.set("SO_KEEPALIVE", socket.set_keepalive(false)),
        }
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
        self.set(
            "TCP_USER_TIMEOUT",
            socket.set_tcp_user_timeout(self.user_timeout()),
        );
        if let Some(linger) = self.linger() {
            self.set("SO_LINGER", socket.set_linger(Some(linger)));
        }
        self.apply_buffers(socket);
    }

    fn set_keepalive(&self, socket: &Socket, idle: Duration) {
        let all = probes(TcpKeepalive::new().with_time(idle));
        let Err(error) = socket.set_tcp_keepalive(&all) else {
            return;
        };
        // Windows sets all of them in one call.
        if cfg!(windows) {
            return self.set("SO_KEEPALIVE", Err(error));
        }
        self.set("SO_KEEPALIVE", socket.set_keepalive(true));
        let time = TcpKeepalive::new().with_time(idle);
        self.set("TCP_KEEPIDLE", socket.set_tcp_keepalive(&time));
        let probes = probes(TcpKeepalive::new());
        self.set("TCP_KEEPINTVL", socket.set_tcp_keepalive(&probes));
    }

    fn apply_buffers(&self, socket: &Socket) {
        // The system reads signed numbers.
        let size = |bytes: u32| usize::try_from(bytes.min(i32::MAX as u32)).unwrap_or(usize::MAX);
        if let Some(bytes) = self.options.send_buffer {
            self.set("SO_SNDBUF", socket.set_send_buffer_size(size(bytes)));
        }
        if let Some(bytes) = self.options.receive_buffer {
            self.set("SO_RCVBUF", socket.set_recv_buffer_size(size(bytes)));
        }
    }

    fn keepalive(&self) -> Option<Duration> {
        let idle = self.options.keepalive?;
        let used = whole(idle, Duration::from_secs(1)).max(Duration::from_secs(1));
        Some(self.at_most("SO_KEEPALIVE", used, MOST_SECONDS))
    }

    fn user_timeout(&self) -> Option<Duration> {
        let limit = self.options.user_timeout?;
        let used = whole(limit, Duration::from_millis(1)).max(Duration::from_millis(1));
        Some(self.at_most("TCP_USER_TIMEOUT", used, MOST_MILLISECONDS))
    }

    fn linger(&self) -> Option<Duration> {
        let used = whole(self.options.linger?, Duration::from_secs(1));
        Some(self.at_most("SO_LINGER", used, MOST_SECONDS))
    }

    fn at_most(&self, option: &'static str, asked: Duration, most: Duration) -> Duration {
        if asked > most && self.is_first_report(option) {
            tracing::warn!(target: "erps", option, ?asked, used = ?most, "a socket option exceeds the system's maximum and was reduced");
        }
        asked.min(most)
    }

    fn set(&self, option: &'static str, outcome: io::Result<()>) {
        if let Err(error) = outcome
            && self.is_first_report(option)
        {
            tracing::warn!(target: "erps", option, %error, "the system rejected a socket option; its default is used");
        }
    }

    fn is_first_report(&self, option: &'static str) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.insert(option)
    }

    /// Applies the options to a connection, and boxes it.
    pub(in crate::transport) fn finish(&self, stream: TcpStream) -> BoxedStream {
        // Setting options fails on a socket whose peer has disconnected. The reader reports the disconnect.
        if stream.peer_addr().is_ok() {
            self.apply_to_connection(&SockRef::from(&stream));
        }
        Box::new(stream)
    }

    pub(in crate::transport) fn finish_simulated(
        &self,
        mut stream: network::Stream,
    ) -> BoxedStream {
        if self.options.linger == Some(Duration::ZERO) {
            stream.abort_on_drop();
        }
        let user_timeout = self.user_timeout();
        stream.set_timeouts(network::StreamTimeouts {
            user_timeout,
            keepalive: self
                .keepalive()
                .map(|idle| idle + probing(idle, user_timeout)),
        });
        Box::new(stream)
    }
}

/// Returns how long the system probes a peer that has been silent for `idle`.
fn probing(idle: Duration, user_timeout: Option<Duration>) -> Duration {
    let all = PROBE_INTERVAL * PROBES;
    match user_timeout {
        Some(limit) => limit.saturating_sub(idle).clamp(PROBE_INTERVAL, all),
        None => all,
    }
}

fn probes(keepalive: TcpKeepalive) -> TcpKeepalive {
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

/// Rounds up to whole units.
fn whole(duration: Duration, unit: Duration) -> Duration {
    let rest = duration.as_nanos() % unit.as_nanos();
    match u64::try_from(rest) {
        Ok(1..) => duration.saturating_add(unit - Duration::from_nanos(rest as u64)),
        _ => duration,
    }
}

/// Adds the option's name to the error of an option that must not fail.
fn required(option: &'static str, outcome: io::Result<()>) -> io::Result<()> {
    outcome.map_err(|error| io::Error::new(error.kind(), format!("cannot set {option}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up_to_whole_units() {
        let second = Duration::from_secs(1);
        let cases = [(0, 0), (1, 1000), (999, 1000), (1000, 1000), (1001, 2000)];
        for (given, expected) in cases {
            let rounded = whole(Duration::from_millis(given), second);
            assert_eq!(rounded, Duration::from_millis(expected), "{given} ms");
        }
        let tiny = Duration::from_nanos(1);
        assert_eq!(whole(tiny, second), second);
        assert_eq!(whole(Duration::MAX, second), Duration::MAX);
    }

    /// A Unix socket rejects TCP options, and accepts general socket options.
    #[cfg(unix)]
    #[test]
    fn a_refused_option_cancels_no_other_and_is_reported_once() {
        let options = TcpOptions::new()
            .linger(Duration::from_millis(1))
            .send_buffer(50_000);
        let sockets = SocketOptions::new(options);
        for _ in 0..2 {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
            let before = socket.send_buffer_size().expect("a size");
            sockets.apply_to_connection(&socket);
            assert_eq!(
                socket.linger().expect("an option"),
                Some(Duration::from_secs(1))
            );
            assert!(socket.keepalive().expect("an option"));
            assert_ne!(socket.send_buffer_size().expect("a size"), before);
        }
        let reported = sockets.reported.lock().expect("not poisoned").clone();
        assert!(reported.contains("TCP_NODELAY"), "{reported:?}");
        assert!(reported.contains("TCP_KEEPIDLE"), "{reported:?}");
        assert!(!reported.contains("SO_LINGER"), "{reported:?}");
    }
}
