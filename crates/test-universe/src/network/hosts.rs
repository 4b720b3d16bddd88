//! The hosts of a network: their names, addresses and ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// The default host.
pub const LOCALHOST: &str = "localhost";

/// The ephemeral ports, as IANA recommends.
const FREE_PORTS: std::ops::RangeInclusive<u16> = 49_152..=u16::MAX;

/// The hosts, by their number.
#[derive(Default)]
pub(super) struct Hosts {
    all: Vec<Ports>,
    names: BTreeMap<Arc<str>, usize>,
}

struct Ports {
    name: Arc<str>,
    /// It was named by `Network::host`, or code has run on it.
    known: bool,
    next: u16,
    /// The ports of connecting ends.
    connecting: BTreeSet<u16>,
}

impl Hosts {
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(super) fn find_or_create(&mut self, name: &str) -> usize {
        self.find(name).unwrap_or_else(|| self.create(name))
    }

    /// Finds or creates a host, and marks it as known.
    pub(super) fn use_or_create(&mut self, name: &str) -> usize {
        let host = self.find_or_create(name);
        self.all[host].known = true;
        host
    }

    pub(super) fn is_known(&self, name: &str) -> bool {
        self.find(name).is_some_and(|host| self.all[host].known)
    }

    fn create(&mut self, name: &str) -> usize {
        let name = Arc::<str>::from(name);
        self.names.insert(Arc::clone(&name), self.all.len());
        self.all.push(Ports {
            name,
            known: false,
            next: *FREE_PORTS.start(),
            connecting: BTreeSet::new(),
        });
        self.all.len() - 1
    }

    pub(super) fn name(&self, host: usize) -> Arc<str> {
        Arc::clone(&self.all[host].name)
    }

    /// The host that has the address `ip`, seen from the host `here`.
    pub(super) fn at(&self, ip: IpAddr, here: usize) -> Option<usize> {
        if ip.is_loopback() || ip.is_unspecified() {
            return Some(here);
        }
        (0..self.all.len()).find(|&host| is_own(ip, host))
    }

    /// A free ephemeral port; `is_taken` checks the ports of listeners.
    pub(super) fn free_port(&mut self, host: usize, is_taken: impl Fn(u16) -> bool) -> Option<u16> {
        let ports = &mut self.all[host];
        for _ in FREE_PORTS {
            let port = ports.next;
            ports.next = port.checked_add(1).unwrap_or(*FREE_PORTS.start());
            if !ports.connecting.contains(&port) && !is_taken(port) {
                return Some(port);
            }
        }
        None
    }

    pub(super) fn take_port(&mut self, host: usize, port: u16) {
        self.all[host].connecting.insert(port);
    }

    pub(super) fn release_port(&mut self, host: usize, port: u16) {
        self.all[host].connecting.remove(&port);
    }
}

/// The first host is 10.0.0.1.
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

/// Checks that a host may listen on an address.
pub(super) fn check_bind(ip: IpAddr, host: usize) -> io::Result<()> {
    if ip.is_loopback() || ip.is_unspecified() || is_own(ip, host) {
        return Ok(());
    }
    Err(io::ErrorKind::AddrNotAvailable.into())
}

/// Whether a listener bound to `bound` accepts connections to `ip`. As on Linux, `::` covers IPv4 too.
pub(super) fn covers(bound: IpAddr, ip: IpAddr) -> bool {
    bound == ip
        || bound == Ipv6Addr::UNSPECIFIED
        || (bound == Ipv4Addr::UNSPECIFIED && ip.is_ipv4())
}

/// The source address of a connection of `host` to `ip`.
pub(super) fn source(ip: IpAddr, host: usize) -> IpAddr {
    if ip.is_loopback() {
        return ip;
    }
    match ip {
        IpAddr::V4(_) => v4(host).into(),
        IpAddr::V6(_) => v6(host).into(),
    }
}

/// The target of a connect: an unspecified address means the host itself.
pub(super) fn target(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}
