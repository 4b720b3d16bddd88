//! How a daemon that drains, shuts down or is killed closes its connections.

use std::time::Duration;

use super::Shared;
use crate::{
    Server, TaskRef,
    daemon::{
        DaemonEvent, DrainReport,
        drain::{Plan, Serving},
    },
};

impl<S: Server> Shared<S> {
    /// Ends the streams of events, if all has happened.
    pub(super) fn close_journal(&self) {
        if !self.tasks().closing || self.live() > 0 {
            return;
        }
        let drained = self.plan().filter(|plan| plan.is_drain).map(|_| {
            let report = self.report();
            DaemonEvent::DrainEnded {
                took: report.took,
                cut: report.cut().count(),
            }
        });
        self.journal.close(drained);
    }

    /// Has the daemon drained by then, and by whichever time is nearest if it is told more than once.
    pub(in crate::daemon) fn drain(&self, limit: Duration) {
        self.adopt(Plan::new(self.clock.now(), limit, self.settings.shutdown));
    }

    /// As a drain, for a daemon that is told to end: nobody is listened to any longer.
    pub(in crate::daemon) fn shut_down(&self) {
        let settings = &self.settings;
        let limit = settings.drain_timeout;
        self.adopt(Plan::shutdown(self.clock.now(), limit, settings.shutdown));
    }

    fn adopt(&self, plan: Plan) {
        {
            let mut tasks = self.tasks();
            if plan.is_drain && !tasks.plan.is_some_and(|before| before.is_drain) {
                let connections = self.live();
                self.journal
                    .publish(&DaemonEvent::DrainBegan { connections });
            }
            tasks.plan = Some(tasks.plan.map_or(plan, |before| before.sooner(plan)));
        }
        self.changed.notify(usize::MAX);
    }

    pub(in crate::daemon) async fn drain_requested(&self) {
        self.until(|| self.plan().is_some()).await;
    }

    pub(in crate::daemon) fn plan(&self) -> Option<Plan> {
        self.tasks().plan
    }

    /// Has all connections take leave, and drops those that have not got through their handshake.
    pub(in crate::daemon) fn begin_leave(&self) {
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
        for pending in handshakes.into_values() {
            pending.task.kill();
        }
    }

    pub(in crate::daemon) fn report(&self) -> DrainReport {
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
    pub(in crate::daemon) async fn close(&self) {
        self.shut_down_all();
        self.until(|| self.live() == 0).await;
    }

    /// Ends all servers, by their policy, and everything that would become one.
    pub(in crate::daemon) fn shut_down_all(&self) {
        for server in self.take_all() {
            server.begin_shutdown(self.settings.shutdown);
        }
    }

    /// Without waiting and without mercy: for a daemon that is killed, or whose time is up.
    pub(in crate::daemon) fn kill_all(&self) {
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
        let handshakes = handshakes.into_values().map(|pending| pending.task);
        for task in handshakes.chain(starting.into_values()) {
            task.kill();
        }
        self.close_journal();
        servers
    }
}
