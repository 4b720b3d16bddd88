//! Rate-limited warnings about the packets of a server.

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

/// How often warnings of the same kind are logged.
const INTERVAL: Duration = Duration::from_secs(10);

/// Logs the first warning of each kind, and then one summary per interval: a server may send any number of packets
/// that cause one.
#[derive(Debug)]
pub(super) struct Warnings {
    throttle: Mutex<Throttle<&'static str>>,
}

impl Warnings {
    pub(super) fn new() -> Self {
        let throttle = Mutex::new(Throttle::new(INTERVAL));
        Self { throttle }
    }

    /// Logs a warning, or counts it for the next summary.
    pub(super) fn add(&self, kind: &'static str, detail: &dyn Display) {
        let now = task::now();
        let (admitted, summaries) = {
            let mut throttle = self.throttle();
            let summaries = throttle.summaries(now);
            (throttle.admits(kind, now), summaries)
        };
        log_summaries(summaries);
        let detail = capped(detail, MAX_LOGGED);
        if admitted {
            tracing::warn!(target: "erps", detail, "{kind}");
        } else {
            tracing::debug!(target: "erps", detail, "{kind}");
        }
    }

    /// Logs the summaries that are not due yet, because the connection is closed.
    pub(super) fn flush(&self) {
        let summaries = self.throttle().all_summaries(task::now());
        log_summaries(summaries);
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle<&'static str>> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_summaries(summaries: Vec<(&'static str, u64)>) {
    for (kind, count) in summaries {
        tracing::warn!(target: "erps", count, "again: {kind}");
    }
}
