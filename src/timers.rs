//! Timers of a server or a client's handler: messages that fall due at a time.
//!
//! They are not tasks. The owner's task polls them between two callbacks, so that a cancelled timer never fires, an
//! interval has at most one tick at a time, and all are dropped with the owner.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

use crate::{
    ExitReason,
    task::{self, deadline},
    universe::integration::contain,
};

/// The shortest period of an interval. A shorter one counts as this.
const MIN_PERIOD: Duration = Duration::from_millis(1);

/// The timers of one owner, with its messages. Nothing is allocated before the first one.
pub(crate) struct Timers<T>(OnceLock<Arc<Schedule<T>>>);

struct Schedule<T>(Mutex<Due<T>>);

struct Due<T> {
    last_id: u64,
    /// When each timer is due. An interval whose message is being made is here, and not in `entries`.
    times: BTreeMap<u64, Instant>,
    /// By time, and of equal times the oldest first.
    entries: BTreeMap<(Instant, u64), Entry<T>>,
}

enum Entry<T> {
    Once(T),
    Every(Interval<T>),
}

struct Interval<T> {
    period: Duration,
    make: Box<dyn FnMut() -> T + Send>,
}

impl<T: Send + 'static> Timers<T> {
    pub(crate) fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Adds a timer that fires once.
    pub(crate) fn once(&self, delay: Duration, message: T) -> Timer {
        self.add(delay, Entry::Once(message))
    }

    /// Adds a timer that fires after each period.
    pub(crate) fn every(
        &self,
        period: Duration,
        make: impl FnMut() -> T + Send + 'static,
    ) -> Timer {
        let period = period.max(MIN_PERIOD);
        let make = Box::new(make);
        self.add(period, Entry::Every(Interval { period, make }))
    }

    fn add(&self, delay: Duration, entry: Entry<T>) -> Timer {
        let schedule = self.0.get_or_init(|| Arc::new(Schedule::new()));
        let time = deadline(task::now(), delay);
        let mut due = schedule.due();
        due.last_id += 1;
        let id = due.last_id;
        // In a century it is due never.
        if let Some(time) = time {
            due.times.insert(id, time);
            due.entries.insert((time, id), entry);
        }
        drop(due);
        let schedule = Arc::downgrade(schedule);
        Timer { schedule, id }
    }

    /// Returns when the next timer is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        let due = self.0.get()?.due();
        due.entries.first_key_value().map(|((time, _), _)| *time)
    }

    /// Returns the message of a timer that is due, if there is one. The user's function that makes it may panic.
    pub(crate) fn take_due(&self) -> Option<Result<T, ExitReason>> {
        let schedule = self.0.get()?;
        let (id, time, mut interval) = {
            let mut due = schedule.due();
            let first = due.entries.first_entry()?;
            let (time, id) = *first.key();
            if time > task::now() {
                return None;
            }
            match first.remove() {
                Entry::Once(message) => {
                    due.times.remove(&id);
                    return Some(Ok(message));
                }
                Entry::Every(interval) => (id, time, interval),
            }
        };
        let message = task::catch(&mut interval.make);
        schedule.repeat(id, time, interval);
        Some(message)
    }
}

impl<T> Schedule<T> {
    fn new() -> Self {
        Self(Mutex::new(Due {
            last_id: 0,
            times: BTreeMap::new(),
            entries: BTreeMap::new(),
        }))
    }

    fn due(&self) -> MutexGuard<'_, Due<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Schedules the next tick of an interval, unless it was cancelled meanwhile. Missed ticks are skipped.
    fn repeat(&self, id: u64, time: Instant, interval: Interval<T>) {
        let now = task::now();
        let late = now.saturating_duration_since(time);
        let next = deadline(now, interval.period - remainder(late, interval.period));
        let mut due = self.due();
        if let (Some(at), Some(next)) = (due.times.get_mut(&id), next) {
            *at = next;
            due.entries.insert((next, id), Entry::Every(interval));
        }
    }
}

impl<T> Drop for Schedule<T> {
    /// A destructor of the user may panic, also while the owner is unwinding: the others run all the same.
    fn drop(&mut self) {
        for entry in std::mem::take(&mut self.due().entries).into_values() {
            contain("a destructor panicked", || drop(entry));
        }
    }
}

/// Returns the remainder of a division.
fn remainder(of: Duration, by: Duration) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let nanos = of.as_nanos() % by.as_nanos().max(1);
    // Both are smaller than `by`, which is a duration.
    Duration::new((nanos / SECOND) as u64, (nanos % SECOND) as u32)
}

/// Removes a timer, whatever the type of its message.
trait Cancel: Send + Sync {
    fn cancel(&self, id: u64) -> bool;
}

impl<T: Send> Cancel for Schedule<T> {
    fn cancel(&self, id: u64) -> bool {
        let (was_running, removed) = {
            let mut due = self.due();
            let time = due.times.remove(&id);
            let removed = time.and_then(|time| due.entries.remove(&(time, id)));
            (time.is_some(), removed)
        };
        // The user's message is dropped without the lock.
        drop(removed);
        was_running
    }
}

/// A handle to a timer of a server or a client's handler. Returned by [`Context::send_after`](crate::Context::send_after)
/// and [`Context::interval`](crate::Context::interval).
///
/// Clones are handles to the same timer. Dropping one has no effect on the timer.
#[derive(Clone)]
pub struct Timer {
    schedule: Weak<dyn Cancel>,
    id: u64,
}

impl Timer {
    /// Cancels the timer: from now on it does not fire. Returns whether it would have fired otherwise.
    ///
    /// OTP's `Process.cancel_timer/1`. Unlike there, no message of it can be left in the mailbox.
    pub fn cancel(&self) -> bool {
        let schedule = self.schedule.upgrade();
        schedule.is_some_and(|it| it.cancel(self.id))
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}
