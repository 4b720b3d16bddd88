//! What is wrong with the packets of a server, logged once in a while.

use std::{
    fmt::Display,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    task,
    text::{MAX_LOGGED, capped},
    throttle::Throttle,
};

/// How often a complaint of the same kind is logged as a warning.
const INTERVAL: Duration = Duration::from_secs(10);

/// Logs the first complaint of each kind, and then one summary in ten seconds: a server may send any number of
/// packets that give rise to one.
#[derive(Debug)]
pub(super) struct Complaints {
    throttle: Mutex<Throttle<&'static str>>,
}

impl Complaints {
    pub(super) fn new() -> Self {
        let throttle = Mutex::new(Throttle::new(INTERVAL));
        Self { throttle }
    }

    pub(super) fn add(&self, kind: &'static str, detail: &dyn Display) {
        let now = task::now();
        let (admitted, summaries) = {
            let mut throttle = self.throttle();
            let summaries = throttle.summaries(now);
            (throttle.admits(kind, now), summaries)
        };
        summarise(summaries);
        let detail = capped(detail, MAX_LOGGED);
        if admitted {
            tracing::warn!(target: "erps", detail, "{kind}");
        } else {
            tracing::debug!(target: "erps", detail, "{kind}");
        }
    }

    /// Logs the summaries that are still due: the connection is closed.
    pub(super) fn end(&self) {
        let summaries = self.throttle().all_summaries(task::now());
        summarise(summaries);
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle<&'static str>> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn summarise(summaries: Vec<(&'static str, u64)>) {
    for (kind, count) in summaries {
        tracing::warn!(target: "erps", count, "again: {kind}");
    }
}
