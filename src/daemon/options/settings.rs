//! What a builder has collected: the same for every start of a daemon.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    Endpoint, PeerInfo, Restart, ServerOptions, Shutdown,
    daemon::{DaemonLimits, limits::Hook},
    transport::{Place, Tcp, TcpOptions, Transport},
};

/// What is the same for every start of a daemon.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Settings {
    /// The one that [`DaemonBuilder::bind`] and [`DaemonBuilder::port`] speak of.
    pub(super) address: Option<SocketAddr>,
    pub(super) also: Vec<Place>,
    #[cfg(unix)]
    pub(super) unix_mode: u32,
    pub(in crate::daemon) accept_loops: usize,
    pub(in crate::daemon) listener_restarts: (usize, Duration),
    pub(in crate::daemon) transport: Arc<dyn Transport>,
    pub(in crate::daemon) plaintext_anywhere: bool,
    pub(in crate::daemon) tcp: TcpOptions,
    pub(in crate::daemon) server: ServerOptions,
    pub(in crate::daemon) restart: Restart,
    pub(in crate::daemon) shutdown: Shutdown,
    pub(in crate::daemon) drain_timeout: Duration,
    pub(in crate::daemon) start_timeout: Duration,
    pub(in crate::daemon) limits: DaemonLimits,
    pub(in crate::daemon) proxies: Option<Hook<Endpoint>>,
    pub(in crate::daemon) admit_address: Option<Hook<Endpoint>>,
    pub(in crate::daemon) admit: Option<Hook<PeerInfo>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: None,
            also: Vec::new(),
            #[cfg(unix)]
            unix_mode: UNIX_MODE,
            accept_loops: 1,
            listener_restarts: (10, Duration::from_secs(60)),
            transport: Arc::new(Tcp),
            plaintext_anywhere: false,
            tcp: TcpOptions::new(),
            server: ServerOptions::new(),
            restart: Restart::Temporary,
            shutdown: Shutdown::default(),
            drain_timeout: Duration::from_secs(3),
            start_timeout: Duration::from_secs(60),
            limits: DaemonLimits::default(),
            proxies: None,
            admit_address: None,
            admit: None,
        }
    }
}

impl Settings {
    pub(super) fn address_mut(&mut self) -> &mut SocketAddr {
        self.address.get_or_insert(ANY_PORT)
    }

    /// Where to listen, at least at one place.
    ///
    /// They are taken out: a listener that was handed in would be open as long as these settings are kept.
    pub(in crate::daemon) fn take_places(&mut self) -> Vec<Place> {
        let named = self.address.map(Place::Inet);
        let also = std::mem::take(&mut self.also);
        let mut places: Vec<_> = named.into_iter().chain(also).collect();
        #[cfg(unix)]
        for place in &mut places {
            if let Place::Unix(_, mode) = place {
                *mode = self.unix_mode;
            }
        }
        if places.is_empty() {
            places.push(Place::Inet(ANY_PORT));
        }
        places
    }
}

#[cfg(unix)]
pub(super) const UNIX_MODE: u32 = 0o600;

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
