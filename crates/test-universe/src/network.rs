//! The simulated network: a [`Universe`]'s own hosts, ports, links and faults.
//!
//! Every [simulated](crate::Universe::simulated) universe has one. Daemons and clients in it listen and
//! dial there; nobody else can reach them. EventKind takes time takes it by the universe's clock, and what
//! is drawn is drawn from its seed.
//!
//! ```
//! use std::{io, net::SocketAddr, time::Duration};
//! use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
//! use test_universe::{Network, Universe, network::Link, time};
//!
//! Universe::simulated(1).run(async {
//!     let network = Network::current().unwrap();
//!     let (shop, home) = (network.host("shop"), network.host("home"));
//!     network.set_link("shop", "home", Link::new().latency(Duration::from_millis(20)));
//!
//!     let address = SocketAddr::from((shop.ip(), 4747));
//!     let listener = shop.enter(|| network.listen(address))?;
//!     let mut client = home.scope(network.connect(address)).await?;
//!     let (mut server, _) = listener.accept().await?;
//!
//!     // Bytes sent during a partition arrive after it.
//!     network.partition("shop", "home");
//!     client.write_all(b"hi").await?;
//!     let start = time::now();
//!     let healed = home.scope(async {
//!         time::sleep(Duration::from_secs(600)).await;
//!         network.heal("shop", "home");
//!     });
//!     let mut bytes = [0; 2];
//!     let (_, read) = futures_lite::future::zip(healed, server.read_exact(&mut bytes)).await;
//!     read?;
//!     assert_eq!(&bytes, b"hi");
//!     assert!(time::now() - start >= Duration::from_secs(600));
//!     Ok::<_, io::Error>(())
//! })
//! # .unwrap();
//! ```
//!
//! Hosts have names, which are dialled like others. Code is on the host whose
//! [`scope`](Host::scope) or [`enter`](Host::enter) it was put in, with all that it starts, and else
//! on [`LOCALHOST`]; 127.0.0.1 is the host that one is on.
//!
//! Streams are modelled, and what may befall them; segments, their loss and their repetition are
//! not. A partition holds bytes up for as long as it lasts. Daemons and clients give a connection up as
//! their socket options say, with `TimedOut`; ends made by [`Network::connect`] and
//! [`Network::listen`] never do. Buffer sizes of the system have no effect.
//!
//! The same seed and the same program have the same events, unless something outside of the simulation has a
//! part in it. TLS draws its keys from the system, so that no two runs send the same bytes. They send as
//! many, if all that is signed has the same length: Ed25519 and RSA sign so, ECDSA does not, whose signatures
//! vary by some bytes. The certificates of a `TestCa` (feature `test-ca`) that is made in the universe
//! do.

mod backlog;
mod chunk;
mod connection;
mod dial;
mod event;
mod host;
mod hosts;
mod link;
mod listener;
mod state;
mod stream;
mod wakes;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    panic::Location,
    sync::Arc,
};

use crate::{context, inherit::enlist_main, universe::Universe};
use state::Net;

pub use connection::StreamTimeouts;
pub use event::{Event, EventKind, MAX_EVENTS};
pub use host::Host;
pub use hosts::LOCALHOST;
pub use link::{Link, WINDOW};
pub use listener::Listener;
pub use stream::Stream;

/// How many connections may wait for [`Listener::accept`], unless a listener says otherwise.
const BACKLOG: u32 = 1024;

/// The network of a simulated universe. Clones are handles to the same network.
///
/// Hosts are made when they are first named. See [`network`](self) for an example.
#[derive(Clone)]
pub struct Network {
    net: Arc<Net>,
}

impl Network {
    /// The network of the current universe; `None` where connections are real: in no universe, and
    /// in one that is not [simulated](Universe::simulated).
    #[must_use]
    pub fn current() -> Option<Self> {
        Some(Self {
            net: Net::current()?,
        })
    }

    /// The network of a universe; `None` if it is not [simulated](Universe::simulated).
    #[must_use]
    pub fn of(universe: &Universe) -> Option<Self> {
        universe.enter(Self::current)
    }

    /// The host of this name, made now if there was none.
    ///
    /// Code that was put on no host is on [`LOCALHOST`], 10.0.0.1. Those that are named later have
    /// the addresses that follow.
    #[must_use]
    pub fn host(&self, name: impl AsRef<str>) -> Host {
        let (name, number) = self.net.with(|state| {
            let number = state.hosts.introduce(name.as_ref());
            (state.hosts.name(number), number)
        });
        Host::new(Arc::clone(&self.net), name, number)
    }

    /// Sets the link between two hosts, or from a host to itself, for what is sent from now on.
    pub fn set_link(&self, a: impl AsRef<str>, b: impl AsRef<str>, link: Link) {
        self.between(a, b, |state, route| state.links.set(route, link));
    }

    /// Sets the link between all hosts, and from each to itself, that have none of their own.
    pub fn set_default_link(&self, link: Link) {
        self.net.with(|state| state.links.set_default(link));
    }

    /// Parts two hosts: from now on, nothing comes through.
    ///
    /// EventKind was sent and has not arrived is held, and so is what is sent until they are
    /// [healed](Self::heal). Who dials gets no answer.
    ///
    /// A warning comes if nobody has [named](Self::host) or been on one of them: it may be misspelt. So it
    /// is with [`heal`](Self::heal), [`black_hole`](Self::black_hole) and [`reset`](Self::reset).
    pub fn partition(&self, a: impl AsRef<str>, b: impl AsRef<str>) {
        self.afflict("partition", a, b, state::State::part);
    }

    /// Ends a [partition](Self::partition): what was held is sent on.
    pub fn heal(&self, a: impl AsRef<str>, b: impl AsRef<str>) {
        self.afflict("heal", a, b, state::State::heal);
    }

    /// Makes the two ends of all connections between two hosts lose each other, without a word to
    /// either: what they send from now on never arrives, nor does what is on its route.
    ///
    /// So ends a connection whose peer loses power, or that a firewall forgets. New connections
    /// are not affected.
    pub fn black_hole(&self, a: impl AsRef<str>, b: impl AsRef<str>) {
        self.afflict("black hole", a, b, |state, route| {
            for connection in state.between(route) {
                state.lose(connection);
            }
        });
    }

    /// Resets all connections between two hosts, at once: both ends fail with `ConnectionReset`,
    /// and what they have not read is lost.
    pub fn reset(&self, a: impl AsRef<str>, b: impl AsRef<str>) {
        self.afflict("reset", a, b, |state, route| {
            for connection in state.between(route) {
                state.reset(connection);
            }
        });
    }

    /// Refuses those who dial a port of a host, whoever listens there.
    pub fn refuse(&self, host: impl AsRef<str>, port: u16) {
        self.net.with(|state| {
            let host = state.hosts.find_or_make(host.as_ref());
            state.refusing.insert((host, port));
            state.wakes.dialling();
        });
    }

    /// Ends a [refusal](Self::refuse).
    pub fn stop_refusing(&self, host: impl AsRef<str>, port: u16) {
        self.net.with(|state| {
            let host = state.hosts.find_or_make(host.as_ref());
            state.refusing.remove(&(host, port));
        });
    }

    /// Makes the next `count` accepts on a port of a host fail with an error of the system, given
    /// by its number: 24 is `EMFILE` on Linux.
    ///
    /// Each fails when there is a connection to accept, which stays in the backlog.
    pub fn fail_accepts(&self, host: impl AsRef<str>, port: u16, code: i32, count: usize) {
        self.net.with(|state| {
            let host = state.hosts.find_or_make(host.as_ref());
            let failures = state.failures.entry((host, port)).or_default();
            failures.extend(std::iter::repeat_n(code, count));
        });
    }

    /// The connections that there are, those that wait to be accepted among them, oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection> {
        let all = self.net.with(|state| state.all());
        let connections = all.into_iter().map(|(id, [from, to])| Connection {
            network: self.clone(),
            id,
            from,
            to,
        });
        connections.collect()
    }

    /// Dials an address, from the host that the caller is on. For peers that say what they like;
    /// A library's own clients dial by themselves.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` after a round trip, if nobody listens there; `HostUnreachable` if no
    /// host has the address. Without an answer, it waits.
    ///
    /// # Cancel safety
    ///
    /// A connection that is not returned is dropped.
    #[track_caller]
    pub fn connect(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Stream>> + Send + use<'_> {
        let at = Location::caller();
        async move {
            let pending = enlist_main(format_args!("a pending connect to {address}"), at);
            let mut stream = self.dial(address).await?;
            drop(pending);
            let (local, peer) = (stream.local_addr(), stream.peer_addr());
            stream.enlist(format_args!("the connection from {local} to {peer}"), at);
            Ok(stream)
        }
    }

    /// Connects like [`connect`](Self::connect), without an entry in [`Universe::living`]: for libraries whose clients
    /// have one of their own.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn dial(&self, address: SocketAddr) -> io::Result<Stream> {
        self.net.dial(self.here(), address).await
    }

    /// Listens at an address of the host that the caller is on; port 0 means any free one.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if somebody listens there, or `AddrNotAvailable` if the address is not this
    /// host's.
    #[track_caller]
    pub fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        self.listen_with(address, BACKLOG)
    }

    /// As [`listen`](Self::listen), with room for so many that wait to be accepted.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    #[track_caller]
    pub fn listen_with(&self, address: SocketAddr, backlog: u32) -> io::Result<Listener> {
        let at = Location::caller();
        Ok(self.bind(address, backlog)?.enlist(at))
    }

    /// Listens like [`listen_with`](Self::listen_with), without an entry in [`Universe::living`]: for libraries whose
    /// servers have one of their own.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    pub fn bind(&self, address: SocketAddr, backlog: u32) -> io::Result<Listener> {
        self.net.listen(self.here(), address, backlog)
    }

    /// EventKind has happened so far, the last [`MAX_EVENTS`] of it.
    ///
    /// The same seed and the same program have the same events, over TLS too if what is signed always has
    /// the same length: see [`network`](self).
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.net.with(|state| state.log.events())
    }

    /// Returns the address of the host of this name.
    ///
    /// # Errors
    ///
    /// `NotFound`, if there is no such host.
    pub fn resolve(&self, name: &str) -> io::Result<IpAddr> {
        if name == LOCALHOST {
            return Ok(Ipv4Addr::LOCALHOST.into());
        }
        let host = self.net.with(|state| state.hosts.find(name));
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "there is no such host");
        Ok(hosts::v4(host.ok_or_else(unknown)?).into())
    }

    /// The number of the host that the caller is on.
    fn here(&self) -> usize {
        let name = context::host();
        let name = name.as_deref().unwrap_or(LOCALHOST);
        self.net.with(|state| state.hosts.introduce(name))
    }

    /// As [`between`](Self::between), for what is done to hosts, and is done to nobody if they are not
    /// there: a name that is misspelt makes a host.
    fn afflict<R>(
        &self,
        fault: &str,
        a: impl AsRef<str>,
        b: impl AsRef<str>,
        f: impl FnOnce(&mut state::State, link::Route) -> R,
    ) -> R {
        let (a, b) = (a.as_ref(), b.as_ref());
        let strangers = self.net.with(|state| {
            let names = [Some(a), (b != a).then_some(b)];
            names.map(|name| name.filter(|name| !state.hosts.is_introduced(name)))
        });
        for host in strangers.into_iter().flatten() {
            tracing::warn!(target: "test_universe", fault, host, "nobody has named this host or been on it");
        }
        self.between(a, b, f)
    }

    fn between<R>(
        &self,
        a: impl AsRef<str>,
        b: impl AsRef<str>,
        f: impl FnOnce(&mut state::State, link::Route) -> R,
    ) -> R {
        self.net.with(|state| {
            let a = state.hosts.find_or_make(a.as_ref());
            let b = state.hosts.find_or_make(b.as_ref());
            f(state, (a, b))
        })
    }
}

/// Handles are equal when they are handles to the same network.
impl PartialEq for Network {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.net, &other.net)
    }
}

impl Eq for Network {}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

/// A connection, as those see it who look at the network from outside. Made by
/// [`Network::connections`]; it keeps nothing open.
#[derive(Clone, Debug)]
pub struct Connection {
    network: Network,
    id: u64,
    from: SocketAddr,
    to: SocketAddr,
}

impl Connection {
    /// The address of the end that dialled.
    #[must_use]
    pub fn client_addr(&self) -> SocketAddr {
        self.from
    }

    /// The address that was dialled.
    #[must_use]
    pub fn server_addr(&self) -> SocketAddr {
        self.to
    }

    /// As [`Network::reset`], for this one.
    pub fn reset(&self) {
        self.network.net.with(|state| state.reset(self.id));
    }

    /// As [`Network::black_hole`], for this one.
    pub fn black_hole(&self) {
        self.network.net.with(|state| state.lose(self.id));
    }
}
