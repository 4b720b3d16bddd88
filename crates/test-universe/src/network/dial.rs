//! How a connection comes about.
//!
//! ```text
//! dialling end                        listening host
//!     | -------- may I? ------------------> |        nobody listens: refused
//!     | <------- you may ------------------ |        a place in the backlog is kept
//! connected                                 |        the backlog is full: no answer
//!     | -------- hello -------------------> |
//!     | -------- bytes, from now on ------> | accepted
//! ```

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc};

use super::{event::EventKind, hosts, link::Route, listener::Answer, state::Net, stream::Stream};
use crate::sim::Timer;

impl Net {
    /// Connects `here` to an address. Gets no answer, and waits, while the two hosts are parted or
    /// the backlog is full.
    pub(super) async fn dial(self: &Arc<Self>, here: usize, to: SocketAddr) -> io::Result<Stream> {
        let to = SocketAddr::new(hosts::target(to.ip()), to.port());
        let there = self.with(|state| state.hosts.at(to.ip(), here));
        let there = there.ok_or(io::ErrorKind::HostUnreachable)?;
        let mut port = Port::new(self, here)?;
        let from = SocketAddr::new(hosts::source(to.ip(), here), port.number);
        self.with(|state| state.log(EventKind::Connecting(from, to)));
        self.travel((here, there)).await;
        let Some(mut place) = self.knock(there, from, to).await else {
            self.travel((there, here)).await;
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        self.travel((there, here)).await;
        let ends = ((here, from), (there, to));
        let connection = self.with(|state| state.establish(place.listener, ends.0, ends.1));
        let connection = connection.ok_or(io::ErrorKind::ConnectionRefused)?;
        place.taken = true;
        port.taken = true;
        Ok(Stream::new(self, (connection, 0), (from, to)))
    }

    /// Waits until the host has an answer. `None`: it refuses.
    async fn knock(
        self: &Arc<Self>,
        there: usize,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<Place> {
        let mut told = false;
        loop {
            let changed = self.changed.listen();
            let answer = self.with(|state| {
                let answer = state.knock(there, to);
                match answer {
                    Answer::Refused => state.log(EventKind::Refused(to, from)),
                    Answer::Silence if !told => state.log(EventKind::BacklogFull(to, from)),
                    Answer::Silence | Answer::Welcome(_) => {}
                }
                answer
            });
            match answer {
                Answer::Welcome(listener) => {
                    return Some(Place {
                        net: Arc::clone(self),
                        listener,
                        taken: false,
                    });
                }
                Answer::Refused => return None,
                Answer::Silence => told = true,
            }
            changed.await;
        }
    }

    /// Waits as long as a word takes this route.
    async fn travel(&self, route: Route) {
        loop {
            let healed = self.changed.listen();
            let at = self.with(|state| state.links.send_word(route, &state.sim).time());
            let Some(at) = at else {
                healed.await;
                continue;
            };
            let mut timer = Timer::new(Arc::clone(&self.sim), at);
            poll_fn(|cx| timer.poll(cx)).await;
            if !self.with(|state| state.links.are_parted(route)) {
                return;
            }
        }
    }
}

/// A port that a connection is dialled from.
struct Port<'a> {
    net: &'a Net,
    host: usize,
    number: u16,
    taken: bool,
}

impl<'a> Port<'a> {
    fn new(net: &'a Net, host: usize) -> io::Result<Self> {
        let number = net.with(|state| {
            let port = state.free_port(host)?;
            state.hosts.take_port(host, port);
            Some(port)
        });
        Ok(Self {
            net,
            host,
            number: number.ok_or(io::ErrorKind::AddrNotAvailable)?,
            taken: false,
        })
    }
}

impl Drop for Port<'_> {
    fn drop(&mut self) {
        if !self.taken {
            let Self { host, number, .. } = *self;
            self.net.with(|state| state.hosts.give_back(host, number));
        }
    }
}

/// A place in a backlog that is kept for one who was told so.
struct Place {
    net: Arc<Net>,
    listener: u64,
    taken: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.taken {
            self.net.with(|state| state.give_up(self.listener));
        }
    }
}
