//! How long a client waits before another attempt to connect, and what it logs of those that failed.

use std::{io, time::Duration};

use super::{Address, ConnectError};
use crate::{backoff::Backoff, task, throttle::Throttle};

/// How often failures are summed up in the log. Attempts go on for as long as it takes.
const SUMMARY: Duration = Duration::from_secs(10 * 60);

/// Why there is to be another attempt.
#[derive(Default)]
pub(super) struct Retry {
    /// The shortest wait, before the back-off is added.
    pub(super) at_least: Duration,
    /// Why there was no connection, or none that counts.
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

/// What has failed since the last stable connection.
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
            log: Throttle::new(SUMMARY),
        }
    }

    /// Draws the wait before another attempt: clients that were disconnected together do not come back
    /// together.
    pub(super) fn pause(&mut self, retry: &Retry, usual: Backoff, slow: Backoff) -> Duration {
        let mut pause = task::random_below(usual.bound(self.all));
        self.all = self.all.saturating_add(1);
        if retry.is_slow() {
            let half = slow.bound(self.likely_permanent) / 2;
            self.likely_permanent = self.likely_permanent.saturating_add(1);
            // Never faster than after an error that may pass.
            pause = pause.max(half.saturating_add(task::random_below(half)));
        }
        retry.at_least.saturating_add(pause)
    }

    /// Logs the first failure of each kind, and now and then how many there were.
    pub(super) fn log(&mut self, address: &Address, error: &ConnectError, retry_in: Duration) {
        let (now, kind) = (task::now(), error.kind());
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
