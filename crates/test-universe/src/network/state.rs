//! The state of a network, under one lock.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt, mem,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use event_listener::Event;

use super::{
    backlog::Backlog,
    connection::Connection,
    event::{EventKind, Log},
    hosts::{Hosts, LOCALHOST},
    link::{Links, Route},
    wakes::Wakes,
};
use crate::{current, sim::Sim};

/// The state that handles, listeners and streams share. Its universe owns it, so it must not own the universe.
pub(super) struct Net {
    pub(super) sim: Arc<Sim>,
    state: Mutex<State>,
    /// Notified when a pending connect may proceed.
    pub(super) changed: Event,
}

pub(super) struct State {
    pub(super) sim: Arc<Sim>,
    pub(super) hosts: Hosts,
    pub(super) links: Links,
    pub(super) listeners: BTreeMap<u64, Backlog>,
    pub(super) connections: BTreeMap<u64, Connection>,
    /// The ports of hosts that refuse connections.
    pub(super) refusing: BTreeSet<(usize, u16)>,
    /// The injected errors of accepts, by host and port.
    pub(super) failures: BTreeMap<(usize, u16), VecDeque<i32>>,
    pub(super) log: Log,
    pub(super) wakes: Wakes,
    next_id: u64,
}

impl Net {
    pub(super) fn new(sim: Arc<Sim>) -> Self {
        let mut hosts = Hosts::default();
        hosts.use_or_create(LOCALHOST);
        let state = State {
            sim: Arc::clone(&sim),
            hosts,
            links: Links::default(),
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

    /// The network of the current universe; `None` if it is not simulated.
    pub(super) fn current() -> Option<Arc<Self>> {
        current::extension(Self::new)
    }

    /// Runs `f` under the lock, and the wake-ups without it.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = f(&mut state);
        let wakes = mem::take(&mut state.wakes);
        drop(state);
        wakes.run(&self.changed);
        result
    }
}

impl State {
    pub(super) fn log(&mut self, kind: EventKind) {
        self.log.push(self.sim.elapsed(), kind);
    }

    /// A number that no other listener or connection of this network has.
    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn partition(&mut self, route: Route) {
        if !self.links.partition(route) {
            return;
        }
        let (a, b) = (self.hosts.name(route.0), self.hosts.name(route.1));
        self.log(EventKind::Partitioned(a, b));
        let now = self.sim.now();
        for connection in self.connections.values_mut() {
            if connection.is_between(route) {
                connection.hold(now, &mut self.wakes);
            }
        }
    }

    pub(super) fn heal(&mut self, route: Route) {
        if !self.links.heal(route) {
            return;
        }
        let (a, b) = (self.hosts.name(route.0), self.hosts.name(route.1));
        self.log(EventKind::Healed(a, b));
        for connection in self.connections.values_mut() {
            if connection.is_between(route) {
                connection.release(&mut self.links, &self.sim, &mut self.wakes);
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
        self.log(EventKind::Reset(from, to));
        self.log(EventKind::Reset(to, from));
    }

    pub(super) fn black_hole(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let [from, to] = connection.addresses();
        connection.black_hole(self.sim.now(), &mut self.wakes);
        self.log(EventKind::BlackHoled(from, to));
    }

    /// The connections between two hosts, oldest first.
    pub(super) fn between(&self, route: Route) -> Vec<u64> {
        let connections = self.connections.iter();
        let between = connections.filter(|(_, connection)| connection.is_between(route));
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
