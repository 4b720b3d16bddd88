//! The address of one end of a connection. Pure: no sockets.

pub(crate) mod host;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    str::FromStr,
    sync::Arc,
};

pub use host::AddressError;
use serde::{Serialize, Serializer};

/// The address of one end of a connection, or of a listener: an IP address and a port, or a Unix socket.
///
/// A client connects to an [`Address`](crate::Address), which may also be a host name.
///
/// Converting [from](From) an IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) returns plain IPv4, so that a peer has the
/// same address on every listener. An IPv6 address keeps its scope (`[fe80::1%2]:4747`), which a link-local address
/// needs.
///
/// # Example
///
/// ```
/// use std::net::SocketAddr;
/// use erps::Endpoint;
///
/// let peer: SocketAddr = "[::ffff:10.1.2.3]:4747".parse().unwrap();
/// let peer = Endpoint::from(peer);
/// assert_eq!(peer.to_string(), "10.1.2.3:4747");
/// assert!(peer.is_within([10, 0, 0, 0], 8));
/// assert!(!peer.is_local());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Endpoint {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// A Unix socket and its path. The connecting end usually has no path.
    Unix(Option<Arc<Path>>),
}

impl Endpoint {
    /// Returns the IP address; `None` for a Unix socket.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.inet().map(|address| address.ip())
    }

    /// Returns the port; `None` for a Unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.inet().map(|address| address.port())
    }

    /// Returns the IP address and the port; `None` for a Unix socket.
    #[must_use]
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Returns the path of a Unix socket, if it has one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => path.as_deref(),
            Self::Inet(_) => None,
        }
    }

    /// Returns true for a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Returns true for a Unix socket and a loopback address. As the address of a peer it is on this machine, unless a
    /// [proxy](crate::PeerInfo::proxy) announced it: then it is on the machine of the proxy.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|ip| ip.to_canonical().is_loopback())
    }

    /// Returns true if the first `bits` bits of the IP address equal those of `network`: 10.1.2.3 is within 10.0.0.0/8.
    /// Returns false for a Unix socket, and if one address is IPv4 and the other IPv6.
    #[must_use]
    pub fn is_within(&self, network: impl Into<IpAddr>, bits: u8) -> bool {
        let Some(ip) = self.ip() else {
            return false;
        };
        let (ip, network) = (ip.to_canonical(), network.into().to_canonical());
        ip.is_ipv4() == network.is_ipv4() && prefix(ip, bits) == prefix(network, bits)
    }
}

/// Returns an address with all but its first bits set to zero.
pub(crate) fn prefix(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32)));
            Ipv4Addr::from_bits(ip.to_bits() & mask.unwrap_or(0)).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128)));
            Ipv6Addr::from_bits(ip.to_bits() & mask.unwrap_or(0)).into()
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(plain(address))
    }
}

fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

impl PartialEq<SocketAddr> for Endpoint {
    fn eq(&self, other: &SocketAddr) -> bool {
        self.inet().is_some_and(|address| address == plain(*other))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix:"),
        }
    }
}

/// Parses the text that [`Display`](fmt::Display) writes. The scope of an IPv6 address is the number of an interface.
impl FromStr for Endpoint {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = (!path.is_empty()).then(|| Path::new(path).into());
            return Ok(Self::Unix(path));
        }
        host::split(text)?;
        let address: SocketAddr = text.parse().map_err(|_| AddressError::NotIp)?;
        Ok(address.into())
    }
}

/// As text.
impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Endpoint {
        let address: SocketAddr = text.parse().expect("an address");
        address.into()
    }

    #[test]
    fn ipv4_in_ipv6_is_ipv4() {
        assert_eq!(at("[::ffff:10.0.0.1]:1").to_string(), "10.0.0.1:1");
        assert_eq!(at("[::1]:1").to_string(), "[::1]:1");
        assert!(at("[::ffff:127.0.0.1]:1").is_local());
    }

    #[test]
    fn a_unix_socket_has_no_address_and_is_local() {
        let named = Endpoint::Unix(Some(Path::new("/run/erps").into()));
        assert_eq!(named.to_string(), "unix:/run/erps");
        assert_eq!(Endpoint::Unix(None).to_string(), "unix:");
        assert!(named.is_local() && named.is_unix());
        assert_eq!((named.ip(), named.port()), (None, None));
        assert!(!named.is_within([0, 0, 0, 0], 0));
    }

    #[test]
    fn an_endpoint_is_read_as_it_is_written() {
        for text in [
            "127.0.0.1:0",
            "[::1]:4747",
            "[fe80::1%2]:4747",
            "unix:/run/erps",
            "unix:",
        ] {
            assert_eq!(
                text.parse().map(|it: Endpoint| it.to_string()),
                Ok(text.to_owned())
            );
        }
        let parse = |text: &str| text.parse::<Endpoint>();
        assert_eq!(parse("localhost:1"), Err(AddressError::NotIp));
        assert_eq!(parse("[fe80::1%eth0]:1"), Err(AddressError::NotIp));
        assert_eq!(parse("::1:4747"), Err(AddressError::Brackets));
        assert_eq!(parse("http://10.0.0.1:1"), Err(AddressError::Scheme));
        assert_ne!(parse("[fe80::1%2]:1"), parse("[fe80::1%3]:1"));
    }

    #[test]
    fn a_network_holds_the_addresses_that_begin_as_it_does() {
        let within = |text, network: &str, bits| {
            let network: IpAddr = network.parse().expect("an address");
            at(text).is_within(network, bits)
        };
        assert!(within("10.9.8.7:1", "10.0.0.0", 8));
        assert!(!within("11.0.0.0:1", "10.0.0.0", 8));
        assert!(within("10.9.8.7:1", "10.9.8.7", 32));
        assert!(!within("10.9.8.6:1", "10.9.8.7", 32));
        assert!(within("[2001:db8::1]:1", "2001:db8::", 32));
        assert!(!within("[2001:db9::1]:1", "2001:db8::", 32));
        assert!(within("[::ffff:10.9.8.7]:1", "10.0.0.0", 8));
        assert!(!within("[::1]:1", "0.0.0.0", 0));
        assert!(within("1.2.3.4:1", "0.0.0.0", 0));
    }
}
