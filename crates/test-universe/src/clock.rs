//! A clock that a universe has to itself.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::{place, sim::Sim, spin::Standing};

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

    /// Puts the clock forward, all at once: nobody runs in between.
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

/// How far the clock is put forward. Everybody may add to the time, and some do without looking.
const FURTHEST: Duration = Duration::from_secs(10_000 * 365 * 24 * 3600);

/// The time, and who waits for a later one.
pub(crate) struct Times {
    start: Instant,
    pub(crate) standing: Standing,
    state: Mutex<State>,
}

struct State {
    now: Instant,
    /// In the order of their time, those of the same time in the order they came.
    waiting: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl Times {
    pub(crate) fn starting(start: Instant) -> Self {
        Self {
            start,
            standing: Standing::default(),
            state: Mutex::new(State {
                now: start,
                waiting: BTreeMap::new(),
                next: 0,
            }),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.state().now
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now().duration_since(self.start)
    }

    /// Goes to the nearest time somebody waits for, up to `limit`, and wakes all who wait for it.
    pub(crate) fn leap(&self, limit: Option<Instant>) -> bool {
        let mut state = self.state();
        let Some(nearest) = state.nearest(limit) else {
            return false;
        };
        state.now = state.now.max(nearest);
        self.standing.moved();
        wake_due(state);
        true
    }

    /// The nearest time that somebody waits for, up to `limit`.
    pub(crate) fn nearest(&self, limit: Option<Instant>) -> Option<Instant> {
        self.state().nearest(limit)
    }

    fn advance(&self, duration: Duration) {
        let mut state = self.state();
        let left = FURTHEST.saturating_sub(state.now.duration_since(self.start));
        state.now = state
            .now
            .checked_add(duration.min(left))
            .unwrap_or(state.now);
        self.standing.moved();
        wake_due(state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn nearest(&self, limit: Option<Instant>) -> Option<Instant> {
        let (&(nearest, _), _) = self.waiting.first_key_value()?;
        limit
            .is_none_or(|limit| nearest <= limit)
            .then_some(nearest)
    }
}

/// Wakes nobody under the lock.
fn wake_due(mut state: MutexGuard<'_, State>) {
    let now = state.now;
    let later = state.waiting.split_off(&(now, u64::MAX));
    let due = mem::replace(&mut state.waiting, later);
    drop(state);
    due.into_values().for_each(Waker::wake);
}

/// Waits for a time by a universe's clock.
pub(crate) struct Timer {
    sim: Arc<Sim>,
    at: Instant,
    /// Set while it waits.
    id: Option<u64>,
}

impl Timer {
    pub(crate) const fn new(sim: Arc<Sim>, at: Instant) -> Self {
        let id = None;
        Self { sim, at, id }
    }

    pub(crate) fn is_by_current_clock(&self) -> bool {
        place::with_sim(|sim| sim.is_some_and(|sim| Arc::ptr_eq(sim, &self.sim)))
    }

    pub(crate) fn set_at(&mut self, at: Instant) {
        self.forget();
        self.at = at;
    }

    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.sim.times.state();
        if self.at <= state.now {
            drop(state);
            self.forget();
            return Poll::Ready(());
        }
        let id = *self.id.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        let former = state.waiting.insert((self.at, id), cx.waker().clone());
        drop(state);
        drop(former);
        Poll::Pending
    }

    fn forget(&mut self) {
        if let Some(id) = self.id.take() {
            let former = self.sim.times.state().waiting.remove(&(self.at, id));
            drop(former);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.forget();
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}
