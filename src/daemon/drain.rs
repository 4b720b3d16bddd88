//! The graceful end of a daemon: everybody is heard out, until the time is up.
//!
//! ```text
//! 0              1/8          3/4                    15/16      1  of the limit
//! |--------------|------------|----------------------|----------|
//! | peers are    | calls are  | who is left is shut  | then     | drain returns
//! | listened to  | answered   | down, by its policy  | killed   |
//! ```
//!
//! A connection that is done ends at once, whatever the time. A daemon that is shut down hears out what
//! has arrived, and listens no longer.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_lite::FutureExt as _;

use super::shared::Shared;
use crate::{
    Endpoint, ExitReason, PeerInfo, Server, Shutdown, TaskRef,
    server::ConnectionRef,
    task::{FOR_EVER, now, sleep},
};

/// The longest that peers are listened to, the longest way that a call may have to come.
const LISTENING: Duration = Duration::from_secs(1);
/// The longest that the killing may need.
const KILLING: Duration = Duration::from_secs(1);

/// When what is to happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) began: Instant,
    /// Whether a drain was asked for, or the daemon is merely shut down.
    pub(super) is_drain: bool,
    listen_until: Instant,
    shut_down_at: Instant,
    /// `None` if that is left to the policy of the servers.
    kill_at: Option<Instant>,
}

impl Plan {
    pub(super) fn new(now: Instant, limit: Duration, policy: Shutdown) -> Self {
        let limit = limit.min(FOR_EVER);
        let killing = (limit / 16).min(KILLING);
        let leave = match policy {
            Shutdown::Within(time) => time.min(limit / 4 - killing),
            Shutdown::Infinity => limit / 4 - killing,
            Shutdown::BrutalKill => Duration::ZERO,
        };
        Self {
            began: now,
            is_drain: true,
            listen_until: now + (limit / 8).min(LISTENING),
            shut_down_at: now + (limit - killing - leave),
            kill_at: Some(now + (limit - killing)),
        }
    }

    /// For a shutdown: what has arrived is answered within `limit`, which is part of the time that the
    /// servers have by their policy.
    pub(super) fn shutdown(now: Instant, limit: Duration, policy: Shutdown) -> Self {
        let (limit, all) = match policy {
            Shutdown::BrutalKill => (Duration::ZERO, None),
            Shutdown::Within(all) => (limit.min(all - all / 4), Some(all.min(FOR_EVER))),
            Shutdown::Infinity => (limit, None),
        };
        Self {
            began: now,
            is_drain: false,
            listen_until: now,
            shut_down_at: now + limit.min(FOR_EVER),
            kill_at: all.map(|all| now + all),
        }
    }

    /// Whatever comes first in either. What has begun does not begin again.
    pub(super) fn sooner(self, other: Self) -> Self {
        Self {
            began: self.began,
            is_drain: self.is_drain || other.is_drain,
            listen_until: self.listen_until.min(other.listen_until),
            shut_down_at: self.shut_down_at.min(other.shut_down_at),
            kill_at: self.kill_at.into_iter().chain(other.kill_at).min(),
        }
    }

    pub(super) fn listen_until(&self) -> Instant {
        self.listen_until
    }
}

/// Lets everybody finish who can, as planned. Returns when all are gone, or were killed.
pub(super) async fn run<S: Server>(shared: &Arc<Shared<S>>, task: &TaskRef) {
    let mut told = task.exit_requested();
    if told || shared.plan().is_none() {
        shared.shut_down();
    }
    shared.begin_leave();
    let mut asked = false;
    loop {
        let changed = shared.changed.listen();
        let Some(plan) = shared.plan().filter(|_| shared.live() > 0) else {
            return;
        };
        let now = now();
        if plan.kill_at.is_some_and(|at| now >= at) {
            shared.kill_all();
            return;
        }
        if now >= plan.shut_down_at && !asked {
            asked = true;
            shared.shut_down_all();
            continue;
        }
        let next = if asked {
            plan.kill_at
        } else {
            Some(plan.shut_down_at)
        };
        let something = async {
            changed.await;
            false
        };
        let time = async {
            match next {
                Some(next) => sleep(next.saturating_duration_since(now)).await,
                None => pending().await,
            }
            false
        };
        let shutdown = async {
            if told {
                pending().await
            } else {
                task.shutdown_requested().await;
                true
            }
        };
        if shutdown.or(something).or(time).await {
            told = true;
            shared.shut_down();
            shared.begin_leave();
        }
    }
}

/// One server, in the eyes of its daemon.
pub(super) struct Serving {
    pub(super) task: TaskRef,
    pub(super) peer: PeerInfo,
    pub(super) connection: ConnectionRef,
    /// How many calls had no answer when it was told to end before it was done.
    pub(super) cut: Option<usize>,
}

impl Serving {
    /// It is told to end now, done or not.
    pub(super) fn cut(&mut self) {
        let calls = self.connection.in_flight();
        self.cut.get_or_insert(calls);
    }

    /// Nothing has gone either way.
    pub(super) fn is_unused(&self) -> bool {
        let meter = self.connection.meter();
        meter.read() == 0 && meter.written() == 0
    }

    /// What became of it, now that it has ended.
    pub(super) fn drained(&self, reason: &ExitReason, took: Duration) -> Drained {
        let outcome = match (self.cut, reason) {
            (Some(calls @ 1..), _) => DrainOutcome::Cut { calls },
            // Also one that was at its farewell when it was told to end.
            (_, _) if self.connection.meter().has_parted() => DrainOutcome::Finished,
            (_, ExitReason::Disconnected) => DrainOutcome::Left,
            (_, _) => DrainOutcome::Cut { calls: 0 },
        };
        Drained {
            peer: self.peer.address.clone(),
            outcome,
            reason: reason.clone(),
            took,
        }
    }
}

/// What became of the connections of a daemon that was [drained](crate::Daemon::drain).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DrainReport {
    /// How long it took until the last one was gone, or until the time was up.
    pub took: Duration,
    /// The connections that had a server, in the order in which they ended.
    pub connections: Vec<Drained>,
    /// How many connections were dropped that never had a server: at their handshake when the drain
    /// began, or at their `init` when the time was up. No call of theirs was read.
    pub without_server: usize,
    /// How many are still there: their servers compute and never await, so that nobody can kill them.
    pub stuck: usize,
}

impl DrainReport {
    /// Those whose calls were answered, and whose replies were handed to the system.
    pub fn finished(&self) -> impl Iterator<Item = &Drained> {
        let finished = |it: &&Drained| matches!(it.outcome, DrainOutcome::Finished);
        self.connections.iter().filter(finished)
    }

    /// Those that were made to end before they were done.
    pub fn cut(&self) -> impl Iterator<Item = &Drained> {
        let cut = |it: &&Drained| matches!(it.outcome, DrainOutcome::Cut { .. });
        self.connections.iter().filter(cut)
    }

    /// Tells whether nobody was cut and nobody is stuck.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.stuck == 0 && self.cut().next().is_none()
    }
}

/// What became of one connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Drained {
    /// Who it was.
    pub peer: Endpoint,
    /// Whether it was done.
    pub outcome: DrainOutcome,
    /// Why its server ended.
    pub reason: ExitReason,
    /// How long after the drain had begun.
    pub took: Duration,
}

/// Whether a connection was done when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DrainOutcome {
    /// Its calls were answered, and the system has taken all that was to be sent.
    Finished,
    /// Its peer went away first.
    Left,
    /// It was made to end, or its peer did not take its replies.
    Cut {
        /// How many calls had no answer at that moment.
        calls: usize,
    },
}
