//! Limits of connections, what happens at them, and why a connection is rejected.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    BoxError, Endpoint, ExitReason, endpoint,
    task::{self, catch},
    throttle::Throttle,
};

/// The limits of a daemon's connections. Changed at run time by
/// [`Daemon::set_limits`](crate::Daemon::set_limits).
///
/// Lowering a limit closes no open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DaemonLimits {
    /// The maximum number of connections. Default: 16 384.
    pub connections: usize,
    /// What happens to new connections at that limit. Default: [`AtLimit::Queue`].
    pub at_limit: AtLimit,
    /// The maximum number of connections from one address. Default: `None`, because behind a proxy or an
    /// address translation all peers have the same address.
    ///
    /// Peers at Unix sockets have no address and are not counted here.
    ///
    /// Connections above this limit have been accepted and cannot wait in the backlog: they are rejected
    /// with a packet, or closed at once with [`AtLimit::Close`].
    pub per_address: Option<usize>,
    /// The number of leading bits that identify an IPv4 address. Default: 32.
    pub prefix_v4: u8,
    /// The number of leading bits that identify an IPv6 address. Default: 64, the prefix of one
    /// subscriber.
    pub prefix_v6: u8,
    /// The maximum number of connections with one certificate, by its fingerprint. Default: `None`.
    ///
    /// The common name is not used: if several peers share a name, one of them could lock the others out. A
    /// renewed certificate counts as another one.
    pub per_identity: Option<usize>,
    /// The maximum number of pending handshakes. Default: 256. At the limit the oldest one is evicted for
    /// a new connection.
    pub pending_handshakes: usize,
    /// The time limit of a handshake. Default: 10 seconds.
    pub handshake_timeout: Duration,
}

impl Default for DaemonLimits {
    fn default() -> Self {
        Self {
            connections: 16 * 1024,
            at_limit: AtLimit::Queue,
            per_address: None,
            prefix_v4: 32,
            prefix_v6: 64,
            per_identity: None,
            pending_handshakes: 256,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

impl DaemonLimits {
    /// Returns the prefix that this address is counted under. Peers at Unix sockets have none.
    pub(super) fn prefix(&self, address: &Endpoint) -> Option<IpAddr> {
        let ip = address.ip()?.to_canonical();
        let bits = match ip {
            IpAddr::V4(_) => self.prefix_v4,
            IpAddr::V6(_) => self.prefix_v6,
        };
        Some(endpoint::prefix(ip, bits))
    }
}

/// What happens to a new connection at the limit of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtLimit {
    /// It waits in the system's backlog until another connection is closed.
    #[default]
    Queue,
    /// It completes its handshake, receives an error packet with the reason and the retry delay, and is
    /// closed.
    ///
    /// It counts as a pending handshake meanwhile. A [`Client`](crate::Client) reports it as
    /// [`Disconnect::Refused`](crate::Disconnect::Refused) and reconnects after the delay, or earlier on request; an
    /// Elixir client logs the message. The client is connected until the packet arrives; a call made before that
    /// fails with [`CallError::Disconnected`](crate::CallError::Disconnected).
    Refuse {
        /// The retry delay sent to the client.
        retry_after: Duration,
    },
    /// It is closed at once.
    Close,
}

/// Why a connection was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The daemon was at its limit of connections.
    #[error("too many connections")]
    Connections,
    /// The limit of connections from its address was reached.
    #[error("too many connections from this address")]
    Address,
    /// The limit of connections with its certificate was reached.
    #[error("too many connections with this certificate")]
    Identity,
    /// The daemon's [`admit_address`](crate::DaemonBuilder::admit_address) or
    /// [`admit`](crate::DaemonBuilder::admit) rejected it with this reason.
    #[error("{0}")]
    Hook(String),
    /// It does not come from a trusted proxy, and only those may connect. See
    /// [`proxy_protocol`](crate::DaemonBuilder::proxy_protocol).
    #[error("not a trusted proxy")]
    Proxy,
}

/// A user's closure that accepts or rejects connections.
pub(super) struct Hook<T> {
    admit: Arc<Admit<T>>,
    panics: Arc<Mutex<Throttle<()>>>,
}

type Admit<T> = dyn Fn(&T) -> Result<(), BoxError> + Send + Sync;

impl<T> Hook<T> {
    pub(super) fn new<E: Into<BoxError>>(
        hook: impl Fn(&T) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        Self {
            admit: Arc::new(move |peer| hook(peer).map_err(Into::into)),
            panics: Arc::new(Mutex::new(Throttle::new(Duration::from_secs(10)))),
        }
    }

    /// Returns the rejection, if any. A panic rejects the connection.
    pub(super) fn rejects(&self, peer: &T) -> Option<Rejection> {
        match catch(|| (self.admit)(peer).map_err(|why| why.to_string())) {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(Rejection::Hook(why)),
            Err(panic) => {
                self.log(&panic);
                // The panic message must not reach the peer.
                Some(Rejection::Hook("rejected".to_owned()))
            }
        }
    }
}

impl<T> Hook<T> {
    fn log(&self, panic: &ExitReason) {
        let now = task::now();
        let mut panics = self.panics.lock().unwrap_or_else(PoisonError::into_inner);
        if panics.admits((), now) {
            tracing::error!(target: "erps", reason = %panic, "a hook panicked");
        }
        for ((), suppressed) in panics.summaries(now) {
            tracing::error!(target: "erps", reason = %panic, suppressed, "a hook has panicked again");
        }
    }
}

impl<T> Clone for Hook<T> {
    fn clone(&self) -> Self {
        Self {
            admit: Arc::clone(&self.admit),
            panics: Arc::clone(&self.panics),
        }
    }
}

impl<T> fmt::Debug for Hook<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(v4: u8, v6: u8, ip: &str) -> String {
        let limits = DaemonLimits {
            prefix_v4: v4,
            prefix_v6: v6,
            ..DaemonLimits::default()
        };
        let ip: IpAddr = ip.parse().expect("an address");
        let address = Endpoint::Inet((ip, 1).into());
        limits.prefix(&address).expect("an IP address").to_string()
    }

    #[test]
    fn addresses_are_cut_to_their_prefix() {
        assert_eq!(prefix(32, 64, "10.1.2.3"), "10.1.2.3");
        assert_eq!(prefix(24, 64, "10.1.2.3"), "10.1.2.0");
        assert_eq!(prefix(0, 64, "10.1.2.3"), "0.0.0.0");
        assert_eq!(prefix(99, 64, "10.1.2.3"), "10.1.2.3");
        assert_eq!(prefix(32, 64, "2001:db8:1:2:3::4"), "2001:db8:1:2::");
        assert_eq!(prefix(32, 128, "2001:db8::4"), "2001:db8::4");
        assert_eq!(prefix(32, 0, "2001:db8::4"), "::");
        assert_eq!(prefix(24, 0, "::ffff:10.1.2.3"), "10.1.2.0", "IPv4 in IPv6");
    }
}
