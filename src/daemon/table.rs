//! The tasks of a daemon's connections: handshakes, starts, and servers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use super::{
    CloseReason, ConnectionInfo, HandshakeFailure, permit::Permit, record::ConnectionRecord,
    server_entry::ServerEntry, state::State,
};
use crate::{ExitReason, PeerInfo, Shutdown, TaskRef, server::ConnectionRef};

/// The tasks of a daemon's connections.
///
/// Its lock is taken before that of the [`State`]: whatever is inserted sees the current phase.
pub(super) struct ConnectionTable {
    state: Arc<State>,
    /// How servers are shut down.
    policy: Shutdown,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    /// Connections during their handshake, oldest first.
    handshakes: BTreeMap<u64, PendingHandshake>,
    /// Connections whose servers are being started.
    starting: BTreeMap<u64, TaskRef>,
    servers: BTreeMap<u64, ServerEntry>,
}

struct PendingHandshake {
    task: TaskRef,
    record: Weak<ConnectionRecord>,
    /// It completes the handshake only to be rejected.
    is_rejected: bool,
}

/// Numbers of tasks, and bytes of the servers' connections.
pub(super) struct Totals {
    pub(super) handshakes: usize,
    pub(super) servers: usize,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
}

impl ConnectionTable {
    pub(super) fn new(state: &Arc<State>, policy: Shutdown) -> Self {
        Self {
            state: Arc::clone(state),
            policy,
            tasks: Mutex::default(),
        }
    }

    /// Adds a connection that begins its handshake. Returns `None` if the daemon drains or shuts down.
    ///
    /// At the limit the oldest handshake is evicted, so that silent peers cannot block others. Those that
    /// are to be rejected are evicted first.
    pub(super) fn begin_handshake(
        self: &Arc<Self>,
        task: &TaskRef,
        record: &Arc<ConnectionRecord>,
        is_rejected: bool,
    ) -> Option<Pending> {
        let limit = self.state.limits().pending_handshakes;
        let mut tasks = self.tasks();
        if self.state.is_closing() || self.state.plan().is_some() {
            return None;
        }
        let evicted = (tasks.handshakes.len() >= limit).then(|| tasks.evict());
        let pending = PendingHandshake {
            task: task.clone(),
            record: Arc::downgrade(record),
            is_rejected,
        };
        tasks.handshakes.insert(task.id(), pending);
        drop(tasks);
        if let Some(evicted) = evicted.flatten() {
            if let Some(record) = evicted.record.upgrade() {
                record.set_reason(CloseReason::Handshake(HandshakeFailure::Evicted));
            }
            evicted.task.kill();
        }
        Some(Pending {
            table: Arc::clone(self),
            id: task.id(),
        })
    }

    /// Adds a server, from before its `init` until it exits. Shuts it down at once if the daemon is
    /// closing.
    pub(super) fn add_server(
        self: &Arc<Self>,
        server: &TaskRef,
        peer: PeerInfo,
        connection: ConnectionRef,
        permit: Permit,
    ) {
        let closing = {
            let mut tasks = self.tasks();
            if let Some(plan) = self.state.plan() {
                connection.drain(plan.read_until, plan.shut_down_at);
            }
            let closing = self.state.is_closing();
            let entry = ServerEntry {
                task: server.clone(),
                peer,
                connection,
                cut: closing.then_some((0, 0)),
            };
            tasks.servers.insert(server.id(), entry);
            closing
        };
        let (table, id) = (Arc::clone(self), server.id());
        server.on_exit(move |reason| table.remove_server(id, reason, permit));
        if closing {
            server.begin_shutdown(self.policy);
        }
    }

    fn remove_server(&self, id: u64, reason: &ExitReason, permit: Permit) {
        let now = self.state.clock.now();
        let mut tasks = self.tasks();
        let entry = tasks.servers.remove(&id);
        if let Some(entry) = &entry {
            let stats = entry.connection.stats();
            self.state.events.count_bytes(stats.read(), stats.written());
            if let Some(plan) = self.state.plan() {
                let took = now.saturating_duration_since(plan.began);
                self.state.add_drained(entry.drained(reason, took));
            }
        }
        drop(tasks);
        let is_unused = entry.as_ref().is_some_and(ServerEntry::is_unused);
        if let Some(entry) = entry
            && entry.connection.stats().was_served()
        {
            permit.record().set_served(entry.peer);
        }
        let close_reason = CloseReason::Server(reason.clone());
        if is_unused && matches!(reason, ExitReason::Disconnected) {
            permit.record().set_reason_unused(close_reason);
        } else {
            permit.record().set_reason(close_reason);
        }
    }

    pub(super) fn connections(&self, now: Instant) -> Vec<ConnectionInfo> {
        let tasks = self.tasks();
        tasks.servers.values().map(|it| it.info(now)).collect()
    }

    /// Returns the totals, together with what `also` reads while no connection is added or removed.
    pub(super) fn totals<T>(&self, also: impl FnOnce() -> T) -> (Totals, T) {
        let tasks = self.tasks();
        let also = also();
        let mut totals = Totals {
            handshakes: tasks.handshakes.len(),
            servers: tasks.servers.len(),
            bytes_received: 0,
            bytes_sent: 0,
        };
        for stats in tasks.servers.values().map(|it| it.connection.stats()) {
            totals.bytes_received += stats.read();
            totals.bytes_sent += stats.written();
        }
        (totals, also)
    }

    /// Drains all connections as planned, and closes those that have not completed their handshake.
    pub(super) fn begin_drain(&self) {
        let handshakes = {
            let mut tasks = self.tasks();
            if let Some(plan) = self.state.plan() {
                for server in tasks.servers.values() {
                    server.connection.drain(plan.read_until, plan.shut_down_at);
                }
            }
            let handshakes = std::mem::take(&mut tasks.handshakes);
            self.state.add_without_server(handshakes.len());
            handshakes
        };
        for pending in handshakes.into_values() {
            pending.task.kill();
        }
    }

    /// Begins the shutdown of all servers, and closes every connection that has none.
    pub(super) fn shut_down_all(&self) {
        for server in self.take_all() {
            server.begin_shutdown(self.policy);
        }
    }

    /// Kills all servers, and closes every connection that has none: for a daemon that is killed, or at
    /// its limit.
    pub(super) fn kill_all(&self) {
        for server in self.take_all() {
            server.kill();
        }
    }

    fn take_all(&self) -> Vec<TaskRef> {
        let (handshakes, starting, servers) = {
            let mut tasks = self.tasks();
            self.state.set_closing();
            let handshakes = std::mem::take(&mut tasks.handshakes);
            let starting = std::mem::take(&mut tasks.starting);
            self.state
                .add_without_server(handshakes.len() + starting.len());
            tasks.servers.values_mut().for_each(ServerEntry::cut);
            let servers = tasks.servers.values().map(|it| it.task.clone());
            let servers: Vec<_> = servers.collect();
            (handshakes, starting, servers)
        };
        let handshakes = handshakes.into_values().map(|pending| pending.task);
        for task in handshakes.chain(starting.into_values()) {
            task.kill();
        }
        self.state.close_events();
        servers
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks {
    fn evict(&mut self) -> Option<PendingHandshake> {
        let rejected = self.handshakes.iter().find(|(_, it)| it.is_rejected);
        match rejected.map(|(id, _)| *id) {
            Some(id) => self.handshakes.remove(&id),
            None => self.handshakes.pop_first().map(|(_, pending)| pending),
        }
    }
}

/// A connection that has no server yet. Removed from the table when dropped.
pub(super) struct Pending {
    table: Arc<ConnectionTable>,
    id: u64,
}

impl Pending {
    /// Notes that the handshake is complete. Returns false if the connection has just been evicted, or
    /// the daemon is closing.
    pub(super) fn end_handshake(&self) -> bool {
        let mut tasks = self.table.tasks();
        match tasks.handshakes.remove(&self.id) {
            Some(pending) => {
                tasks.starting.insert(self.id, pending.task);
                true
            }
            None => false,
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut tasks = self.table.tasks();
        tasks.handshakes.remove(&self.id);
        tasks.starting.remove(&self.id);
    }
}
