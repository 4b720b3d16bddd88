//! What a daemon's tasks and handles share: counts, limits, and the servers that live.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use event_listener::Event;

use super::{DaemonInfo, ServerSupervisor, options::Settings};
use crate::{Server, TaskRef, wire::packet::Acceptance};

pub(super) struct Shared<S: Server> {
    pub(super) settings: Settings,
    pub(super) acceptance: Acceptance,
    pub(super) local_addr: SocketAddr,
    pub(super) supervisor: ServerSupervisor,
    /// Whether servers are to live in the daemon's universe, which may be none: that of whoever
    /// started it, unless it was taken into another.
    pub(super) forwarded: bool,
    seed: Mutex<S::Seed>,
    connections: AtomicUsize,
    accepted: AtomicU64,
    failed: AtomicU64,
    tasks: Mutex<Tasks>,
    /// Notified when a connection ends.
    ended: Event,
}

#[derive(Default)]
struct Tasks {
    /// The connections whose peers have not been authenticated, oldest first.
    handshakes: BTreeMap<u64, TaskRef>,
    /// The connections whose servers are being started, by whomever.
    starting: BTreeMap<u64, TaskRef>,
    servers: BTreeMap<u64, TaskRef>,
    closing: bool,
}

impl<S: Server> Shared<S> {
    pub(super) fn new(
        settings: Settings,
        acceptance: Acceptance,
        local_addr: SocketAddr,
        supervisor: ServerSupervisor,
        forwarded: bool,
        seed: S::Seed,
    ) -> Self {
        Self {
            settings,
            acceptance,
            local_addr,
            supervisor,
            forwarded,
            seed: Mutex::new(seed),
            connections: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            tasks: Mutex::default(),
            ended: Event::new(),
        }
    }

    pub(super) fn seed(&self) -> S::Seed {
        let seed = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
        seed.clone()
    }

    /// Waits until there may be one connection more.
    pub(super) async fn room(&self) {
        loop {
            let listener = self.ended.listen();
            if self.connections.load(Relaxed) < self.settings.max_connections {
                return;
            }
            listener.await;
        }
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
        if tasks.closing {
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
    pub(super) fn track(self: &Arc<Self>, server: &TaskRef, permit: Permit<S>) {
        let closing = {
            let mut tasks = self.tasks();
            tasks.servers.insert(server.id(), server.clone());
            tasks.closing
        };
        let (shared, id) = (Arc::clone(self), server.id());
        server.on_exit(move |_| {
            shared.tasks().servers.remove(&id);
            drop(permit);
        });
        if closing {
            server.begin_shutdown(self.settings.shutdown);
        }
    }

    /// Ends all servers and everything that would become one, and waits until they are gone.
    pub(super) async fn close(&self) {
        for server in self.take_all() {
            server.begin_shutdown(self.settings.shutdown);
        }
        loop {
            let listener = self.ended.listen();
            if self.connections.load(Relaxed) == 0 {
                return;
            }
            listener.await;
        }
    }

    /// Without waiting and without mercy, for a daemon that is killed.
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
            let servers = tasks.servers.values().cloned().collect();
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
            connections: self.connections.load(Relaxed),
            handshakes: tasks.handshakes.len(),
            servers: tasks.servers.len(),
            max_connections: self.settings.max_connections,
            max_pending_handshakes: self.settings.max_pending_handshakes,
        }
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
        self.0.ended.notify(usize::MAX);
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
