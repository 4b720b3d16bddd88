//! The public handle to a simulated clock.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{sim::Sim, universe::Universe};

/// The clock of a [simulated](crate::Universe::simulated) universe.
///
/// It stands still while a task of the universe runs or is about to. When all tasks wait, it advances to the next timer. An
/// hour of waiting takes as long as computing what happens in it.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use test_universe::{Universe, time};
///
/// let universe = Universe::simulated(1);
/// universe.run(async {
///     let start = time::now();
///     time::sleep(Duration::from_secs(3600)).await;
///     assert_eq!(time::now() - start, Duration::from_secs(3600));
/// });
/// assert_eq!(universe.clock().unwrap().elapsed(), Duration::from_secs(3600));
/// ```
#[derive(Clone)]
pub struct Clock(pub(crate) Arc<Sim>);

impl Clock {
    /// Returns the simulated time, as [`time::now`](crate::time::now) does in the universe.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.0.times.now()
    }

    /// Returns the simulated time since the universe was created.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Advances the clock at once, without running tasks in between.
    ///
    /// Timers that are due wake in their order, and all tasks see the new time, as after a machine was suspended. To let time
    /// pass as usual, sleep.
    ///
    /// The clock advances no further than ten thousand years from the creation of the universe.
    pub fn advance(&self, duration: Duration) {
        self.0.times.advance(duration);
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.elapsed()).finish()
    }
}

impl Universe {
    /// Returns the universe's own clock; `None` if it is not [simulated](Self::simulated).
    #[must_use]
    pub fn clock(&self) -> Option<Clock> {
        self.inner.sim.clone().map(Clock)
    }
}
