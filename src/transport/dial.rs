//! Dialling: how the connections of clients come about.
//!
//! In a simulated universe there are no sockets: whoever dials there is on its network.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use async_net::TcpStream;

use super::{BoxedStream, Socketed, Sockets};
use crate::{AddressError, Endpoint, network::Network, task};

/// What to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// A name or an address without brackets, an IPv6 address perhaps with its scope; and a port.
    Inet(String, u16),
    /// The path of a Unix socket.
    Unix(Arc<Path>),
    /// What was given cannot be an address.
    Invalid(AddressError),
}

impl Target {
    /// The host that a certificate has to name, unless the user says otherwise.
    pub(crate) fn host(&self) -> &str {
        match self {
            // A certificate knows neither a scope nor the dot of a complete name.
            Self::Inet(host, _) => match host.split_once('%') {
                Some((address, _)) => address,
                None => host.strip_suffix('.').unwrap_or(host),
            },
            Self::Unix(_) | Self::Invalid(_) => "localhost",
        }
    }
}

/// Connects, within `limit`; of several addresses to the first that answers, each within `limit`. For
/// tasks of the library only.
///
/// Cancel safe: a connection that is not returned is dropped.
pub(crate) async fn dial(
    target: &Target,
    options: &Sockets,
    limit: Duration,
) -> Result<Socketed, DialError> {
    match target {
        Target::Invalid(error) => Err(DialError::Address(*error)),
        Target::Inet(host, port) => {
            let (stream, peer) = dial_tcp(host, *port, options, limit).await?;
            Ok(Socketed::new(stream, peer))
        }
        Target::Unix(path) => {
            let address = Endpoint::Unix(Some(Arc::clone(path)));
            match task::timeout(limit, connect_unix(path)).await {
                Ok(Ok(socket)) => Ok(socket),
                Ok(Err(source)) => Err(DialError::Failed { address, source }),
                Err(task::Elapsed) => Err(DialError::TimedOut { address, limit }),
            }
        }
    }
}

async fn connect_unix(path: &Path) -> io::Result<Socketed> {
    if Network::current().is_some() {
        let what = "a simulated network has no Unix sockets";
        return Err(io::Error::new(io::ErrorKind::Unsupported, what));
    }
    #[cfg(unix)]
    return super::unix::connect(path).await;
    #[cfg(not(unix))]
    return Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("this system has no Unix sockets: {}", path.display()),
    ));
}

async fn dial_tcp(
    host: &str,
    port: u16,
    options: &Sockets,
    limit: Duration,
) -> Result<(BoxedStream, Endpoint), DialError> {
    let network = Network::current();
    let mut last = None;
    for address in resolve(host, port, network.as_ref()).await? {
        let connect = async {
            match &network {
                Some(network) => {
                    let stream = network.dial(address).await?;
                    Ok(options.finish_simulated(stream))
                }
                None => connect(address, options).await,
            }
        };
        match task::timeout(limit, connect).await {
            Ok(Ok(stream)) => return Ok((stream, address.into())),
            Ok(Err(source)) => {
                let address = address.into();
                last = Some(DialError::Failed { address, source });
            }
            Err(task::Elapsed) => {
                let address = address.into();
                last = Some(DialError::TimedOut { address, limit });
            }
        }
    }
    Err(last.unwrap_or_else(|| DialError::NoAddress(host.to_owned())))
}

async fn connect(address: SocketAddr, options: &Sockets) -> io::Result<BoxedStream> {
    let stream = TcpStream::connect(address).await?;
    if is_its_own_peer(&stream) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(options.finish(stream))
}

/// Tells whether a socket was connected to itself, as TCP allows.
///
/// It happens to whoever dials a port of this machine on which nobody listens, once the system
/// picks that same port for the dialling end. A client that heals tries often enough to meet it,
/// and would then keep the server it waits for from listening there.
fn is_its_own_peer(stream: &TcpStream) -> bool {
    matches!(
        (stream.local_addr(), stream.peer_addr()),
        (Ok(local), Ok(peer)) if local == peer
    )
}

async fn resolve(
    host: &str,
    port: u16,
    network: Option<&Network>,
) -> Result<Vec<SocketAddr>, DialError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    // With the number of an interface; its name is for the system to resolve.
    if host.contains(':')
        && let Ok(address) = format!("[{host}]:{port}").parse()
    {
        return Ok(vec![address]);
    }
    let resolved = match network {
        Some(network) => network
            .resolve(host)
            .map(|ip| vec![SocketAddr::new(ip, port)]),
        None => async_net::resolve((host, port)).await,
    };
    resolved.map_err(|source| DialError::Unresolved {
        host: host.to_owned(),
        source,
    })
}

/// Why there is no TCP connection. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{0}")]
    Address(AddressError),
    #[error("cannot resolve {host:?}: {source}")]
    Unresolved { host: String, source: io::Error },
    #[error("{0:?} has no address")]
    NoAddress(String),
    #[error("cannot connect to {address}: {source}")]
    Failed {
        address: Endpoint,
        source: io::Error,
    },
    #[error("cannot connect to {address}: no answer within {limit:?}")]
    TimedOut { address: Endpoint, limit: Duration },
}
