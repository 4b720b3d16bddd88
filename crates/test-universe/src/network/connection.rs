//! A connection: two ends, and the data in flight to each.
//!
//! ```text
//! write --> [bytes, due] [bytes, due] [end of stream, due] --> read
//! ```
//!
//! No task carries the data. Each chunk is given the time at which it is due when it is sent, or several for its parts, and
//! the reader waits for that time. A partition takes the times away, and healing it gives new ones.

mod operations;

use std::{
    collections::VecDeque,
    io, mem,
    net::SocketAddr,
    task::Waker,
    time::{Duration, Instant},
};

use super::{
    chunk::Chunk,
    link::{Arrival, Due, Links, Route},
    wakes::Wakes,
};
use crate::sim::Sim;

pub(super) struct Connection {
    /// The connecting end, and the accepted one.
    ends: [End; 2],
    /// What is sent is lost.
    black_hole: bool,
    /// Since when nothing is delivered, because it is a black hole or its hosts are partitioned.
    silent: Option<Instant>,
    /// When the listener receives the last packet of the TCP handshake.
    pub(super) established: Due,
}

struct End {
    host: usize,
    address: SocketAddr,
    incoming: VecDeque<Chunk>,
    /// The bytes of `incoming`.
    unread: usize,
    /// When it receives a reset.
    reset: Due,
    /// Its sending half is closed.
    closed: bool,
    dropped: bool,
    timeouts: StreamTimeouts,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// After how long an end of a connection fails with `TimedOut`, while nothing is delivered. Default: never.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamTimeouts {
    /// After it has sent data that was not delivered, like `TCP_USER_TIMEOUT`.
    pub user_timeout: Option<Duration>,
    /// After the last delivery, like TCP keepalive with its probes.
    pub keepalive: Option<Duration>,
}

/// The result of an operation.
pub(super) enum Step<T> {
    Done(io::Result<T>),
    /// Wait to be woken, but no longer than until this time.
    Wait(Option<Instant>),
}

impl Connection {
    pub(super) fn new(from: (usize, SocketAddr), to: (usize, SocketAddr)) -> Self {
        let end = |(host, address)| End {
            host,
            address,
            incoming: VecDeque::new(),
            unread: 0,
            reset: Due::Never,
            closed: false,
            dropped: false,
            timeouts: StreamTimeouts::default(),
            reader: None,
            writer: None,
        };
        Self {
            ends: [end(from), end(to)],
            black_hole: false,
            silent: None,
            established: Due::Never,
        }
    }

    /// Sends the last packet of the TCP handshake, before anything else.
    pub(super) fn send_established(&mut self, links: &mut Links, sim: &Sim) {
        let route = self.route(0);
        self.established = links.send_control(route, sim);
    }

    pub(super) fn addresses(&self) -> [SocketAddr; 2] {
        [self.ends[0].address, self.ends[1].address]
    }

    /// The addresses of an end and of its peer.
    pub(super) fn seen_from(&self, side: usize) -> (SocketAddr, SocketAddr) {
        (self.ends[side].address, self.ends[1 - side].address)
    }

    /// The route of the data that an end sends.
    pub(super) fn route(&self, side: usize) -> Route {
        (self.ends[side].host, self.ends[1 - side].host)
    }

    pub(super) fn is_between(&self, (a, b): Route) -> bool {
        self.route(0) == (a, b) || self.route(0) == (b, a)
    }

    pub(super) fn hold(&mut self, now: Instant, wakes: &mut Wakes) {
        self.silent.get_or_insert(now);
        self.established.hold(now);
        for end in &mut self.ends {
            // A pending operation starts its timeouts.
            end.wake(wakes);
            end.reset.hold(now);
            let incoming = mem::take(&mut end.incoming).into_iter();
            end.incoming = incoming.flat_map(|it| it.hold(now)).flatten().collect();
        }
    }

    /// Delivers what was held back.
    pub(super) fn release(&mut self, links: &mut Links, sim: &Sim, wakes: &mut Wakes) {
        if !self.black_hole {
            self.silent = None;
        }
        if self.established == Due::Held {
            self.send_established(links, sim);
        }
        for side in [0, 1] {
            let route = self.route(1 - side);
            let end = &mut self.ends[side];
            for chunk in &mut end.incoming {
                if chunk.arrival.due == Due::Held {
                    chunk.arrival = links.send(route, chunk.len(), sim);
                }
            }
            if end.reset == Due::Held {
                end.reset = links.send_control(route, sim);
            }
        }
        for side in [0, 1] {
            self.reset_if_dropped(side, links, sim);
            self.ends[side].wake(wakes);
        }
    }

    pub(super) fn reset(&mut self, now: Instant, wakes: &mut Wakes) {
        for end in &mut self.ends {
            end.reset = Due::At(now);
            end.wake(wakes);
        }
    }

    /// The listener still receives the handshake: no connection stays in a backlog for ever.
    pub(super) fn black_hole(&mut self, now: Instant, wakes: &mut Wakes) {
        let established = self.established;
        self.hold(now, wakes);
        self.established = established;
        self.black_hole = true;
        for end in &mut self.ends {
            let chunks = end.incoming.iter_mut().map(|it| &mut it.arrival.due);
            for due in chunks.chain([&mut end.reset]) {
                if *due == Due::Held {
                    *due = Due::Never;
                }
            }
        }
    }

    /// Sends data to the other end.
    fn send(&mut self, side: usize, bytes: Vec<u8>, links: &mut Links, sim: &Sim) {
        let route = self.route(side);
        let peer = &mut self.ends[1 - side];
        let arrival = match self.black_hole {
            true => Arrival::whole(Due::Never),
            false => links.send(route, bytes.len(), sim),
        };
        peer.unread += bytes.len();
        let chunk = Chunk::new(sim.now(), arrival, bytes);
        peer.incoming.push_back(chunk);
    }

    /// Sends a reset to the other end.
    fn send_reset(&mut self, side: usize, not_before: Instant, links: &mut Links, sim: &Sim) {
        let route = self.route(side);
        let peer = &mut self.ends[1 - side];
        if self.black_hole || peer.reset.time().is_some() {
            return;
        }
        peer.reset = match links.are_partitioned(route) {
            true => Due::Held,
            false => Due::after(not_before.max(sim.now()), links.latency(route, sim)),
        };
    }

    /// When the timeouts of an end fire, if nothing is delivered before.
    fn times_out_at(&self, side: usize) -> Option<Instant> {
        let silent = self.silent?;
        let StreamTimeouts {
            user_timeout,
            keepalive,
        } = self.ends[side].timeouts;
        let in_flight = |chunk: &&Chunk| chunk.arrival.due.time().is_none();
        let sent = self.ends[1 - side].incoming.iter().find(in_flight);
        let user_timeout = sent.and_then(|it| it.sent.max(silent).checked_add(user_timeout?));
        let keepalive = keepalive.and_then(|limit| silent.checked_add(limit));
        [user_timeout, keepalive].into_iter().flatten().min()
    }

    fn has_timed_out(&self, side: usize, now: Instant) -> bool {
        self.times_out_at(side).is_some_and(|at| at <= now)
    }

    /// Answers bytes that arrive at a dropped end with a reset.
    fn reset_if_dropped(&mut self, side: usize, links: &mut Links, sim: &Sim) {
        let end = &mut self.ends[side];
        if !end.dropped {
            return;
        }
        let arrives = end.incoming.iter().find(|chunk| !chunk.is_end());
        if let Some(at) = arrives.and_then(|it| it.arrival.next(sim.now())) {
            end.incoming.clear();
            end.unread = 0;
            self.send_reset(side, at, links, sim);
        }
    }
}

impl End {
    fn wake(&mut self, wakes: &mut Wakes) {
        wakes.wake(&mut self.reader);
        wakes.wake(&mut self.writer);
    }

    /// Reads what has arrived into `room`.
    fn take(&mut self, mut room: &mut [u8], now: Instant) -> usize {
        let mut taken = 0;
        while let Some(chunk) = self.incoming.front_mut()
            && !chunk.is_end()
            && !room.is_empty()
        {
            let count = chunk.take(room, now);
            room = &mut room[count..];
            taken += count;
            if !chunk.is_read() {
                break;
            }
            self.incoming.pop_front();
        }
        self.unread -= taken;
        taken
    }

    /// When the next data or reset arrives.
    fn next(&self, now: Instant) -> Option<Instant> {
        let chunk = self.incoming.front().and_then(|it| it.arrival.next(now));
        [chunk, self.reset.time()].into_iter().flatten().min()
    }
}
