//! What a daemon's tasks and handles share: counts, limits, and the servers that live.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use event_listener::Event;

use super::{
    ConnectionInfo, DaemonInfo, DrainReport, Drained, ServerSupervisor,
    drain::{Plan, Serving},
    options::Settings,
};
use crate::{
    PeerInfo, Server, TaskRef,
    server::ConnectionRef,
    task::{Clock, Spawner},
    wire::packet::Acceptance,
};

pub(super) struct Shared<S: Server> {
    pub(super) settings: Settings,
    pub(super) acceptance: Acceptance,
    pub(super) local_addr: SocketAddr,
    pub(super) supervisor: ServerSupervisor,
    /// Whether servers are to live in the daemon's universe, which may be none: that of whoever
    /// started it, unless it was taken into another.
    pub(super) forwarded: bool,
    pub(super) spawner: Spawner,
    /// The daemon's own, for those who ask from elsewhere.
    clock: Clock,
    seed: Mutex<S::Seed>,
    connections: AtomicUsize,
    accepted: AtomicU64,
    failed: AtomicU64,
    tasks: Mutex<Tasks>,
    /// Notified when a connection ends, and when the daemon is told what to do.
    pub(super) changed: Event,
}

#[derive(Default)]
struct Tasks {
    /// The connections whose peers have not been authenticated, oldest first.
    handshakes: BTreeMap<u64, TaskRef>,
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

impl<S: Server> Shared<S> {
    pub(super) fn new(
        settings: Settings,
        acceptance: Acceptance,
        local_addr: SocketAddr,
        supervisor: ServerSupervisor,
        forwarded: bool,
        spawner: Spawner,
        seed: S::Seed,
    ) -> Self {
        Self {
            settings,
            acceptance,
            local_addr,
            supervisor,
            forwarded,
            spawner,
            clock: Clock::current(),
            seed: Mutex::new(seed),
            connections: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            tasks: Mutex::default(),
            changed: Event::new(),
        }
    }

    pub(super) fn seed(&self) -> S::Seed {
        let seed = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
        seed.clone()
    }

    /// Waits until there may be one connection more.
    pub(super) async fn room(&self) {
        self.until(|| {
            let has_room = self.live() < self.settings.max_connections;
            has_room && !self.tasks().suspended
        })
        .await;
    }

    /// Waits until nobody is to be let in for now.
    pub(super) async fn suspended(&self) {
        self.until(|| self.tasks().suspended).await;
    }

    pub(super) fn suspend(&self, suspended: bool) {
        self.tasks().suspended = suspended;
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

    /// How many connections there are.
    pub(super) fn live(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Counts one connection more, until the permit is dropped. Only the accept loop asks, after
    /// it found [`room`](Self::room), so that nobody can come in between.
    pub(super) fn permit(self: &Arc<Self>) -> Permit<S> {
        self.connections.fetch_add(1, Relaxed);
        self.accepted.fetch_add(1, Relaxed);
        Permit(Arc::clone(self))
    }

    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Notes that a connection's task is at its handshake. `None` if the daemon is closing.
    ///
    /// At the limit the oldest makes way: silent peers must not keep others out.
    pub(super) fn begin_handshake(self: &Arc<Self>, task: &TaskRef) -> Option<Arriving<S>> {
        let mut tasks = self.tasks();
        if tasks.closing || tasks.plan.is_some() {
            return None;
        }
        let oldest = if tasks.handshakes.len() >= self.settings.max_pending_handshakes {
            tasks.handshakes.pop_first()
        } else {
            None
        };
        tasks.handshakes.insert(task.id(), task.clone());
        drop(tasks);
        if let Some((_, oldest)) = oldest {
            tracing::warn!(target: "erps", "too many handshakes are pending: the oldest was dropped");
            self.count_failed();
            oldest.kill();
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
            if let (Some(serving), Some(plan)) = (&serving, tasks.plan) {
                let took = now.saturating_duration_since(plan.began);
                tasks.drained.push(serving.drained(reason, took));
            }
            drop(tasks);
            drop(permit);
        });
        if closing {
            server.begin_shutdown(self.settings.shutdown);
        }
    }

    /// Has the daemon drained by then, and by whichever time is nearest if it is told more than once.
    pub(super) fn drain(&self, limit: Duration) {
        let plan = Plan::new(self.clock.now(), limit, self.settings.shutdown);
        {
            let mut tasks = self.tasks();
            tasks.plan = Some(tasks.plan.map_or(plan, |before| before.sooner(plan)));
        }
        self.changed.notify(usize::MAX);
    }

    pub(super) async fn drain_requested(&self) {
        self.until(|| self.plan().is_some()).await;
    }

    pub(super) fn plan(&self) -> Option<Plan> {
        self.tasks().plan
    }

    /// Has all connections take leave, and drops those that have not got through their handshake.
    pub(super) fn begin_leave(&self) {
        let handshakes = {
            let mut tasks = self.tasks();
            if let Some(plan) = tasks.plan {
                for server in tasks.servers.values() {
                    server.connection.leave(plan.listen_until());
                }
            }
            let handshakes = std::mem::take(&mut tasks.handshakes);
            tasks.without_server += handshakes.len();
            handshakes
        };
        for task in handshakes.into_values() {
            task.kill();
        }
    }

    pub(super) fn report(&self) -> DrainReport {
        let now = self.clock.now();
        let stuck = self.live();
        let tasks = self.tasks();
        let all = now.saturating_duration_since(tasks.plan.map_or(now, |plan| plan.began));
        let last = tasks.drained.iter().map(|it| it.took).max();
        DrainReport {
            took: if stuck > 0 {
                all
            } else {
                last.unwrap_or_default()
            },
            connections: tasks.drained.clone(),
            without_server: tasks.without_server,
            stuck,
        }
    }

    /// Ends all servers and everything that would become one, and waits until they are gone.
    pub(super) async fn close(&self) {
        self.shut_down_all();
        self.until(|| self.live() == 0).await;
    }

    /// Ends all servers, by their policy, and everything that would become one.
    pub(super) fn shut_down_all(&self) {
        for server in self.take_all() {
            server.begin_shutdown(self.settings.shutdown);
        }
    }

    /// Without waiting and without mercy: for a daemon that is killed, or whose time is up.
    pub(super) fn kill_all(&self) {
        for server in self.take_all() {
            server.kill();
        }
    }

    fn take_all(&self) -> Vec<TaskRef> {
        let (handshakes, starting, servers) = {
            let mut tasks = self.tasks();
            tasks.closing = true;
            let handshakes = std::mem::take(&mut tasks.handshakes);
            let starting = std::mem::take(&mut tasks.starting);
            tasks.without_server += handshakes.len() + starting.len();
            tasks.servers.values_mut().for_each(Serving::cut);
            let servers = tasks.servers.values().map(|it| it.task.clone());
            let servers: Vec<_> = servers.collect();
            (handshakes, starting, servers)
        };
        for task in handshakes.into_values().chain(starting.into_values()) {
            task.kill();
        }
        servers
    }

    pub(super) fn info(&self) -> DaemonInfo {
        let tasks = self.tasks();
        DaemonInfo {
            local_addr: self.local_addr,
            accepted: self.accepted.load(Relaxed),
            failed: self.failed.load(Relaxed),
            connections: self.live(),
            handshakes: tasks.handshakes.len(),
            servers: tasks.servers.len(),
            max_connections: self.settings.max_connections,
            max_pending_handshakes: self.settings.max_pending_handshakes,
        }
    }

    pub(super) fn connections(&self) -> Vec<ConnectionInfo> {
        let (now, tasks) = (self.clock.now(), self.tasks());
        let servers = tasks.servers.values();
        servers.map(|it| ConnectionInfo::new(it, now)).collect()
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to be one of a daemon's connections; given back when dropped.
pub(super) struct Permit<S: Server>(Arc<Shared<S>>);

impl<S: Server> Drop for Permit<S> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
        self.0.changed.notify(usize::MAX);
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
            Some(task) => {
                tasks.starting.insert(self.id, task);
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
