//! The public handle to a simulated clock.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{sim::Sim, universe::Universe};

/// The clock of a [simulated](crate::Universe::simulated) universe.
///
/// It stands still while any task of the universe runs or is about to. When all of them wait, it
/// leaps to the nearest time-out that one of them waits for. An hour of waiting thus takes as long
/// as computing what happens in it.
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
    /// What [`time::now`](crate::time::now) says in the universe.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.0.times.now()
    }

    /// How long the universe has lasted, by this clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Advances the clock at once, without running tasks in between.
    ///
    /// Those whose time has come meanwhile wake up in its order, and all of them find the clock at its
    /// new place: as after a machine was asleep. To let a duration pass as usual, sleep.
    ///
    /// It goes no further than ten thousand years from the start of the universe: what is later cannot be
    /// represented everywhere.
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
