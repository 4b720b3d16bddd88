//! What a daemon's tasks and handles share: counts, limits, and the servers that live.

mod end;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use event_listener::Event;

use super::{
    AtLimit, ConnectionEnd, ConnectionInfo, DaemonEvent, DaemonInfo, DaemonLimits, Drained,
    HandshakeFailure, ServerSupervisor,
    drain::{Plan, Serving},
    journal::Journal,
    options::Settings,
    visit::{Permit, Tallies, Visit},
    warnings::Warnings,
};
use crate::{
    Endpoint, ExitReason, PeerInfo, Server, TaskRef,
    server::ConnectionRef,
    task::{Clock, Spawner},
    wire::packet::Acceptance,
};

pub(super) struct Shared<S: Server> {
    pub(super) settings: Settings,
    pub(super) acceptance: Acceptance,
    /// One for each place, in the order of the settings.
    pub(super) local_addrs: Vec<Endpoint>,
    pub(super) supervisor: ServerSupervisor,
    /// Whether servers are to live in the daemon's universe, which may be none: that of whoever
    /// started it, unless it was taken into another.
    pub(super) forwarded: bool,
    pub(super) spawner: Spawner,
    /// The daemon's own, for those who ask from elsewhere.
    pub(super) clock: Clock,
    pub(super) journal: Journal,
    pub(super) warnings: Warnings,
    seed: Mutex<S::Seed>,
    limits: Mutex<DaemonLimits>,
    tallies: Mutex<Tallies>,
    /// How many visits there are: also of those who have no permit.
    visits: AtomicUsize,
    tasks: Mutex<Tasks<S>>,
    /// Notified when a connection ends, and when the daemon is told what to do.
    pub(super) changed: Event,
}

struct Tasks<S: Server> {
    /// The connections whose peers have not been authenticated, oldest first.
    handshakes: BTreeMap<u64, Pending<S>>,
    /// The connections whose servers are being started, by whomever.
    starting: BTreeMap<u64, TaskRef>,
    servers: BTreeMap<u64, Serving>,
    closing: bool,
    suspended: bool,
    /// Set once the daemon is to be drained.
    plan: Option<Plan>,
    drained: Vec<Drained>,
    /// How many connections were dropped before they had a server.
    without_server: usize,
}

/// A connection at its handshake.
struct Pending<S: Server> {
    task: TaskRef,
    visit: Weak<Visit<S>>,
    /// It is there to be told why it is not let in.
    is_refused: bool,
}

impl<S: Server> Default for Tasks<S> {
    fn default() -> Self {
        Self {
            handshakes: BTreeMap::new(),
            starting: BTreeMap::new(),
            servers: BTreeMap::new(),
            closing: false,
            suspended: false,
            plan: None,
            drained: Vec::new(),
            without_server: 0,
        }
    }
}

impl<S: Server> Shared<S> {
    pub(super) fn new(
        settings: Settings,
        acceptance: Acceptance,
        local_addrs: Vec<Endpoint>,
        supervisor: ServerSupervisor,
        forwarded: bool,
        spawner: Spawner,
        seed: S::Seed,
    ) -> Self {
        Self {
            limits: Mutex::new(settings.limits),
            settings,
            acceptance,
            local_addrs,
            supervisor,
            forwarded,
            spawner,
            clock: Clock::current(),
            journal: Journal::default(),
            warnings: Warnings::new(),
            seed: Mutex::new(seed),
            tallies: Mutex::default(),
            visits: AtomicUsize::new(0),
            tasks: Mutex::default(),
            changed: Event::new(),
        }
    }

    /// The first IP address.
    pub(super) fn local_addr(&self) -> SocketAddr {
        let inet = self.local_addrs.iter().find_map(Endpoint::inet);
        inet.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into())
    }

    pub(super) fn seed(&self) -> S::Seed {
        let seed = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
        seed.clone()
    }

    /// Waits until there may be one connection more.
    pub(super) async fn room(&self) {
        self.until(|| self.has_room()).await;
    }

    /// Waits until there may not.
    pub(super) async fn no_room(&self) {
        self.until(|| !self.has_room()).await;
    }

    /// Whether newcomers are accepted: to be refused, if it is so wanted.
    fn has_room(&self) -> bool {
        let limits = self.limits();
        let waits = limits.at_limit == AtLimit::Queue && self.tallies().all >= limits.connections;
        !waits && !self.tasks().suspended
    }

    pub(super) fn limits(&self) -> DaemonLimits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_limits(&self, change: impl FnOnce(&mut DaemonLimits)) {
        change(&mut self.limits.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify(usize::MAX);
    }

    pub(super) fn tallies(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn suspend(&self, suspended: bool) {
        let mut tasks = self.tasks();
        if std::mem::replace(&mut tasks.suspended, suspended) != suspended {
            self.journal.publish(if suspended {
                &DaemonEvent::Suspended
            } else {
                &DaemonEvent::Resumed
            });
        }
        drop(tasks);
        self.changed.notify(usize::MAX);
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let listener = self.changed.listen();
            if holds() {
                return;
            }
            listener.await;
        }
    }

    /// How many connections there are, with those who are being refused.
    pub(super) fn live(&self) -> usize {
        self.visits.load(Relaxed)
    }

    /// A visit begins.
    pub(super) fn come(&self) {
        self.visits.fetch_add(1, Relaxed);
    }

    /// A visit is over.
    pub(super) fn gone(&self) {
        self.visits.fetch_sub(1, Relaxed);
        self.close_journal();
        self.changed.notify(usize::MAX);
    }

    /// Notes that a connection's task is at its handshake. `None` if the daemon is closing.
    ///
    /// At the limit the oldest makes way: silent peers must not keep others out. First of all one of those
    /// who are there to be refused.
    pub(super) fn begin_handshake(
        self: &Arc<Self>,
        task: &TaskRef,
        visit: &Arc<Visit<S>>,
        is_refused: bool,
    ) -> Option<Arriving<S>> {
        let limit = self.limits().pending_handshakes;
        let mut tasks = self.tasks();
        if tasks.closing || tasks.plan.is_some() {
            return None;
        }
        let oldest = if tasks.handshakes.len() >= limit {
            let refused = tasks.handshakes.iter().find(|(_, it)| it.is_refused);
            match refused.map(|(id, _)| *id) {
                Some(id) => tasks.handshakes.remove_entry(&id),
                None => tasks.handshakes.pop_first(),
            }
        } else {
            None
        };
        let pending = Pending {
            task: task.clone(),
            visit: Arc::downgrade(visit),
            is_refused,
        };
        tasks.handshakes.insert(task.id(), pending);
        drop(tasks);
        if let Some((_, oldest)) = oldest {
            if let Some(visit) = oldest.visit.upgrade() {
                visit.end(ConnectionEnd::Handshake(HandshakeFailure::Evicted));
            }
            oldest.task.kill();
        }
        Some(Arriving {
            shared: Arc::clone(self),
            id: task.id(),
        })
    }

    /// Takes note of a server, from before its `init` until it ends; ends it at once if the daemon
    /// is closing.
    pub(super) fn track(
        self: &Arc<Self>,
        server: &TaskRef,
        peer: PeerInfo,
        connection: ConnectionRef,
        permit: Permit<S>,
    ) {
        let closing = {
            let mut tasks = self.tasks();
            if let Some(plan) = &tasks.plan {
                connection.leave(plan.listen_until());
            }
            let serving = Serving {
                task: server.clone(),
                peer,
                connection,
                cut: tasks.closing.then_some(0),
            };
            tasks.servers.insert(server.id(), serving);
            tasks.closing
        };
        let (shared, id) = (Arc::clone(self), server.id());
        server.on_exit(move |reason| {
            let now = shared.clock.now();
            let mut tasks = shared.tasks();
            let serving = tasks.servers.remove(&id);
            if let Some(serving) = &serving {
                let meter = serving.connection.meter();
                shared.journal.count_bytes(meter.read(), meter.written());
            }
            let is_unused = serving.as_ref().is_some_and(|it| it.is_unused());
            if let (Some(serving), Some(plan)) = (&serving, tasks.plan) {
                let took = now.saturating_duration_since(plan.began);
                tasks.drained.push(serving.drained(reason, took));
            }
            drop(tasks);
            if let Some(serving) = serving
                && serving.connection.meter().has_met()
            {
                permit.visit().served(serving.peer);
            }
            let end = ConnectionEnd::Server(reason.clone());
            if is_unused && matches!(reason, ExitReason::Disconnected) {
                permit.visit().end_unused(end);
            } else {
                permit.visit().end(end);
            }
            drop(permit);
        });
        if closing {
            server.begin_shutdown(self.settings.shutdown);
        }
    }

    pub(super) fn info(&self) -> DaemonInfo {
        let (limits, connections) = (self.limits(), self.tallies().all);
        let tasks = self.tasks();
        let counts = self.journal.counts();
        let meters = tasks.servers.values().map(|it| it.connection.meter());
        let live = meters.map(|it| (it.read(), it.written()));
        let (received, sent) = live.fold((0, 0), |all, it| (all.0 + it.0, all.1 + it.1));
        let worst_case = self.settings.server.worst_case();
        DaemonInfo {
            local_addr: self.local_addr(),
            accepted: counts.accepted,
            failed: counts.failed(),
            not_admitted: counts.not_admitted,
            handshakes_failed: counts.handshakes,
            not_started: counts.not_started,
            probes: counts.probes,
            accept_pauses: counts.accept_pauses,
            connections,
            handshakes: tasks.handshakes.len(),
            servers: tasks.servers.len(),
            bytes_received: counts.bytes_received + received,
            bytes_sent: counts.bytes_sent + sent,
            worst_case_memory: worst_case.saturating_mul(limits.connections as u64),
            limits,
        }
    }

    pub(super) fn connections(&self) -> Vec<ConnectionInfo> {
        let (now, tasks) = (self.clock.now(), self.tasks());
        let servers = tasks.servers.values();
        servers.map(|it| ConnectionInfo::new(it, now)).collect()
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks<S>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that has no server yet, and has or gives up when this is dropped.
pub(super) struct Arriving<S: Server> {
    shared: Arc<Shared<S>>,
    id: u64,
}

impl<S: Server> Arriving<S> {
    /// Notes that the handshake is over. False if this connection has just made way for another,
    /// or the daemon is closing.
    pub(super) fn end_handshake(&self) -> bool {
        let mut tasks = self.shared.tasks();
        match tasks.handshakes.remove(&self.id) {
            Some(pending) => {
                tasks.starting.insert(self.id, pending.task);
                true
            }
            None => false,
        }
    }
}

impl<S: Server> Drop for Arriving<S> {
    fn drop(&mut self) {
        let mut tasks = self.shared.tasks();
        tasks.handshakes.remove(&self.id);
        tasks.starting.remove(&self.id);
    }
}
