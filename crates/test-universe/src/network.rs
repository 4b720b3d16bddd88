//! The simulated network: hosts, ports, links and faults of a [`Universe`].
//!
//! Every [simulated](crate::Universe::simulated) universe has one. Listeners and clients in it reach each other only. Delays
//! use the universe's clock, and random decisions its seed.
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
//! Hosts have names, which can be resolved. Code runs on the host whose [`scope`](Host::scope) or [`enter`](Host::enter) it
//! is in, with all that it spawns, and else on [`LOCALHOST`]; 127.0.0.1 is the host that the code runs on.
//!
//! The network models streams and their faults, not segments, their loss or their retransmission. A partition delays bytes
//! as long as it lasts. Ends fail with `TimedOut` only if they have [timeouts](Stream::set_timeouts). Buffer sizes of the
//! system have no effect.
//!
//! The same seed and the same program have the same events, unless something outside of the simulation takes part. TLS draws
//! its keys from the system, so that no two runs send the same bytes. They send as many if all signatures have the same
//! length, as with Ed25519 and RSA; ECDSA signatures vary by some bytes.

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

/// The default backlog: how many connections may wait for [`Listener::accept`].
const BACKLOG: u32 = 1024;

/// The network of a simulated universe. Clones are handles to the same network.
///
/// Hosts are created when they are first named. See [`network`](self) for an example.
#[derive(Clone)]
pub struct Network {
    net: Arc<Net>,
}

impl Network {
    /// Returns the network of the current universe; `None` in no universe, and in one that is not
    /// [simulated](Universe::simulated).
    #[must_use]
    pub fn current() -> Option<Self> {
        Some(Self {
            net: Net::current()?,
        })
    }

    /// Returns the network of a universe; `None` if it is not [simulated](Universe::simulated).
    #[must_use]
    pub fn of(universe: &Universe) -> Option<Self> {
        universe.enter(Self::current)
    }

    /// Returns the host of this name, and creates it if it does not exist.
    ///
    /// Code runs on [`LOCALHOST`], 10.0.0.1, by default. Hosts that are created later have the following addresses.
    #[must_use]
    pub fn host(&self, name: impl AsRef<str>) -> Host {
        let (name, number) = self.net.with(|state| {
            let number = state.hosts.use_or_create(name.as_ref());
            (state.hosts.name(number), number)
        });
        Host::new(Arc::clone(&self.net), name, number)
    }

    /// Sets the link between two hosts, or from a host to itself, for data that is sent from now on.
    pub fn set_link(&self, a: impl AsRef<str>, b: impl AsRef<str>, link: Link) {
        self.between(a, b, |state, route| state.links.set(route, link));
    }

    /// Sets the link of all pairs of hosts that have none of their own, and of each host to itself.
    pub fn set_default_link(&self, link: Link) {
        self.net.with(|state| state.links.set_default(link));
    }

    /// Partitions two hosts: nothing is delivered between them.
    ///
    /// Data in flight, and what is sent meanwhile, is delivered after the partition is [healed](Self::heal). A connect waits.
    ///
    /// A warning is logged if one of the names is unknown, since it may be misspelt. The same holds for
    /// [`heal`](Self::heal), [`black_hole`](Self::black_hole) and [`reset`](Self::reset).
    pub fn partition(&self, a: impl AsRef<str>, b: impl AsRef<str>) {
        self.inject("partition", a, b, state::State::partition);
    }

    /// Ends a [partition](Self::partition): what was held back is delivered.
    pub fn heal(&self, a: impl AsRef<str>, b: impl AsRef<str>) {
        self.inject("heal", a, b, state::State::heal);
    }

    /// Turns all connections between two hosts into black holes: what is sent from now on, and what is in flight, is lost
    /// silently.
    ///
    /// This is a peer that loses power, or a firewall that forgets its connections. New connections are not affected.
    pub fn black_hole(&self, a: impl AsRef<str>, b: impl AsRef<str>) {
        self.inject("black hole", a, b, |state, route| {
            for connection in state.between(route) {
                state.black_hole(connection);
            }
        });
    }

    /// Resets all connections between two hosts at once: both ends fail with `ConnectionReset`, and unread data is lost.
    pub fn reset(&self, a: impl AsRef<str>, b: impl AsRef<str>) {
        self.inject("reset", a, b, |state, route| {
            for connection in state.between(route) {
                state.reset(connection);
            }
        });
    }

    /// Refuses connections to a port of a host, even if there is a listener.
    pub fn refuse(&self, host: impl AsRef<str>, port: u16) {
        self.net.with(|state| {
            let host = state.hosts.find_or_create(host.as_ref());
            state.refusing.insert((host, port));
            state.wakes.dialling();
        });
    }

    /// Ends [`refuse`](Self::refuse).
    pub fn stop_refusing(&self, host: impl AsRef<str>, port: u16) {
        self.net.with(|state| {
            let host = state.hosts.find_or_create(host.as_ref());
            state.refusing.remove(&(host, port));
        });
    }

    /// Makes the next `count` accepts on a port of a host fail with this OS error: 24 is `EMFILE` on Linux.
    ///
    /// Each fails when there is a connection to accept, which stays in the backlog.
    pub fn fail_accepts(&self, host: impl AsRef<str>, port: u16, code: i32, count: usize) {
        self.net.with(|state| {
            let host = state.hosts.find_or_create(host.as_ref());
            let failures = state.failures.entry((host, port)).or_default();
            failures.extend(std::iter::repeat_n(code, count));
        });
    }

    /// Returns the open connections, oldest first, including those in a backlog.
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

    /// Connects to an address from the caller's host.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` after a round trip, if there is no listener; `HostUnreachable` if no host has the address. Without
    /// an answer, as during a partition or with a full backlog, it waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
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

    /// Connects like [`connect`](Self::connect), without an entry in [`Universe::live_resources`]: for libraries whose
    /// clients have one of their own.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn dial(&self, address: SocketAddr) -> io::Result<Stream> {
        self.net.dial(self.here(), address).await
    }

    /// Listens on an address of the caller's host; port 0 selects a free port.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if there is a listener, or `AddrNotAvailable` if the address is not the host's.
    #[track_caller]
    pub fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        self.listen_with(address, BACKLOG)
    }

    /// Listens like [`listen`](Self::listen), with this backlog: how many connections may wait to be accepted.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    #[track_caller]
    pub fn listen_with(&self, address: SocketAddr, backlog: u32) -> io::Result<Listener> {
        let at = Location::caller();
        Ok(self.bind(address, backlog)?.enlist(at))
    }

    /// Listens like [`listen_with`](Self::listen_with), without an entry in [`Universe::live_resources`]: for libraries whose
    /// servers have one of their own.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    pub fn bind(&self, address: SocketAddr, backlog: u32) -> io::Result<Listener> {
        self.net.listen(self.here(), address, backlog)
    }

    /// Returns the newest [`MAX_EVENTS`] events, oldest first.
    ///
    /// The same seed and the same program have the same events. See [`network`](self) about TLS.
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

    /// The number of the caller's host.
    fn here(&self) -> usize {
        let name = context::host();
        let name = name.as_deref().unwrap_or(LOCALHOST);
        self.net.with(|state| state.hosts.use_or_create(name))
    }

    /// Runs `f` for a pair of hosts like [`between`](Self::between), with a warning for unknown names.
    fn inject<R>(
        &self,
        fault: &str,
        a: impl AsRef<str>,
        b: impl AsRef<str>,
        f: impl FnOnce(&mut state::State, link::Route) -> R,
    ) -> R {
        let (a, b) = (a.as_ref(), b.as_ref());
        let unknown = self.net.with(|state| {
            let names = [Some(a), (b != a).then_some(b)];
            names.map(|name| name.filter(|name| !state.hosts.is_known(name)))
        });
        for host in unknown.into_iter().flatten() {
            tracing::warn!(target: "test_universe", fault, host, "a fault concerns a host that was never named or used");
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
            let a = state.hosts.find_or_create(a.as_ref());
            let b = state.hosts.find_or_create(b.as_ref());
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

/// A connection of a network, for injecting faults. It does not keep the connection open.
///
/// Returned by [`Network::connections`].
#[derive(Clone, Debug)]
pub struct Connection {
    network: Network,
    id: u64,
    from: SocketAddr,
    to: SocketAddr,
}

impl Connection {
    /// Returns the address of the connecting end.
    #[must_use]
    pub fn client_addr(&self) -> SocketAddr {
        self.from
    }

    /// Returns the address of the listening end.
    #[must_use]
    pub fn server_addr(&self) -> SocketAddr {
        self.to
    }

    /// Resets this connection, as [`Network::reset`] does.
    pub fn reset(&self) {
        self.network.net.with(|state| state.reset(self.id));
    }

    /// Turns this connection into a black hole, as [`Network::black_hole`] does.
    pub fn black_hole(&self) {
        self.network.net.with(|state| state.black_hole(self.id));
    }
}
