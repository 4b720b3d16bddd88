//! The settings of a daemon, as collected by its builder.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    Endpoint, PeerInfo, Restart, ServerOptions, Shutdown,
    daemon::{DaemonLimits, limits::Hook},
    transport::{ListenAddress, Tcp, TcpOptions, Transport},
};

/// The settings that are the same for every start of a daemon.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Set by `DaemonBuilder::bind` and `DaemonBuilder::port`.
    pub(super) address: Option<SocketAddr>,
    pub(super) also: Vec<ListenAddress>,
    #[cfg(unix)]
    pub(super) unix_mode: u32,
    pub(super) accept_loops: usize,
    pub(super) listener_rebinds: (usize, Duration),
    pub(super) transport: Arc<dyn Transport>,
    pub(super) plaintext_anywhere: bool,
    pub(super) tcp: TcpOptions,
    pub(super) server: ServerOptions,
    pub(super) restart: Restart,
    pub(super) shutdown: Shutdown,
    pub(super) drain_timeout: Duration,
    pub(super) start_timeout: Duration,
    pub(super) limits: DaemonLimits,
    pub(super) proxies: Option<Hook<Endpoint>>,
    pub(super) admit_address: Option<Hook<Endpoint>>,
    pub(super) admit: Option<Hook<PeerInfo>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: None,
            also: Vec::new(),
            #[cfg(unix)]
            unix_mode: UNIX_MODE,
            accept_loops: 1,
            listener_rebinds: (10, Duration::from_secs(60)),
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

    /// Takes the addresses to listen on, at least one.
    ///
    /// They are removed: an existing listener would stay open as long as these settings are kept.
    pub(super) fn take_addresses(&mut self) -> Vec<ListenAddress> {
        let named = self.address.map(ListenAddress::Inet);
        let also = std::mem::take(&mut self.also);
        let mut places: Vec<_> = named.into_iter().chain(also).collect();
        #[cfg(unix)]
        for place in &mut places {
            if let ListenAddress::Unix(_, mode) = place {
                *mode = self.unix_mode;
            }
        }
        if places.is_empty() {
            places.push(ListenAddress::Inet(ANY_PORT));
        }
        places
    }
}

#[cfg(unix)]
pub(super) const UNIX_MODE: u32 = 0o600;

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
