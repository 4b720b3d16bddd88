//! Options that set which connections are accepted.

use std::time::Duration;

use super::DaemonBuilder;
use crate::{
    BoxError, Endpoint, PeerInfo, Server,
    daemon::{AtLimit, limits::Hook},
};

impl<S: Server> DaemonBuilder<S> {
    /// Sets the maximum number of connections. Default: 16 384. At the limit new connections wait in the
    /// system's backlog, unless [`at_limit`](Self::at_limit) is set.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.settings.limits.connections = connections.max(1);
        self
    }

    /// Sets what happens to new connections at the limit. Default: [`AtLimit::Queue`].
    pub fn at_limit(mut self, at_limit: AtLimit) -> Self {
        self.settings.limits.at_limit = at_limit;
        self
    }

    /// Sets the maximum number of connections from one address. Default: no limit. See
    /// [`DaemonLimits::per_address`](crate::DaemonLimits::per_address).
    pub fn max_connections_per_address(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.settings.limits.per_address = connections.into();
        self
    }

    /// Sets the number of leading bits that identify an address, of IPv4 and of IPv6. Default: 32 and 64.
    pub fn address_prefix(mut self, v4: u8, v6: u8) -> Self {
        self.settings.limits.prefix_v4 = v4;
        self.settings.limits.prefix_v6 = v6;
        self
    }

    /// Sets the maximum number of connections with one certificate. Default: no limit. See
    /// [`DaemonLimits::per_identity`](crate::DaemonLimits::per_identity).
    pub fn max_connections_per_identity(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.settings.limits.per_identity = connections.into();
        self
    }

    /// Requires a PROXY header, version 1 or 2, from trusted proxies. Default: off.
    ///
    /// `is_trusted` receives the address of every connection. Connections from untrusted addresses are
    /// closed, because a proxy can claim any address. The header is read before the handshake, within the
    /// [`handshake_timeout`](Self::handshake_timeout). From then on the announced address is the peer's,
    /// for hooks, limits and events, and [`PeerInfo::proxy`](crate::PeerInfo::proxy) is the address of the
    /// proxy. If the header announces no address (a health check of the proxy), the peer is the proxy. A
    /// connection without a header, or with one of more than 4096 bytes, is closed.
    ///
    /// # Example
    ///
    /// ```
    /// # use erps::{Daemon, DaemonBuilder, Server};
    /// # fn example<S: Server>(builder: DaemonBuilder<S>) -> DaemonBuilder<S> {
    /// builder.proxy_protocol(|peer| peer.is_within([10, 1, 0, 0], 16))
    /// # }
    /// ```
    pub fn proxy_protocol(
        mut self,
        is_trusted: impl Fn(&Endpoint) -> bool + Send + Sync + 'static,
    ) -> Self {
        let trusted = move |peer: &Endpoint| is_trusted(peer).then_some(()).ok_or("not trusted");
        self.settings.proxies = Some(Hook::new(trusted));
        self
    }

    /// Sets which addresses are accepted, before the handshake. Default: all.
    ///
    /// The reason returned by the closure is in the daemon's [events](crate::Daemon::events), and is sent to
    /// the peer, unless the transport is secure: no packet can be sent there before the handshake. The
    /// closure runs in the connection's own task and must not block. If it panics, the peer is rejected.
    pub fn admit_address<E: Into<BoxError>>(
        mut self,
        admit: impl Fn(&Endpoint) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.settings.admit_address = Some(Hook::new(admit));
        self
    }

    /// Sets which peers are accepted after the handshake, by address and identity. Default: all.
    ///
    /// The reason returned by the closure is sent to the peer in an error packet. Otherwise as
    /// [`admit_address`](Self::admit_address). To reject peers during the handshake, see
    /// [`Tls::check_peer`](crate::Tls::check_peer).
    pub fn admit<E: Into<BoxError>>(
        mut self,
        admit: impl Fn(&PeerInfo) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.settings.admit = Some(Hook::new(admit));
        self
    }

    /// Sets the maximum number of pending handshakes. Default: 256. At the limit the oldest one is evicted
    /// for a new connection.
    pub fn max_pending_handshakes(mut self, handshakes: usize) -> Self {
        self.settings.limits.pending_handshakes = handshakes.max(1);
        self
    }

    /// Sets the time limit of a handshake. Default: 10 seconds.
    ///
    /// At the limit the connection is closed; no server is started for it.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.settings.limits.handshake_timeout = limit;
        self
    }
}
