//! The pause before another attempt to connect, and the log of failed attempts.

use std::{io, time::Duration};

use super::{Address, ConnectError};
use crate::{backoff::Backoff, task, text::Chain, throttle::Throttle};

/// How often a summary of failures is logged. The number of attempts has no limit.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// A retry and its cause.
#[derive(Default)]
pub(super) struct Retry {
    /// The pause that the back-off is added to.
    pub(super) at_least: Duration,
    /// Why the attempt failed, or the server rejected the client right after it. `None` if a connection was lost.
    pub(super) failed: Option<ConnectError>,
}

impl Retry {
    pub(super) fn failed(error: ConnectError) -> Self {
        Self {
            failed: Some(error),
            ..Self::default()
        }
    }

    pub(super) fn is_slow(&self) -> bool {
        let failed = self.failed.as_ref();
        failed.is_some_and(ConnectError::is_likely_permanent)
    }
}

/// The failures since the last stable connection.
pub(super) struct Failures {
    all: u32,
    pub(super) likely_permanent: u32,
    log: Throttle<(&'static str, Option<io::ErrorKind>)>,
}

impl Failures {
    pub(super) fn new() -> Self {
        Self {
            all: 0,
            likely_permanent: 0,
            log: Throttle::new(SUMMARY_INTERVAL),
        }
    }

    /// Draws the pause before another attempt. It is random, so that clients that were disconnected together do not
    /// reconnect together.
    pub(super) fn pause(&mut self, retry: &Retry, usual: Backoff, slow: Backoff) -> Duration {
        let mut pause = task::random_below(usual.bound(self.all));
        self.all = self.all.saturating_add(1);
        if retry.is_slow() {
            let half = slow.bound(self.likely_permanent) / 2;
            self.likely_permanent = self.likely_permanent.saturating_add(1);
            // Never faster than after a temporary error.
            pause = pause.max(half.saturating_add(task::random_below(half)));
        }
        retry.at_least.saturating_add(pause)
    }

    /// Logs the first failure of each kind, and summaries of those that follow.
    pub(super) fn log(&mut self, address: &Address, error: &ConnectError, retry_in: Duration) {
        let (now, kind) = (task::now(), error.kind());
        let error = Chain(error);
        if self.log.admits(kind, now) {
            tracing::warn!(target: "erps", %address, %error, ?retry_in, "cannot connect");
        } else {
            tracing::debug!(target: "erps", %address, %error, ?retry_in, "still cannot connect");
        }
        for ((kind, _), attempts) in self.log.summaries(now) {
            tracing::warn!(target: "erps", %address, kind, attempts, %error, ?retry_in, "still cannot connect");
        }
    }
}
