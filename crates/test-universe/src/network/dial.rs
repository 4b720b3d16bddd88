//! Connecting.
//!
//! ```text
//! client                              listening host
//!     | -------- SYN ---------------------> |        no listener: refused
//!     | <------- SYN-ACK ------------------ |        a slot in the backlog is reserved
//! connected                                 |        the backlog is full: no answer
//!     | -------- ACK ---------------------> |
//!     | -------- bytes, from now on ------> | accepted
//! ```

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc};

use super::{event::EventKind, hosts, link::Route, listener::Answer, state::Net, stream::Stream};
use crate::sim::Timer;

impl Net {
    /// Connects the host `here` to an address. Waits while the two hosts are partitioned or the backlog is full.
    pub(super) async fn dial(self: &Arc<Self>, here: usize, to: SocketAddr) -> io::Result<Stream> {
        let to = SocketAddr::new(hosts::target(to.ip()), to.port());
        let there = self.with(|state| state.hosts.at(to.ip(), here));
        let there = there.ok_or(io::ErrorKind::HostUnreachable)?;
        let mut port = Port::new(self, here)?;
        let from = SocketAddr::new(hosts::source(to.ip(), here), port.number);
        self.with(|state| state.log(EventKind::Connecting(from, to)));
        self.travel((here, there)).await;
        let Some(mut slot) = self.request(there, from, to).await else {
            self.travel((there, here)).await;
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        self.travel((there, here)).await;
        let ends = ((here, from), (there, to));
        let connection = self.with(|state| state.establish(slot.listener, ends.0, ends.1));
        let connection = connection.ok_or(io::ErrorKind::ConnectionRefused)?;
        slot.taken = true;
        port.taken = true;
        Ok(Stream::new(self, (connection, 0), (from, to)))
    }

    /// Waits for the answer of the host. `None`: it refuses.
    async fn request(
        self: &Arc<Self>,
        there: usize,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<BacklogSlot> {
        let mut logged = false;
        loop {
            let changed = self.changed.listen();
            let answer = self.with(|state| {
                let answer = state.request(there, to);
                match answer {
                    Answer::Refused => state.log(EventKind::Refused(to, from)),
                    Answer::Dropped if !logged => state.log(EventKind::BacklogFull(to, from)),
                    Answer::Dropped | Answer::Reserved(_) => {}
                }
                answer
            });
            match answer {
                Answer::Reserved(listener) => {
                    return Some(BacklogSlot {
                        net: Arc::clone(self),
                        listener,
                        taken: false,
                    });
                }
                Answer::Refused => return None,
                Answer::Dropped => logged = true,
            }
            changed.await;
        }
    }

    /// Waits as long as a control packet takes.
    async fn travel(&self, route: Route) {
        loop {
            let healed = self.changed.listen();
            let at = self.with(|state| state.links.send_control(route, &state.sim).time());
            let Some(at) = at else {
                healed.await;
                continue;
            };
            let mut timer = Timer::new(Arc::clone(&self.sim), at);
            poll_fn(|cx| timer.poll(cx)).await;
            if !self.with(|state| state.links.are_partitioned(route)) {
                return;
            }
        }
    }
}

/// The local port of a connecting end.
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
            self.net
                .with(|state| state.hosts.release_port(host, number));
        }
    }
}

/// A reserved slot in a backlog.
struct BacklogSlot {
    net: Arc<Net>,
    listener: u64,
    taken: bool,
}

impl Drop for BacklogSlot {
    fn drop(&mut self) {
        if !self.taken {
            self.net.with(|state| state.release_slot(self.listener));
        }
    }
}
