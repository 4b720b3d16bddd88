//! Callbacks that occupy their thread for long.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{Sharded, throttle::Throttle};

/// The default limit. Python's asyncio warns after the same time in its debug mode.
pub(crate) const SLOW_CALLBACK: Duration = Duration::from_millis(100);

/// The least time between two warnings of one callback of one type.
const INTERVAL: Duration = Duration::from_secs(10);

/// The warnings of this universe, by type and callback.
static WARNINGS: Sharded<Mutex<Throttle<(&'static str, &'static str)>>> =
    Sharded::new(|| Mutex::new(Throttle::new(INTERVAL)));

/// Measures how long each poll of a callback takes, in real time, and logs a warning for one over the limit.
///
/// The clock is read once per callback while a task handles several in a row, and once more whenever it wakes up.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    limit: Option<Duration>,
    /// When the last measured poll ended, or the task woke up.
    since: Option<Instant>,
}

impl Stopwatch {
    /// Measures nothing if `limit` is `None`.
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        let since = None;
        Self { limit, since }
    }

    /// Begins to measure, unless the last poll has ended just before this.
    pub(crate) fn start(&mut self) {
        if self.limit.is_some() && self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    /// Forgets when the last poll ended: the task waits, or does something else.
    pub(crate) fn reset(&mut self) {
        self.since = None;
    }

    /// Runs a callback to its end.
    pub(crate) async fn watch<F: Future>(
        &mut self,
        of: &'static str,
        callback: &'static str,
        future: F,
    ) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            self.reset();
            self.start();
            let polled = future.as_mut().poll(cx);
            self.stop(of, callback);
            polled
        })
        .await
    }

    /// Ends a measurement of this callback of the user's type `of`.
    pub(crate) fn stop(&mut self, of: &'static str, callback: &'static str) {
        if let (Some(limit), Some(since)) = (self.limit, self.since) {
            let now = Instant::now();
            self.since = Some(now);
            let took = now - since;
            if took > limit {
                warn(of, callback, took, now);
            }
        }
    }
}

#[cold]
fn warn(of: &'static str, callback: &'static str, took: Duration, now: Instant) {
    let warnings = WARNINGS.get();
    let mut warnings = warnings.lock().unwrap_or_else(PoisonError::into_inner);
    for ((of, callback), suppressed) in warnings.summaries(now) {
        tracing::warn!(target: "erps", of, callback, suppressed, "similar warnings suppressed within ten seconds");
    }
    if warnings.admits((of, callback), now) {
        drop(warnings);
        tracing::warn!(
            target: "erps", of, callback, ?took,
            "a callback has occupied its thread; every other task of the thread was delayed. \
             Await in it, or run blocking work with `erps::unblock`"
        );
    }
}
