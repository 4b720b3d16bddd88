//! Listeners, and the connections in their backlogs.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    panic::Location,
    sync::Arc,
    time::Instant,
};

use event_listener::Event;
use futures_lite::FutureExt as _;

use super::{
    backlog::Backlog,
    connection::Connection,
    event::EventKind,
    hosts,
    link::Due,
    state::{Net, State},
    stream::Stream,
};
use crate::{
    inherit::{enlist_main, enlist_owned},
    resources::Entry,
    sim::Timer,
};

/// A listener on a port of a simulated [`Network`](crate::Network), until it is dropped.
///
/// Returned by [`Network::listen`](crate::Network::listen).
pub struct Listener {
    net: Arc<Net>,
    id: u64,
    address: SocketAddr,
    event: Arc<Event>,
    /// `None`: neither the listener nor its connections are listed.
    entry: Option<Entry>,
}

impl Listener {
    /// Returns the address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Waits for a connection, and returns it with the address of the client.
    ///
    /// # Errors
    ///
    /// Those of [`Network::fail_accepts`](crate::Network::fail_accepts), when there is a connection to accept. It stays in the
    /// backlog.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost: one that is not returned stays in the backlog.
    #[track_caller]
    pub fn accept(
        &self,
    ) -> impl Future<Output = io::Result<(Stream, SocketAddr)>> + Send + use<'_> {
        let at = Location::caller();
        async move {
            let pending = enlist_main(format_args!("a pending accept"), at);
            let mut stream = self.next().await?;
            drop(pending);
            let (local, peer) = (stream.local_addr(), stream.peer_addr());
            if self.entry.is_some() {
                let what = format_args!("the accepted connection from {peer} to {local}");
                stream.enlist(what, at);
            }
            Ok((stream, peer))
        }
    }

    async fn next(&self) -> io::Result<Stream> {
        loop {
            let arrived = self.event.listen();
            match self.net.with(|state| state.accept(self.id)) {
                Next::Failure(code) => return Err(io::Error::from_raw_os_error(code)),
                Next::Connection(id, local, peer) => {
                    return Ok(Stream::new(&self.net, (id, 1), (local, peer)));
                }
                Next::At(at) => {
                    let mut timer = Timer::new(Arc::clone(&self.net.sim), at);
                    arrived.or(poll_fn(|cx| timer.poll(cx))).await;
                }
                Next::None => arrived.await,
            }
        }
    }
}

impl Listener {
    /// Lists it, and what it accepts from now on, among the live resources.
    pub(super) fn enlist(mut self, at: &'static Location<'static>) -> Self {
        let what = format_args!("the listener at {}", self.address);
        self.entry = Some(enlist_owned(what, at));
        self
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.net.with(|state| state.stop_listening(self.id));
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.address).finish()
    }
}

/// What a listener does next.
enum Next {
    Failure(i32),
    Connection(u64, SocketAddr, SocketAddr),
    /// A connection will be established at this time.
    At(Instant),
    None,
}

/// The answer to a request for a connection.
pub(super) enum Answer {
    /// This listener has reserved a slot in its backlog.
    Reserved(u64),
    Refused,
    /// The backlog is full.
    Dropped,
}

impl Net {
    pub(super) fn listen(
        self: &Arc<Self>,
        host: usize,
        address: SocketAddr,
        backlog: u32,
    ) -> io::Result<Listener> {
        let event = Arc::new(Event::new());
        let (id, address) =
            self.with(|state| state.listen(host, address, backlog, Arc::clone(&event)))?;
        Ok(Listener {
            net: Arc::clone(self),
            id,
            address,
            event,
            entry: None,
        })
    }
}

impl State {
    fn listen(
        &mut self,
        host: usize,
        mut address: SocketAddr,
        backlog: u32,
        event: Arc<Event>,
    ) -> io::Result<(u64, SocketAddr)> {
        hosts::check_bind(address.ip(), host)?;
        if address.port() == 0 {
            let port = self.free_port(host);
            address.set_port(port.ok_or(io::ErrorKind::AddrInUse)?);
        }
        let ip = address.ip();
        let is_taken = self.listeners_on(host, address.port()).any(|(_, other)| {
            let other = other.address.ip();
            hosts::covers(ip, other) || hosts::covers(other, ip)
        });
        if is_taken {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let id = self.next_id();
        let listening = Backlog {
            host,
            address,
            // As on Linux, there is at least one slot.
            backlog: usize::try_from(backlog).unwrap_or(usize::MAX).max(1),
            reserved: 0,
            waiting: VecDeque::new(),
            event,
        };
        self.listeners.insert(id, listening);
        self.log(EventKind::Listening(address));
        Ok((id, address))
    }

    /// A port of `host` without a listener or a connecting end.
    pub(super) fn free_port(&mut self, host: usize) -> Option<u16> {
        let Self {
            hosts, listeners, ..
        } = self;
        let taken = listeners.values().filter(|it| it.host == host);
        hosts.free_port(host, |port| {
            taken.clone().any(|it| it.address.port() == port)
        })
    }

    fn listeners_on(&self, host: usize, port: u16) -> impl Iterator<Item = (u64, &Backlog)> {
        let all = self.listeners.iter().map(|(&id, it)| (id, it));
        all.filter(move |(_, it)| it.host == host && it.address.port() == port)
    }

    fn stop_listening(&mut self, id: u64) {
        let listening = self.listeners.remove(&id);
        let listening = listening.expect("a listener is there until it is dropped");
        for connection in listening.waiting {
            self.drop_end((connection, 1), true);
        }
        self.log(EventKind::Unbound(listening.address));
        // Pending connects do not wait for a slot any more.
        self.wakes.dialling();
    }

    fn accept(&mut self, id: u64) -> Next {
        let now = self.sim.now();
        let listening = self.listeners.get_mut(&id);
        let listening = listening.expect("a listener is there until it is dropped");
        let dues = listening
            .waiting
            .iter()
            .map(|id| self.connections[id].established);
        let dues = dues.enumerate();
        let Some((slot, at)) = dues
            .filter_map(|(slot, due)| Some((slot, due.time()?)))
            .min_by_key(|&(_, at)| at)
        else {
            return Next::None;
        };
        if at > now {
            return Next::At(at);
        }
        let address = listening.address;
        let failures = self.failures.get_mut(&(listening.host, address.port()));
        if let Some(code) = failures.and_then(VecDeque::pop_front) {
            self.log(EventKind::AcceptFailed(address, code));
            return Next::Failure(code);
        }
        let connection = listening.waiting.remove(slot);
        let connection = connection.expect("it has just been found there");
        let (local, peer) = self.connections[&connection].seen_from(1);
        self.log(EventKind::Accepted(local, peer));
        self.wakes.dialling();
        Next::Connection(connection, local, peer)
    }

    /// Requests a connection to a port of `host`.
    pub(super) fn request(&mut self, host: usize, to: SocketAddr) -> Answer {
        if self.refusing.contains(&(host, to.port())) {
            return Answer::Refused;
        }
        let covers = |ip: IpAddr| hosts::covers(ip, to.ip());
        let found = self
            .listeners_on(host, to.port())
            .find(|(_, it)| covers(it.address.ip()));
        let Some((id, _)) = found else {
            return Answer::Refused;
        };
        let listening = self.listeners.get_mut(&id).expect("it has just been found");
        if listening.waiting.len() + listening.reserved >= listening.backlog {
            return Answer::Dropped;
        }
        listening.reserved += 1;
        Answer::Reserved(id)
    }

    /// Releases a slot in the backlog.
    pub(super) fn release_slot(&mut self, listener: u64) {
        if let Some(listening) = self.listeners.get_mut(&listener) {
            listening.reserved -= 1;
            self.wakes.dialling();
        }
    }

    /// Puts a connection into its slot of the backlog. `None` if the listener was dropped.
    pub(super) fn establish(
        &mut self,
        listener: u64,
        from: (usize, SocketAddr),
        to: (usize, SocketAddr),
    ) -> Option<u64> {
        let id = self.next_id();
        let listening = self.listeners.get_mut(&listener)?;
        let mut connection = Connection::new(from, to);
        connection.send_established(&mut self.links, &self.sim);
        debug_assert_ne!(connection.established, Due::Never);
        listening.reserved -= 1;
        listening.waiting.push_back(id);
        self.wakes.listener(&listening.event);
        self.connections.insert(id, connection);
        self.log(EventKind::Connected(from.1, to.1));
        Some(id)
    }
}
