//! Hosts: their names, their addresses, and their ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use super::Network;
use crate::{InUniverse, Universe, current};

/// The host that code is on which was put on no other.
pub const LOCALHOST: &str = "localhost";

/// The ports that are given to those who ask for any, as by IANA's advice.
const FREE_PORTS: std::ops::RangeInclusive<u16> = 49_152..=u16::MAX;

/// A machine of a simulated [`Network`]. Made by [`Network::host`].
///
/// A task that is spawned by this library from code on a host is on that host.
///
/// # Example
///
/// ```
/// use test_universe::{Network, Universe};
///
/// Universe::simulated(1).run(async {
///     let network = Network::current().unwrap();
///     let (alpha, beta) = (network.host("alpha"), network.host("beta"));
///     let listener = alpha.enter(|| network.listen(alpha.address(4747))).unwrap();
///     let stream = beta.scope(network.connect(alpha.address(4747))).await.unwrap();
///     let (_, peer) = listener.accept().await.unwrap();
///     assert_eq!(peer.ip(), beta.ip());
///     drop(stream);
/// });
/// ```
#[derive(Clone)]
pub struct Host {
    network: Network,
    name: Arc<str>,
    ip: IpAddr,
}

impl Host {
    pub(super) fn new(network: Network, name: Arc<str>, number: usize) -> Self {
        let ip = v4(number).into();
        Self { network, name, ip }
    }

    /// Its name, by which it can be dialled.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address, besides the loopback addresses. It has an IPv6 address as well, `fd00::` with
    /// the same number.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// A port of it.
    #[must_use]
    pub fn address(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    /// Makes a future that runs on this host, with all that is spawned from it.
    ///
    /// # Panics
    ///
    /// If the caller is not in the host's universe.
    ///
    /// # Cancel safety
    ///
    /// The same as the future's own.
    #[track_caller]
    pub fn scope<F: Future>(&self, future: F) -> InUniverse<F> {
        self.assert_here();
        current::within_host(Arc::clone(&self.name), future)
    }

    /// Runs a closure on this host and returns what it returns.
    ///
    /// # Panics
    ///
    /// If the caller is not in the host's universe.
    #[track_caller]
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        self.assert_here();
        current::enter_host(Arc::clone(&self.name), f)
    }

    #[track_caller]
    fn assert_here(&self) {
        let name = &self.name;
        let is_somewhere = Universe::current().is_some();
        assert!(
            is_somewhere,
            "the host {name:?} is in a universe, and the caller is in none"
        );
        let is_here = Network::current().is_some_and(|network| network == self.network);
        assert!(is_here, "the host {name:?} is in another universe");
    }
}

impl AsRef<str> for Host {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.name).finish()
    }
}

/// The hosts, by their number.
#[derive(Default)]
pub(super) struct Hosts {
    all: Vec<Ports>,
    names: BTreeMap<Arc<str>, usize>,
}

struct Ports {
    name: Arc<str>,
    /// Somebody has asked for it by its name, or been on it.
    introduced: bool,
    next: u16,
    /// Those of dialling ends.
    dialling: BTreeSet<u16>,
}

impl Hosts {
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(super) fn find_or_make(&mut self, name: &str) -> usize {
        self.find(name).unwrap_or_else(|| self.make(name))
    }

    /// As [`find_or_make`](Self::find_or_make), by one who means it to be there.
    pub(super) fn introduce(&mut self, name: &str) -> usize {
        let host = self.find_or_make(name);
        self.all[host].introduced = true;
        host
    }

    pub(super) fn is_introduced(&self, name: &str) -> bool {
        self.find(name)
            .is_some_and(|host| self.all[host].introduced)
    }

    fn make(&mut self, name: &str) -> usize {
        let name = Arc::<str>::from(name);
        self.names.insert(Arc::clone(&name), self.all.len());
        self.all.push(Ports {
            name,
            introduced: false,
            next: *FREE_PORTS.start(),
            dialling: BTreeSet::new(),
        });
        self.all.len() - 1
    }

    pub(super) fn name(&self, host: usize) -> Arc<str> {
        Arc::clone(&self.all[host].name)
    }

    /// Which host answers to `ip`, seen from `here`.
    pub(super) fn at(&self, ip: IpAddr, here: usize) -> Option<usize> {
        if ip.is_loopback() || ip.is_unspecified() {
            return Some(here);
        }
        (0..self.all.len()).find(|&host| is_own(ip, host))
    }

    /// A port that nobody has, for which `is_taken` says so too.
    pub(super) fn free_port(&mut self, host: usize, is_taken: impl Fn(u16) -> bool) -> Option<u16> {
        let ports = &mut self.all[host];
        for _ in FREE_PORTS {
            let port = ports.next;
            ports.next = port.checked_add(1).unwrap_or(*FREE_PORTS.start());
            if !ports.dialling.contains(&port) && !is_taken(port) {
                return Some(port);
            }
        }
        None
    }

    pub(super) fn take_port(&mut self, host: usize, port: u16) {
        self.all[host].dialling.insert(port);
    }

    pub(super) fn give_back(&mut self, host: usize, port: u16) {
        self.all[host].dialling.remove(&port);
    }
}

/// The first host, which is this one's, is 10.0.0.1.
pub(super) fn v4(host: usize) -> Ipv4Addr {
    let number = u32::try_from(host + 1).unwrap_or(u32::MAX);
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits().saturating_add(number))
}

fn v6(host: usize) -> Ipv6Addr {
    let prefix = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0);
    Ipv6Addr::from_bits(prefix.to_bits() + host as u128 + 1)
}

fn is_own(ip: IpAddr, host: usize) -> bool {
    ip == v4(host) || ip == v6(host)
}

/// Whether a host may listen at an address.
pub(super) fn check_bind(ip: IpAddr, host: usize) -> io::Result<()> {
    if ip.is_loopback() || ip.is_unspecified() || is_own(ip, host) {
        return Ok(());
    }
    Err(io::ErrorKind::AddrNotAvailable.into())
}

/// Whether who listens at `bound` hears who dials `ip`. As on Linux, `::` hears IPv4 too.
pub(super) fn covers(bound: IpAddr, ip: IpAddr) -> bool {
    bound == ip
        || bound == Ipv6Addr::UNSPECIFIED
        || (bound == Ipv4Addr::UNSPECIFIED && ip.is_ipv4())
}

/// By which of its addresses `host` dials `ip`.
pub(super) fn source(ip: IpAddr, host: usize) -> IpAddr {
    if ip.is_loopback() {
        return ip;
    }
    match ip {
        IpAddr::V4(_) => v4(host).into(),
        IpAddr::V6(_) => v6(host).into(),
    }
}

/// Who dials no address in particular, dials itself.
pub(super) fn target(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}
