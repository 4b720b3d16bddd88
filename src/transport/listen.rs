//! Listening: where connections of daemons come from.
//!
//! In a simulated universe there are no sockets: whoever listens there is on its network.

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
use super::{Socketed, Sockets};
use crate::{
    Endpoint,
    network::{self, Network},
};

/// Where to listen.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Port 0 means any free one.
    Inet(SocketAddr),
    /// Listened at by somebody else, who shares it.
    HandedIn(Arc<std::net::TcpListener>),
    /// The path and the permissions of a Unix socket.
    #[cfg(unix)]
    Unix(Arc<Path>, u32),
    #[cfg(unix)]
    HandedInUnix(Arc<UnixListener>),
}

/// A listener that was made elsewhere: a standard library's, at a TCP port or at a Unix socket.
///
/// Taken by [`DaemonBuilder::listener`](crate::DaemonBuilder::listener).
#[derive(Clone, Debug)]
pub struct HandedIn(Place);

impl HandedIn {
    pub(crate) fn into_place(self) -> Place {
        self.0
    }
}

impl From<std::net::TcpListener> for HandedIn {
    fn from(listener: std::net::TcpListener) -> Self {
        Self(Place::HandedIn(Arc::new(listener)))
    }
}

#[cfg(unix)]
impl From<UnixListener> for HandedIn {
    fn from(listener: UnixListener) -> Self {
        Self(Place::HandedInUnix(Arc::new(listener)))
    }
}

impl Place {
    /// What it is called before anybody listens there.
    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Inet(address) => (*address).into(),
            Self::HandedIn(listener) => match listener.local_addr() {
                Ok(address) => address.into(),
                Err(_) => Endpoint::Inet((Ipv4Addr::UNSPECIFIED, 0).into()),
            },
            #[cfg(unix)]
            Self::Unix(path, _) => Endpoint::Unix(Some(Arc::clone(path))),
            #[cfg(unix)]
            Self::HandedInUnix(listener) => match listener.local_addr() {
                Ok(address) => unix::endpoint(&address),
                Err(_) => Endpoint::Unix(None),
            },
        }
    }

    /// The same place, now that it is known which port it is.
    ///
    /// Its own address stays: an endpoint is plain IPv4 where the socket was IPv6.
    pub(crate) fn found(&self, at: &Endpoint) -> Self {
        match (self, at) {
            (Self::Inet(own), Endpoint::Inet(found)) => {
                let mut own = *own;
                own.set_port(found.port());
                Self::Inet(own)
            }
            _ => self.clone(),
        }
    }

    /// Whether several listeners may share it.
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

/// A place that is listened at, until this is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: Kind,
    options: Sockets,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(unix::Listener),
    Simulated(network::Listener),
}

impl Listener {
    pub(crate) fn bind(place: &Place, options: &Sockets) -> io::Result<Self> {
        let network = Network::current();
        let listener = match (place, network) {
            (Place::Inet(address), Some(network)) => {
                Kind::Simulated(network.bind(*address, options.simulated_backlog())?)
            }
            (_, Some(_)) => return Err(no_such_thing_in_a_simulation()),
            (Place::Inet(address), None) => Kind::Tcp(bind_tcp(*address, options)?),
            (Place::HandedIn(listener), None) => {
                let listener = listener.try_clone()?;
                check_it_listens(&SockRef::from(&listener))?;
                options.try_for_connections(Domain::for_address(listener.local_addr()?));
                Kind::Tcp(listener.try_into()?)
            }
            #[cfg(unix)]
            (Place::Unix(path, mode), None) => {
                Kind::Unix(unix::Listener::bind(path, *mode, options.backlog())?)
            }
            #[cfg(unix)]
            (Place::HandedInUnix(listener), None) => {
                let listener = listener.try_clone()?;
                check_it_listens(&SockRef::from(&listener))?;
                Kind::Unix(unix::Listener::handed_in(listener)?)
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

    /// Waits for a connection. For tasks of the library only.
    ///
    /// An error concerns one connection or the whole process (`EMFILE`), and returns at once: the
    /// caller must know which, and pause before it asks again.
    ///
    /// Cancel safe: a connection is either returned or left to the next call.
    pub(crate) async fn accept(&self) -> io::Result<Socketed> {
        match &self.listener {
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Socketed::new(self.options.finish(stream), peer.into()))
            }
            #[cfg(unix)]
            Kind::Unix(listener) => listener.accept().await,
            Kind::Simulated(listener) => {
                let (stream, peer) = listener.accept().await?;
                let stream = self.options.finish_simulated(stream);
                Ok(Socketed::new(stream, peer.into()))
            }
        }
    }
}

fn bind_tcp(address: SocketAddr, options: &Sockets) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    options.apply_to_listener(&socket, domain)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog())?;
    options.try_for_connections(domain);
    TcpListener::try_from(std::net::TcpListener::from(socket))
}

/// A socket that was only bound would be found out by its first accept.
fn check_it_listens(socket: &SockRef<'_>) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    if !socket.is_listener()? {
        let what = "the socket that was handed in does not listen";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let _ = socket;
    Ok(())
}

fn no_such_thing_in_a_simulation() -> io::Error {
    let what = "a simulated network has neither Unix sockets nor sockets from outside";
    io::Error::new(io::ErrorKind::Unsupported, what)
}
