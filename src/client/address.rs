//! The address of a server.

use std::{fmt, net::SocketAddr, path::Path, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{AddressError, Endpoint, endpoint::host, transport::Target};

/// The address of a server: a host name or an IP address, and a port; or the path of a Unix socket.
///
/// The name is resolved for every connection. The server's certificate is verified against the name, or against
/// `localhost` for a Unix socket, unless [`Tls::server_name`](crate::Tls::server_name) is set. A link-local IPv6 address
/// has a scope, the name or number of an interface: `fe80::1%eth0`.
///
/// As text, and so in a configuration file that serde reads, `unix:` and a path is a Unix socket. `unix:` and digits is a port of a host named `unix`; write the file of
/// that name as `unix:./4747`. Parsing an invalid text returns an [`AddressError`] that states what to write. Converting
/// a text, or a pair of a host and a port, with `into` never fails; if it is invalid, connecting fails with
/// [`ConnectError::Address`](crate::ConnectError::Address).
///
/// # Example
///
/// ```
/// use erps::{Address, AddressError};
///
/// let pair = Address::from(("localhost", 4747));
/// let text: Address = "localhost:4747".parse().unwrap();
/// assert_eq!(pair, text);
/// assert_eq!(pair, "localhost:4747".into());
///
/// let link_local: Address = "[fe80::1%eth0]:4747".parse().unwrap();
/// assert_eq!(link_local, Address::from(("fe80::1%eth0", 4747)));
///
/// let socket: Address = "unix:/run/shop.sock".parse().unwrap();
/// assert_eq!(socket, Address::unix("/run/shop.sock"));
///
/// let url = "http://localhost:4747".parse::<Address>();
/// assert_eq!(url, Err(AddressError::Scheme));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address(pub(super) Target);

impl Address {
    /// Returns the address of the Unix socket at this path.
    ///
    /// If the backlog of a Unix socket is full, Linux does not let connections wait as over TCP: connecting fails at
    /// once (`EAGAIN`), and the client retries after its [back-off](crate::ClientBuilder::backoff).
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self(Target::Unix(path.as_ref().into()))
    }

    fn inet(host: &str, port: u16) -> Result<Self, AddressError> {
        let host = host::check(host)?;
        match port {
            0 => Err(AddressError::Port),
            port => Ok(Self(Target::Inet(host.to_owned(), port))),
        }
    }
}

impl<H: Into<String>> From<(H, u16)> for Address {
    fn from((host, port): (H, u16)) -> Self {
        // An invalid host is not kept: it may contain a password.
        Self::inet(&host.into(), port).unwrap_or_else(|error| Self(Target::Invalid(error)))
    }
}

/// As [`parse`](str::parse). If the text is invalid, connecting to the address fails.
impl From<&str> for Address {
    fn from(text: &str) -> Self {
        text.parse()
            .unwrap_or_else(|error| Self(Target::Invalid(error)))
    }
}

/// As [`parse`](str::parse). If the text is invalid, connecting to the address fails.
impl From<String> for Address {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

/// For a Unix socket without a path, connecting to the address fails.
impl From<Endpoint> for Address {
    fn from(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::Inet(address) => address.into(),
            Endpoint::Unix(path) => Self::unix(path.as_deref().unwrap_or(Path::new(""))),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => address.ip().to_string(),
        };
        Self::from((host, address.port()))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let path = text.strip_prefix("unix:");
        if let Some(path) = path.filter(|path| !may_be_port(path)) {
            return match path.find('\0') {
                Some(_) => Err(AddressError::Blank('\0')),
                None => Ok(Self::unix(path)),
            };
        }
        let (host, port) = host::split(text)?;
        Self::inet(host, port)
    }
}

/// From text, as [`FromStr`] parses it.
impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Returns true if the text after `unix:` is a port of a host named `unix`.
fn may_be_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Inet(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Target::Inet(host, port) => write!(f, "{host}:{port}"),
            Target::Unix(path) => {
                let text = path.to_string_lossy();
                let here = if may_be_port(&text) { "./" } else { "" };
                write!(f, "unix:{here}{text}")
            }
            Target::Invalid(_) => f.write_str("(no address)"),
        }
    }
}
