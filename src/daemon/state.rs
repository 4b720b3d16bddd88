//! The state of a daemon that its tasks, connections and handles share: phase, limits, counts, events.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use event_listener::Event;

use super::{
    AtLimit, DaemonEvent, DaemonLimits, DrainReport, Drained, counts::ConnectionCounts,
    drain_plan::DrainPlan, publisher::Publisher, warnings::Warnings,
};
use crate::task::Clock;

pub(super) struct State {
    /// The daemon's own clock, for handles used in another universe.
    pub(super) clock: Clock,
    pub(super) events: Publisher,
    pub(super) warnings: Warnings,
    limits: Mutex<DaemonLimits>,
    counts: Mutex<ConnectionCounts>,
    /// The number of open connections, including those that are being rejected.
    live: AtomicUsize,
    phase: Mutex<Phase>,
    /// Notified when a connection is closed, and of every command to the daemon.
    pub(super) changed: Event,
}

#[derive(Default)]
struct Phase {
    suspended: bool,
    /// Set once a drain or a shutdown has begun.
    plan: Option<DrainPlan>,
    /// All servers are shut down, and no further one is started.
    closing: bool,
    drained: Vec<Drained>,
    /// The number of connections closed by the drain before they had a server.
    without_server: usize,
}

impl State {
    pub(super) fn new(limits: DaemonLimits) -> Self {
        Self {
            clock: Clock::current(),
            events: Publisher::default(),
            warnings: Warnings::new(),
            limits: Mutex::new(limits),
            counts: Mutex::default(),
            live: AtomicUsize::new(0),
            phase: Mutex::default(),
            changed: Event::new(),
        }
    }

    pub(super) fn limits(&self) -> DaemonLimits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_limits(&self, change: impl FnOnce(&mut DaemonLimits)) {
        change(&mut self.limits.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify(usize::MAX);
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, ConnectionCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until connections may be accepted.
    pub(super) async fn acceptable(&self) {
        self.until(|| self.may_accept()).await;
    }

    /// Waits until connections may not be accepted.
    pub(super) async fn unacceptable(&self) {
        self.until(|| !self.may_accept()).await;
    }

    /// Returns whether connections may be accepted, if only to be rejected.
    fn may_accept(&self) -> bool {
        let limits = self.limits();
        let waits = limits.at_limit == AtLimit::Queue && self.counts().total >= limits.connections;
        !waits && !self.phase().suspended
    }

    pub(super) fn suspend(&self, suspended: bool) {
        let mut phase = self.phase();
        if std::mem::replace(&mut phase.suspended, suspended) != suspended {
            self.events.publish(if suspended {
                &DaemonEvent::Suspended
            } else {
                &DaemonEvent::Resumed
            });
        }
        drop(phase);
        self.changed.notify(usize::MAX);
    }

    pub(super) async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let listener = self.changed.listen();
            if holds() {
                return;
            }
            listener.await;
        }
    }

    /// Returns the number of open connections, including those that are being rejected.
    pub(super) fn live(&self) -> usize {
        self.live.load(Relaxed)
    }

    pub(super) fn connection_opened(&self) {
        self.live.fetch_add(1, Relaxed);
    }

    pub(super) fn connection_closed(&self) {
        self.live.fetch_sub(1, Relaxed);
        self.close_events();
        self.changed.notify(usize::MAX);
    }

    /// Begins a drain or a shutdown. Repeated, the earlier deadlines hold.
    pub(super) fn begin(&self, plan: DrainPlan) {
        {
            let mut phase = self.phase();
            if plan.is_drain && !phase.plan.is_some_and(|before| before.is_drain) {
                let connections = self.live();
                self.events
                    .publish(&DaemonEvent::DrainBegan { connections });
            }
            phase.plan = Some(phase.plan.map_or(plan, |before| before.earliest(plan)));
        }
        self.changed.notify(usize::MAX);
    }

    /// Waits until a drain or a shutdown has begun.
    pub(super) async fn drain_requested(&self) {
        self.until(|| self.plan().is_some()).await;
    }

    pub(super) fn plan(&self) -> Option<DrainPlan> {
        self.phase().plan
    }

    pub(super) fn is_closing(&self) -> bool {
        self.phase().closing
    }

    pub(super) fn set_closing(&self) {
        self.phase().closing = true;
    }

    pub(super) fn add_drained(&self, drained: Drained) {
        self.phase().drained.push(drained);
    }

    pub(super) fn add_without_server(&self, connections: usize) {
        self.phase().without_server += connections;
    }

    pub(super) fn report(&self) -> DrainReport {
        let now = self.clock.now();
        let stuck = self.live();
        let phase = self.phase();
        let all = now.saturating_duration_since(phase.plan.map_or(now, |plan| plan.began));
        let last = phase.drained.iter().map(|it| it.took).max();
        DrainReport {
            took: if stuck > 0 {
                all
            } else {
                last.unwrap_or(Duration::ZERO)
            },
            connections: phase.drained.clone(),
            without_server: phase.without_server,
            stuck,
        }
    }

    /// Closes the event streams, if all connections are closed and no further one is accepted.
    pub(super) fn close_events(&self) {
        if !self.is_closing() || self.live() > 0 {
            return;
        }
        let drained = self.plan().filter(|plan| plan.is_drain).map(|_| {
            let report = self.report();
            DaemonEvent::DrainEnded {
                took: report.took,
                cut: report.cut().count(),
            }
        });
        self.events.close(drained);
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
