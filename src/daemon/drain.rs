//! Drain and shutdown: connections finish until the deadline.
//!
//! ```text
//! 0              1/8          3/4                    15/16      1  of the limit
//! |--------------|------------|----------------------|----------|
//! | packets are  | calls are  | remaining servers    | then     | drain returns
//! | still read   | answered   | are shut down        | killed   |
//! ```
//!
//! A connection that is finished is closed at once. From a busy server's peer packets are read until the
//! remaining servers are shut down. A shutdown answers the calls that have arrived, and reads nothing more.

use std::{future::pending, time::Duration};

use futures_lite::FutureExt as _;

use super::{DrainReport, shared::Shared};
use crate::{
    ExitReason, TaskRef,
    task::{Spawner, now, sleep},
};

/// Drains a daemon and returns the report, within `limit`. The timer runs on `spawner`.
pub(super) async fn drain(
    shared: &Shared,
    task: &TaskRef,
    spawner: &Spawner,
    limit: Duration,
) -> DrainReport {
    task.set_last_run();
    shared.begin_drain(limit);
    let late = async {
        spawner.after(limit).await;
        ExitReason::Killed
    };
    task.exited().or(late).await;
    shared.state.report()
}

/// Carries the drain or shutdown out, in the daemon's task. Returns when all connections are closed, or
/// all servers were killed.
pub(super) async fn run(shared: &Shared, task: &TaskRef) {
    let mut shutting_down = task.exit_requested();
    if shutting_down || shared.state.plan().is_none() {
        shared.begin_shutdown();
    }
    shared.table.begin_drain();
    let mut servers_shut_down = false;
    loop {
        let changed = shared.state.changed.listen();
        let Some(plan) = shared.state.plan().filter(|_| shared.state.live() > 0) else {
            return;
        };
        let now = now();
        if plan.kill_at.is_some_and(|at| now >= at) {
            shared.table.kill_all();
            return;
        }
        if now >= plan.shut_down_at && !servers_shut_down {
            servers_shut_down = true;
            shared.table.shut_down_all();
            continue;
        }
        let next = if servers_shut_down {
            plan.kill_at
        } else {
            Some(plan.shut_down_at)
        };
        let change = async {
            changed.await;
            false
        };
        let deadline = async {
            match next {
                Some(next) => sleep(next.saturating_duration_since(now)).await,
                None => pending().await,
            }
            false
        };
        let shutdown = async {
            if shutting_down {
                pending().await
            } else {
                task.shutdown_requested().await;
                true
            }
        };
        if shutdown.or(change).or(deadline).await {
            shutting_down = true;
            shared.begin_shutdown();
            shared.table.begin_drain();
        }
    }
}
