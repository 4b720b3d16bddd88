//! All that a network consists of, under one lock.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt, mem,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    task::Waker,
};

use event_listener::Event;

use super::{
    connection::Connection,
    event::{Log, What},
    host::Hosts,
    line::{Lines, Way},
    listener::Listening,
};
use crate::sim::Sim;

/// A network, as its handles and ends share it. It is in its universe and may not hold it.
pub(super) struct Net {
    pub(super) sim: Arc<Sim>,
    state: Mutex<State>,
    /// Notified when those who dial may get an answer at last.
    pub(super) changed: Event,
}

pub(super) struct State {
    pub(super) sim: Arc<Sim>,
    pub(super) hosts: Hosts,
    pub(super) lines: Lines,
    pub(super) listeners: BTreeMap<u64, Listening>,
    pub(super) connections: BTreeMap<u64, Connection>,
    /// The ports of hosts that refuse whoever dials.
    pub(super) refusing: BTreeSet<(usize, u16)>,
    /// The errors that accepts on ports of hosts are to fail with.
    pub(super) failures: BTreeMap<(usize, u16), VecDeque<i32>>,
    pub(super) log: Log,
    pub(super) wakes: Wakes,
    next_id: u64,
}

/// What is to be done without the lock: a waker may be all that keeps a task, and a task may own
/// ends of this network.
#[derive(Default)]
pub(super) struct Wakes {
    wakers: Vec<Waker>,
    former: Vec<Waker>,
    listeners: Vec<Arc<Event>>,
    dialling: bool,
}

impl Wakes {
    pub(super) fn wake(&mut self, waiting: &mut Option<Waker>) {
        self.wakers.extend(waiting.take());
    }

    /// Makes `waiting` wake who polls now.
    pub(super) fn wait(&mut self, waiting: &mut Option<Waker>, waker: &Waker) {
        match waiting {
            Some(former) if former.will_wake(waker) => {}
            _ => self.former.extend(waiting.replace(waker.clone())),
        }
    }

    pub(super) fn forget(&mut self, waiting: &mut Option<Waker>) {
        self.former.extend(waiting.take());
    }

    pub(super) fn listener(&mut self, event: &Arc<Event>) {
        self.listeners.push(Arc::clone(event));
    }

    pub(super) fn dialling(&mut self) {
        self.dialling = true;
    }
}

impl Net {
    pub(super) fn new(sim: Arc<Sim>) -> Self {
        let mut hosts = Hosts::default();
        hosts.introduce(super::LOCALHOST);
        let state = State {
            sim: Arc::clone(&sim),
            hosts,
            lines: Lines::default(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            refusing: BTreeSet::new(),
            failures: BTreeMap::new(),
            log: Log::default(),
            wakes: Wakes::default(),
            next_id: 0,
        };
        Self {
            sim,
            state: Mutex::new(state),
            changed: Event::new(),
        }
    }

    /// Runs `f` under the lock, and wakes without it.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = f(&mut state);
        let wakes = mem::take(&mut state.wakes);
        drop(state);
        for listener in wakes.listeners {
            listener.notify(usize::MAX);
        }
        if wakes.dialling {
            self.changed.notify(usize::MAX);
        }
        wakes.wakers.into_iter().for_each(Waker::wake);
        drop(wakes.former);
        result
    }
}

impl State {
    pub(super) fn log(&mut self, what: What) {
        self.log.push(self.sim.elapsed(), what);
    }

    /// A number that no other listener or connection of this network has.
    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The ways of a connection's ends, and of the bytes that they send.
    pub(super) fn part(&mut self, way: Way) {
        if !self.lines.part(way) {
            return;
        }
        let (a, b) = (self.hosts.name(way.0), self.hosts.name(way.1));
        self.log(What::Parted(a, b));
        let now = self.sim.now();
        for connection in self.connections.values_mut() {
            if connection.is_between(way) {
                connection.hold(now, &mut self.wakes);
            }
        }
    }

    pub(super) fn heal(&mut self, way: Way) {
        if !self.lines.heal(way) {
            return;
        }
        let (a, b) = (self.hosts.name(way.0), self.hosts.name(way.1));
        self.log(What::Healed(a, b));
        for connection in self.connections.values_mut() {
            if connection.is_between(way) {
                connection.release(&mut self.lines, &self.sim, &mut self.wakes);
            }
        }
        for listening in self.listeners.values() {
            self.wakes.listener(&listening.event);
        }
        self.wakes.dialling();
    }

    pub(super) fn reset(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let [from, to] = connection.addresses();
        connection.reset(self.sim.now(), &mut self.wakes);
        self.log(What::Reset(from, to));
        self.log(What::Reset(to, from));
    }

    pub(super) fn lose(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let [from, to] = connection.addresses();
        connection.lose(self.sim.now(), &mut self.wakes);
        self.log(What::Lost(from, to));
    }

    /// The connections between two hosts, oldest first.
    pub(super) fn between(&self, way: Way) -> Vec<u64> {
        let connections = self.connections.iter();
        let between = connections.filter(|(_, connection)| connection.is_between(way));
        between.map(|(&id, _)| id).collect()
    }

    /// The connections, oldest first, by their number.
    pub(super) fn all(&self) -> Vec<(u64, [SocketAddr; 2])> {
        let connections = self.connections.iter();
        connections.map(|(&id, it)| (id, it.addresses())).collect()
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").finish_non_exhaustive()
    }
}
