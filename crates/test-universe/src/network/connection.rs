//! A connection: two ends, and what is on its route to each.
//!
//! ```text
//! write --> [bytes, due] [bytes, due] [end, due] --> read
//! ```
//!
//! Nobody carries chunks about. Each is given the time at which it is due when it is sent, or several
//! for its parts, and whoever reads waits for that time. A partition takes the times away, and healing
//! gives new ones.

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
    /// The dialling one, and the one that was accepted.
    ends: [End; 2],
    /// Nothing that is sent arrives.
    lost: bool,
    /// Since when nothing comes through, if so: it is lost, or its hosts are parted.
    silent: Option<Instant>,
    /// When the listening host learns that there is a connection.
    pub(super) hello: Due,
}

struct End {
    host: usize,
    address: SocketAddr,
    incoming: VecDeque<Chunk>,
    /// The bytes of `incoming`.
    unread: usize,
    /// When it learns that the connection was reset.
    reset: Due,
    /// It sends nothing more.
    closed: bool,
    dropped: bool,
    timeouts: StreamTimeouts,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// How long an end believes in its peer when nothing comes through.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamTimeouts {
    /// After it has sent something.
    pub user_timeout: Option<Duration>,
    /// After it has heard something.
    pub keepalive: Option<Duration>,
}

/// EventKind an end has to do.
pub(super) enum Step<T> {
    Done(io::Result<T>),
    /// Wait, for this time at the latest.
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
            lost: false,
            silent: None,
            hello: Due::Never,
        }
    }

    /// Sends the word that there is a connection, before anything else.
    pub(super) fn greet(&mut self, links: &mut Links, sim: &Sim) {
        let route = self.route(0);
        self.hello = links.send_word(route, sim);
    }

    pub(super) fn addresses(&self) -> [SocketAddr; 2] {
        [self.ends[0].address, self.ends[1].address]
    }

    /// The addresses of an end and of its peer.
    pub(super) fn seen_from(&self, side: usize) -> (SocketAddr, SocketAddr) {
        (self.ends[side].address, self.ends[1 - side].address)
    }

    /// The route of what an end sends.
    pub(super) fn route(&self, side: usize) -> Route {
        (self.ends[side].host, self.ends[1 - side].host)
    }

    pub(super) fn is_between(&self, (a, b): Route) -> bool {
        self.route(0) == (a, b) || self.route(0) == (b, a)
    }

    pub(super) fn hold(&mut self, now: Instant, wakes: &mut Wakes) {
        self.silent.get_or_insert(now);
        self.hello.hold(now);
        for end in &mut self.ends {
            // Those who wait have their timeouts to measure.
            end.wake(wakes);
            end.reset.hold(now);
            let incoming = mem::take(&mut end.incoming).into_iter();
            end.incoming = incoming.flat_map(|it| it.hold(now)).flatten().collect();
        }
    }

    /// Sends on what was held.
    pub(super) fn release(&mut self, links: &mut Links, sim: &Sim, wakes: &mut Wakes) {
        if !self.lost {
            self.silent = None;
        }
        if self.hello == Due::Held {
            self.greet(links, sim);
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
                end.reset = links.send_word(route, sim);
            }
        }
        for side in [0, 1] {
            self.bounce(side, links, sim);
            self.ends[side].wake(wakes);
        }
    }

    pub(super) fn reset(&mut self, now: Instant, wakes: &mut Wakes) {
        for end in &mut self.ends {
            end.reset = Due::At(now);
            end.wake(wakes);
        }
    }

    /// The listening host has heard of the connection, or will: nobody waits in a backlog for ever.
    pub(super) fn lose(&mut self, now: Instant, wakes: &mut Wakes) {
        let hello = self.hello;
        self.hold(now, wakes);
        self.hello = hello;
        self.lost = true;
        for end in &mut self.ends {
            let chunks = end.incoming.iter_mut().map(|it| &mut it.arrival.due);
            for due in chunks.chain([&mut end.reset]) {
                if *due == Due::Held {
                    *due = Due::Never;
                }
            }
        }
    }

    /// Puts something on its route to the other end.
    fn send(&mut self, side: usize, bytes: Vec<u8>, links: &mut Links, sim: &Sim) {
        let route = self.route(side);
        let peer = &mut self.ends[1 - side];
        let arrival = match self.lost {
            true => Arrival::whole(Due::Never),
            false => links.send(route, bytes.len(), sim),
        };
        peer.unread += bytes.len();
        let chunk = Chunk::new(sim.now(), arrival, bytes);
        peer.incoming.push_back(chunk);
    }

    /// Tells the other end that the connection is reset, on the route from this one.
    fn send_reset(&mut self, side: usize, not_before: Instant, links: &mut Links, sim: &Sim) {
        let route = self.route(side);
        let peer = &mut self.ends[1 - side];
        if self.lost || peer.reset.time().is_some() {
            return;
        }
        peer.reset = match links.are_parted(route) {
            true => Due::Held,
            false => Due::after(not_before.max(sim.now()), links.latency(route, sim)),
        };
    }

    /// When an end gives its peer up, as things stand.
    fn gives_up(&self, side: usize) -> Option<Instant> {
        let silent = self.silent?;
        let StreamTimeouts {
            user_timeout,
            keepalive,
        } = self.ends[side].timeouts;
        let on_its_way = |chunk: &&Chunk| chunk.arrival.due.time().is_none();
        let sent = self.ends[1 - side].incoming.iter().find(on_its_way);
        let user_timeout = sent.and_then(|it| it.sent.max(silent).checked_add(user_timeout?));
        let keepalive = keepalive.and_then(|limit| silent.checked_add(limit));
        [user_timeout, keepalive].into_iter().flatten().min()
    }

    fn has_given_up(&self, side: usize, now: Instant) -> bool {
        self.gives_up(side).is_some_and(|at| at <= now)
    }

    /// Answers bytes that come to an end which is gone with a reset.
    fn bounce(&mut self, side: usize, links: &mut Links, sim: &Sim) {
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

    /// Takes what has arrived, `room` bytes at most.
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

    /// The next time at which something changes for who reads.
    fn next(&self, now: Instant) -> Option<Instant> {
        let chunk = self.incoming.front().and_then(|it| it.arrival.next(now));
        [chunk, self.reset.time()].into_iter().flatten().min()
    }
}
