//! Options that decide which connections are accepted.

use std::time::Duration;

use super::DaemonBuilder;
use crate::{
    BoxError, Endpoint, PeerInfo, Server,
    daemon::{AtLimit, limits::Hook},
};

impl<S: Server> DaemonBuilder<S> {
    /// How many connections there may be. Default: 16 384. At the limit newcomers wait in the
    /// system's backlog, unless [`at_limit`](Self::at_limit) says otherwise.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.settings.limits.connections = connections.max(1);
        self
    }

    /// What becomes of newcomers at the limit. Default: [`AtLimit::Queue`].
    pub fn at_limit(mut self, at_limit: AtLimit) -> Self {
        self.settings.limits.at_limit = at_limit;
        self
    }

    /// How many connections there may be from one address. Default: any number. See
    /// [`DaemonLimits::per_address`](crate::DaemonLimits::per_address).
    pub fn max_connections_per_address(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.settings.limits.per_address = connections.into();
        self
    }

    /// How many leading bits make an address: of IPv4, and of IPv6. Default: 32 and 64.
    pub fn address_prefix(mut self, v4: u8, v6: u8) -> Self {
        self.settings.limits.prefix_v4 = v4;
        self.settings.limits.prefix_v6 = v6;
        self
    }

    /// How many connections there may be with one certificate. Default: any number. See
    /// [`DaemonLimits::per_identity`](crate::DaemonLimits::per_identity).
    pub fn max_connections_per_identity(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.settings.limits.per_identity = connections.into();
        self
    }

    /// Takes connections from proxies, which say whom they come from: PROXY protocol, version 1 or 2.
    /// Default: no.
    ///
    /// `is_trusted` is asked of every connection's own address. Connections from other addresses are closed: a
    /// trusted proxy may claim any address. The header is read before the handshake and within
    /// [its time](Self::handshake_timeout). From then on the announced address is the peer's, for hooks,
    /// limits and events, and [`PeerInfo::proxy`](crate::PeerInfo::proxy) is that of the proxy. Where a proxy does not say, or looks
    /// whether the daemon lives, the peer is the proxy. Without a header a connection is closed; one that
    /// is longer than 4096 bytes is none.
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
    /// The reason that the closure gives is in the daemon's [events](crate::Daemon::events), and the peer is
    /// told, unless the transport is secure: nothing can be said there without a handshake. The closure
    /// runs in the connection's own task and must not block. If it panics, the peer is rejected.
    pub fn admit_address<E: Into<BoxError>>(
        mut self,
        admit: impl Fn(&Endpoint) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.settings.admit_address = Some(Hook::new(admit));
        self
    }

    /// Sets which peers are accepted after the handshake, by address and identity. Default: all.
    ///
    /// The peer is told the reason that the closure gives, by an error packet. Else as
    /// [`admit_address`](Self::admit_address). To reject peers during the handshake, see
    /// [`Tls::check_peer`](crate::Tls::check_peer).
    pub fn admit<E: Into<BoxError>>(
        mut self,
        admit: impl Fn(&PeerInfo) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.settings.admit = Some(Hook::new(admit));
        self
    }

    /// How many handshakes may be pending. Default: 256. At the limit the one that has taken
    /// longest is dropped for a newcomer.
    pub fn max_pending_handshakes(mut self, handshakes: usize) -> Self {
        self.settings.limits.pending_handshakes = handshakes.max(1);
        self
    }

    /// How long a peer may take over its TLS handshake. Default: 10 seconds.
    ///
    /// A peer that takes longer is dropped; no server is started for it.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.settings.limits.handshake_timeout = limit;
        self
    }
}
