//! Room for tests that keep whole cores busy for seconds.
//!
//! Nearly all tests wait most of their time, and as many of them may run at once as one likes. A few
//! compute from beginning to end. All of these at once, on more threads than there are cores, leave
//! the others so little that limits of real time pass, which are there to find what hangs. So they take
//! turns. What they test is not how they get on beside each other. A race between threads takes its turn,
//! too: it is none if they get no turn at once.

use std::{
    env,
    num::NonZero,
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// Cores that no other such test computes on until this is dropped.
#[must_use]
pub(crate) struct Cores(usize);

/// Waits until so many cores are free, or all that there are if they are fewer. One for each of the threads
/// on which a test computes. To be asked for before any time-out of the test begins.
pub(crate) fn cores(wanted: usize) -> Cores {
    let all = thread::available_parallelism().map_or(1, NonZero::get);
    let wanted = wanted.min(all);
    let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut taken = FREED
        .wait_while(taken, |taken| *taken + wanted > all)
        .unwrap_or_else(PoisonError::into_inner);
    *taken += wanted;
    Cores(wanted)
}

/// How many copies of a test in a universe run at once, each on a thread.
pub(crate) fn copies() -> usize {
    let copies = env::var("ERPS_REPLICATION").ok();
    copies.and_then(|it| it.parse().ok()).unwrap_or(1)
}

impl Drop for Cores {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        FREED.notify_all();
    }
}
