//! Listening: where connections of daemons come from.
//!
//! In a simulated universe there are no sockets: whoever listens there is on its network.

use std::{io, net::SocketAddr};

use async_net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

use super::{BoxedStream, TcpOptions};
use crate::{
    Endpoint,
    network::{self, Network},
};

/// Where to listen.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Port 0 means any free one.
    Inet(SocketAddr),
}

impl Place {
    /// What it is called before anybody listens there.
    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Inet(address) => (*address).into(),
        }
    }

    /// The same place, now that it is known which one it is.
    pub(crate) fn found(&self, at: &Endpoint) -> Self {
        match (self, at) {
            (Self::Inet(_), Endpoint::Inet(address)) => Self::Inet(*address),
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
        match self {
            Self::Inet(_) => system && Network::current().is_none(),
        }
    }
}

/// A place that is listened at, until this is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: Kind,
    options: TcpOptions,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Simulated(network::Listener),
}

impl Listener {
    pub(crate) fn bind(place: &Place, options: &TcpOptions) -> io::Result<Self> {
        let network = Network::current();
        let listener = match (place, network) {
            (Place::Inet(address), Some(network)) => {
                Kind::Simulated(network.listen_with(*address, options.simulated_backlog())?)
            }
            (Place::Inet(address), None) => Kind::Tcp(bind_tcp(*address, options)?),
        };
        Ok(Self {
            listener,
            options: options.clone(),
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<Endpoint> {
        Ok(match &self.listener {
            Kind::Tcp(listener) => listener.local_addr()?.into(),
            Kind::Simulated(listener) => listener.local_addr().into(),
        })
    }

    /// Waits for a connection. For tasks of the library only.
    ///
    /// An error concerns one connection or the whole process (`EMFILE`), and returns at once: the
    /// caller must know which, and pause before it asks again.
    ///
    /// Cancel safe: a connection is either returned or left to the next call.
    pub(crate) async fn accept(&self) -> io::Result<(BoxedStream, Endpoint)> {
        match &self.listener {
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((self.options.finish(stream), peer.into()))
            }
            Kind::Simulated(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((self.options.finish_simulated(stream), peer.into()))
            }
        }
    }
}

fn bind_tcp(address: SocketAddr, options: &TcpOptions) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    options.apply_to_listener(&socket, domain)?;
    socket.bind(&address.into())?;
    socket.listen(options.most_waiting())?;
    TcpListener::try_from(std::net::TcpListener::from(socket))
}
