//! How many may come, from where, and what becomes of those who are too many.

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

/// How many connections a daemon takes. Changed on a running one by
/// [`Daemon::set_limits`](crate::Daemon::set_limits).
///
/// A limit that is lowered sends nobody away who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DaemonLimits {
    /// How many connections there may be. Default: 16 384.
    pub connections: usize,
    /// What becomes of those who come when there are so many. Default: [`AtLimit::Queue`].
    pub at_limit: AtLimit,
    /// How many connections there may be from one address. Default: `None`, for behind a proxy or an
    /// address translation everybody has the same.
    ///
    /// Peers at Unix sockets have no address, and are not counted here.
    ///
    /// Those who are too many have been accepted, so that they cannot wait: they are refused, or closed
    /// if [`at_limit`](Self::at_limit) says so.
    pub per_address: Option<usize>,
    /// How many leading bits of an IPv4 address count as one address. Default: 32.
    pub prefix_v4: u8,
    /// How many leading bits of an IPv6 address count as one address. Default: 64, which is what one
    /// subscriber has.
    pub prefix_v6: u8,
    /// How many connections there may be with one certificate, by its fingerprint. Default: `None`.
    ///
    /// Not by its common name: a name may be shared by many, and then one of them could keep out the
    /// others. A certificate that is renewed counts as another one.
    pub per_identity: Option<usize>,
    /// How many handshakes may be pending. Default: 256. At the limit the one that has taken longest is
    /// dropped for a newcomer.
    pub pending_handshakes: usize,
    /// How long a peer may take over its handshake. Default: 10 seconds.
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
    /// What all addresses that count as this one have in common. Peers at Unix sockets have none.
    pub(super) fn prefix(&self, address: &Endpoint) -> Option<IpAddr> {
        let ip = address.ip()?.to_canonical();
        let bits = match ip {
            IpAddr::V4(_) => self.prefix_v4,
            IpAddr::V6(_) => self.prefix_v6,
        };
        Some(endpoint::prefix(ip, bits))
    }
}

/// What becomes of a newcomer when there are as many connections as there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtLimit {
    /// It waits in the system's backlog until somebody leaves.
    #[default]
    Queue,
    /// It is let through its handshake, told why and when to come back by an error packet, and closed.
    ///
    /// It counts as a pending handshake meanwhile. A [`Client`](crate::Client) learns of it by
    /// [`Disconnect::Refused`](crate::Disconnect::Refused) and does not come back before that time,
    /// unless it is told to; an Elixir client logs what it is told. Until the packet has arrived the client
    /// takes itself for connected; a call that it makes meanwhile fails with
    /// [`CallError::Disconnected`](crate::CallError::Disconnected).
    Refuse {
        /// When it is told to come back.
        retry_after: Duration,
    },
    /// Its connection is closed at once.
    Close,
}

/// Why a connection was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAdmitted {
    /// There are as many connections as there may be.
    #[error("too many connections")]
    Connections,
    /// There are as many from its address as there may be.
    #[error("too many connections from this address")]
    Address,
    /// There are as many with its certificate as there may be.
    #[error("too many connections with this certificate")]
    Identity,
    /// The daemon's [`admit_address`](crate::DaemonBuilder::admit_address) or
    /// [`admit`](crate::DaemonBuilder::admit) said so, for this reason.
    #[error("{0}")]
    Hook(String),
    /// It does not come from a proxy that is trusted, and only those may connect. See
    /// [`proxy_protocol`](crate::DaemonBuilder::proxy_protocol).
    #[error("not a trusted proxy")]
    Proxy,
}

/// A user's closure that says who is let in.
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

    /// Who makes it panic is not let in.
    pub(super) fn refuses(&self, peer: &T) -> Option<NotAdmitted> {
        match catch(|| (self.admit)(peer).map_err(|why| why.to_string())) {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(NotAdmitted::Hook(why)),
            Err(panic) => {
                self.log(&panic);
                // What it said is no business of the peer's.
                Some(NotAdmitted::Hook("not admitted".to_owned()))
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
