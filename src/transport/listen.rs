//! Listeners: TCP and Unix sockets, external listeners, and the simulated network.
//!
//! In a simulated universe listeners are on its simulated network.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};
#[cfg(unix)]
use std::{os::unix::net::UnixListener, path::Path};

use async_net::TcpListener;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

#[cfg(unix)]
use super::unix;
use super::{RawConnection, SocketOptions};
use crate::{
    Endpoint,
    network::{self, Network},
};

/// The address that a daemon listens on, or an external listener.
#[derive(Clone, Debug)]
pub(crate) enum ListenAddress {
    /// Port 0 means any free port.
    Inet(SocketAddr),
    /// A TCP listener that the user has bound.
    External(Arc<std::net::TcpListener>),
    /// The path and the file permissions of a Unix socket.
    #[cfg(unix)]
    Unix(Arc<Path>, u32),
    #[cfg(unix)]
    ExternalUnix(Arc<UnixListener>),
}

/// A standard library's TCP or Unix listener that is already listening, from socket activation for instance.
///
/// The argument of [`DaemonBuilder::listener`](crate::DaemonBuilder::listener).
#[derive(Clone, Debug)]
pub struct ExternalListener(ListenAddress);

impl ExternalListener {
    pub(crate) fn into_address(self) -> ListenAddress {
        self.0
    }
}

impl From<std::net::TcpListener> for ExternalListener {
    fn from(listener: std::net::TcpListener) -> Self {
        Self(ListenAddress::External(Arc::new(listener)))
    }
}

#[cfg(unix)]
impl From<UnixListener> for ExternalListener {
    fn from(listener: UnixListener) -> Self {
        Self(ListenAddress::ExternalUnix(Arc::new(listener)))
    }
}

impl ListenAddress {
    /// Returns the address as known before listening: its port may be 0.
    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Inet(address) => (*address).into(),
            Self::External(listener) => match listener.local_addr() {
                Ok(address) => address.into(),
                Err(_) => Endpoint::Inet((Ipv4Addr::UNSPECIFIED, 0).into()),
            },
            #[cfg(unix)]
            Self::Unix(path, _) => Endpoint::Unix(Some(Arc::clone(path))),
            #[cfg(unix)]
            Self::ExternalUnix(listener) => match listener.local_addr() {
                Ok(address) => unix::endpoint(&address),
                Err(_) => Endpoint::Unix(None),
            },
        }
    }

    /// Returns the same address with the port of `bound`, for a later rebind.
    ///
    /// Only the port is replaced: an endpoint is plain IPv4 where the socket is IPv6.
    pub(crate) fn with_port_of(&self, bound: &Endpoint) -> Self {
        match (self, bound) {
            (Self::Inet(address), Endpoint::Inet(bound)) => {
                let mut address = *address;
                address.set_port(bound.port());
                Self::Inet(address)
            }
            _ => self.clone(),
        }
    }

    /// Returns whether several listeners can share the address (`SO_REUSEPORT`).
    pub(crate) fn can_be_shared(&self) -> bool {
        let system = cfg!(all(
            unix,
            not(any(
                target_os = "solaris",
                target_os = "illumos",
                target_os = "cygwin"
            ))
        ));
        matches!(self, Self::Inet(_)) && system && Network::current().is_none()
    }
}

/// A bound listener. Dropping it closes the socket.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: Kind,
    options: SocketOptions,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(unix::Listener),
    Simulated(network::Listener),
}

impl Listener {
    pub(crate) fn bind(place: &ListenAddress, options: &SocketOptions) -> io::Result<Self> {
        let network = Network::current();
        let listener = match (place, network) {
            (ListenAddress::Inet(address), Some(network)) => {
                Kind::Simulated(network.bind(*address, options.simulated_backlog())?)
            }
            (_, Some(_)) => return Err(unsupported_in_simulation()),
            (ListenAddress::Inet(address), None) => Kind::Tcp(bind_tcp(*address, options)?),
            (ListenAddress::External(listener), None) => {
                let listener = listener.try_clone()?;
                check_it_listens(&SockRef::from(&listener))?;
                options.try_for_connections(Domain::for_address(listener.local_addr()?));
                Kind::Tcp(listener.try_into()?)
            }
            #[cfg(unix)]
            (ListenAddress::Unix(path, mode), None) => {
                Kind::Unix(unix::Listener::bind(path, *mode, options.backlog())?)
            }
            #[cfg(unix)]
            (ListenAddress::ExternalUnix(listener), None) => {
                let listener = listener.try_clone()?;
                check_it_listens(&SockRef::from(&listener))?;
                Kind::Unix(unix::Listener::external(listener)?)
            }
        };
        Ok(Self {
            listener,
            options: options.clone(),
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<Endpoint> {
        Ok(match &self.listener {
            Kind::Tcp(listener) => listener.local_addr()?.into(),
            #[cfg(unix)]
            Kind::Unix(listener) => listener.local_addr()?,
            Kind::Simulated(listener) => listener.local_addr().into(),
        })
    }

    /// Waits for a connection. Polls a socket: for the library's own tasks only.
    ///
    /// An error concerns one connection, or the whole process (`EMFILE`). In the second case the next call fails
    /// at once, so the caller must pause first.
    ///
    /// Cancel safe: a connection is either returned, or accepted by the next call.
    pub(crate) async fn accept(&self) -> io::Result<RawConnection> {
        match &self.listener {
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(RawConnection::new(self.options.finish(stream), peer.into()))
            }
            #[cfg(unix)]
            Kind::Unix(listener) => listener.accept().await,
            Kind::Simulated(listener) => {
                let (stream, peer) = listener.accept().await?;
                let stream = self.options.finish_simulated(stream);
                Ok(RawConnection::new(stream, peer.into()))
            }
        }
    }
}

fn bind_tcp(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    options.apply_to_listener(&socket, domain)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog())?;
    options.try_for_connections(domain);
    TcpListener::try_from(std::net::TcpListener::from(socket))
}

/// Fails early for a socket that is bound but does not listen; otherwise its first accept would fail.
fn check_it_listens(socket: &SockRef<'_>) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    if !socket.is_listener()? {
        let what = "the given socket does not listen";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let _ = socket;
    Ok(())
}

fn unsupported_in_simulation() -> io::Error {
    let what = "a simulated network supports neither Unix sockets nor external listeners";
    io::Error::new(io::ErrorKind::Unsupported, what)
}
