//! The hosts of a network: their names, addresses and ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// The host that code is on which was put on no other.
pub const LOCALHOST: &str = "localhost";

/// The ports that are given to those who ask for any, as by IANA's advice.
const FREE_PORTS: std::ops::RangeInclusive<u16> = 49_152..=u16::MAX;

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
