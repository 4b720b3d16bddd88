//! The simulated time, and the timers that wait for a later one.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

use super::livelock::Detector;

/// The latest simulated time, as a duration since the start of the universe. Programs add to instants without checking
/// for overflow.
const MAX_ELAPSED: Duration = Duration::from_secs(10_000 * 365 * 24 * 3600);

pub(crate) struct Times {
    start: Instant,
    pub(crate) livelock: Detector,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) now: Instant,
    /// Ordered by due time, then by creation.
    pub(super) timers: BTreeMap<(Instant, u64), Waker>,
    last_id: u64,
    /// How far the program itself has advanced the clock.
    by_hand: Duration,
}

impl Times {
    pub(super) fn starting(start: Instant) -> Self {
        Self {
            start,
            livelock: Detector::default(),
            state: Mutex::new(State {
                now: start,
                timers: BTreeMap::new(),
                last_id: 0,
                by_hand: Duration::ZERO,
            }),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.state().now
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.since_start(self.now())
    }

    pub(crate) fn since_start(&self, time: Instant) -> Duration {
        time.duration_since(self.start)
    }

    /// Advances to the next timer, up to `limit`, and wakes all timers that are due then. Returns whether there was
    /// one.
    pub(crate) fn advance_to_next(&self, limit: Option<Instant>) -> bool {
        let mut state = self.state();
        let Some(next) = state.next(limit) else {
            return false;
        };
        state.now = state.now.max(next);
        self.livelock.clock_advanced();
        wake_due(state);
        true
    }

    /// The due time of the next timer, up to `limit`.
    pub(super) fn next(&self, limit: Option<Instant>) -> Option<Instant> {
        self.state().next(limit)
    }

    /// Advances by `duration` at once, as the program asks for.
    pub(crate) fn advance(&self, duration: Duration) {
        let mut state = self.state();
        let left = MAX_ELAPSED.saturating_sub(state.now.duration_since(self.start));
        let before = state.now;
        let now = before.checked_add(duration.min(left)).unwrap_or(before);
        state.now = now;
        state.by_hand += now - before;
        self.livelock.clock_advanced();
        wake_due(state);
    }

    /// The time at which the clock has advanced by `limit` by itself.
    pub(crate) fn limit(&self, limit: Duration) -> Option<Instant> {
        let by_hand = self.state().by_hand;
        self.start.checked_add(limit)?.checked_add(by_hand)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&self, limit: Option<Instant>) -> Option<Instant> {
        let (&(next, _), _) = self.timers.first_key_value()?;
        limit.is_none_or(|limit| next <= limit).then_some(next)
    }

    pub(super) fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

/// Wakes outside of the lock.
fn wake_due(mut state: MutexGuard<'_, State>) {
    let now = state.now;
    let later = state.timers.split_off(&(now, u64::MAX));
    let due = mem::replace(&mut state.timers, later);
    drop(state);
    due.into_values().for_each(Waker::wake);
}
