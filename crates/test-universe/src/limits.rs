//! Setting the limits of a run.

use std::time::Duration;

use crate::{inner::RunLimits, universe::Universe};

impl Universe {
    /// Sets how long tasks may take to end after the main future of a [run](Self::run) has completed. Default: 6 seconds.
    ///
    /// It is measured by the universe's own clock. Where that clock cannot advance, because a task or thread is busy, it is
    /// real time.
    #[must_use]
    pub fn shutdown_timeout(self, limit: Duration) -> Self {
        self.with_limits(|limits| limits.shutdown = limit)
    }

    /// Sets how long a [run](Self::run) of a [simulated](Self::simulated) universe waits for an external event, in real
    /// time, while no task can run and no timer is pending. Default: 2 seconds.
    ///
    /// After that the run fails as deadlocked. An external event is one of a thread, a socket or a timer that is not part of
    /// the universe.
    #[must_use]
    pub fn external_timeout(self, limit: Duration) -> Self {
        self.with_limits(|limits| limits.external = limit)
    }

    /// Sets how far the clock of a [simulated](Self::simulated) universe may advance by itself while the main future of a
    /// [run](Self::run) is pending, counted from the creation of the universe. Default: 7 days.
    ///
    /// A run that needs more fails. [`Clock::advance`](crate::Clock::advance) does not count. This ends a test that hangs while the timers of other tasks keep the clock going.
    #[must_use]
    pub fn virtual_limit(self, limit: Duration) -> Self {
        self.with_limits(|limits| limits.virtual_time = limit)
    }

    fn with_limits(self, set: impl FnOnce(&mut RunLimits)) -> Self {
        self.inner.set_limits(set);
        self
    }
}
