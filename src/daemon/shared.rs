//! The data shared by the tasks and handles of one daemon.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use super::{
    ConnectionInfo, DaemonInfo, ServerSupervisor, drain_plan::DrainPlan, factory::ServerFactory,
    settings::Settings, state::State, table::ConnectionTable,
};
use crate::{Endpoint, TaskRef, server, task::Spawner, wire::packet::Acceptance};

pub(super) struct Shared {
    /// The daemon's own task.
    pub(super) task: TaskRef,
    pub(super) settings: Settings,
    pub(super) acceptance: Acceptance,
    /// The address of each listener, in the order of the settings.
    pub(super) local_addrs: Vec<Endpoint>,
    pub(super) supervisor: ServerSupervisor,
    /// Whether servers run in the daemon's universe, if it has one.
    pub(super) forwarded: bool,
    pub(super) spawner: Spawner,
    pub(super) factory: Arc<dyn ServerFactory>,
    pub(super) state: Arc<State>,
    pub(super) table: Arc<ConnectionTable>,
}

impl Shared {
    /// Returns the first IP address.
    pub(super) fn local_addr(&self) -> SocketAddr {
        let inet = self.local_addrs.iter().find_map(Endpoint::inet);
        inet.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into())
    }

    pub(super) fn info(&self) -> DaemonInfo {
        let (limits, connections) = (self.state.limits(), self.state.counts().total);
        let (totals, counters) = self.table.totals(|| self.state.events.counters());
        let worst_case = server::worst_case_memory(&self.settings.server);
        DaemonInfo {
            local_addr: self.local_addr(),
            accepted: counters.accepted,
            failed: counters.failed(),
            rejected: counters.rejected,
            handshakes_failed: counters.handshakes,
            not_started: counters.not_started,
            probes: counters.probes,
            accept_pauses: counters.accept_pauses,
            connections,
            handshakes: totals.handshakes,
            servers: totals.servers,
            bytes_received: counters.bytes_received + totals.bytes_received,
            bytes_sent: counters.bytes_sent + totals.bytes_sent,
            worst_case_memory: worst_case.saturating_mul(limits.connections as u64),
            limits,
        }
    }

    pub(super) fn connections(&self) -> Vec<ConnectionInfo> {
        self.table.connections(self.state.clock.now())
    }

    /// Begins a drain that is complete within `limit`. Repeated, the earlier deadlines hold.
    pub(super) fn begin_drain(&self, limit: Duration) {
        let (now, policy) = (self.state.clock.now(), self.settings.shutdown);
        self.state.begin(DrainPlan::drain(now, limit, policy));
    }

    /// Begins a shutdown: as a drain, but nothing more is read.
    pub(super) fn begin_shutdown(&self) {
        let (now, policy) = (self.state.clock.now(), self.settings.shutdown);
        let limit = self.settings.drain_timeout;
        self.state.begin(DrainPlan::shutdown(now, limit, policy));
    }

    /// Shuts all servers down, closes every connection that has none, and waits until all are closed.
    pub(super) async fn close(&self) {
        self.table.shut_down_all();
        self.state.until(|| self.state.live() == 0).await;
    }
}
