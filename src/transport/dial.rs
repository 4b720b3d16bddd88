//! Outgoing connections: name resolution, and connecting within a time limit.
//!
//! In a simulated universe they go over its simulated network.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use async_net::TcpStream;

use super::{BoxedStream, RawConnection, SocketOptions};
use crate::{AddressError, Endpoint, network::Network, task};

/// The address that a client connects to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// A host and a port. The host is a name or an IP address without brackets; an IPv6 address may have a scope.
    Inet(String, u16),
    /// The path of a Unix socket.
    Unix(Arc<Path>),
    /// The given text is not an address.
    Invalid(AddressError),
}

impl Target {
    /// Returns the host that the server's certificate has to name by default.
    pub(crate) fn host(&self) -> &str {
        match self {
            // Names in certificates have no scope and no trailing dot.
            Self::Inet(host, _) => match host.split_once('%') {
                Some((address, _)) => address,
                None => host.strip_suffix('.').unwrap_or(host),
            },
            Self::Unix(_) | Self::Invalid(_) => "localhost",
        }
    }
}

/// Connects to the first of the host's addresses that accepts. `limit` applies to each address.
///
/// Polls sockets and timers: for the library's own tasks only. Cancel safe: a connection that is not returned
/// is dropped.
pub(crate) async fn dial(
    target: &Target,
    options: &SocketOptions,
    limit: Duration,
) -> Result<RawConnection, DialError> {
    match target {
        Target::Invalid(error) => Err(DialError::Address(*error)),
        Target::Inet(host, port) => {
            let (stream, peer) = dial_tcp(host, *port, options, limit).await?;
            Ok(RawConnection::new(stream, peer))
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

async fn connect_unix(path: &Path) -> io::Result<RawConnection> {
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
    options: &SocketOptions,
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

async fn connect(address: SocketAddr, options: &SocketOptions) -> io::Result<BoxedStream> {
    let stream = TcpStream::connect(address).await?;
    if is_its_own_peer(&stream) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(options.finish(stream))
}

/// Returns whether a socket is connected to itself (TCP self-connect).
///
/// This can happen when a client connects to a local port without a listener, and the system picks that port as
/// the client's own. A reconnecting client tries often enough to run into it, and would then occupy the port of
/// the server it waits for.
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
    // A numeric scope. The system resolves interface names.
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

/// Why a connection could not be established. Nothing was sent.
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
    #[error("cannot connect to {address}: timed out after {limit:?}")]
    TimedOut { address: Endpoint, limit: Duration },
}
