//! Limits how many CPU-bound tests run at the same time.
//!
//! Nearly all tests wait most of the time, so many of them can run at once. A few compute from start to end.
//! If all of these run at once, on more threads than cores, other tests run into time limits that exist to
//! detect hangs. Therefore CPU-bound tests wait for free cores. A test of a race between threads does so too:
//! without a core for each thread there is no race.

use std::{
    env,
    num::NonZero,
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// Cores reserved for one test until this is dropped.
#[must_use]
pub(crate) struct Cores(usize);

/// Waits until this many cores are free, or all cores if there are fewer, and reserves them. Ask for one core
/// for each thread on which the test computes, before any timeout of the test starts.
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

/// Returns how many copies of a test in a universe run at once, each on its own thread.
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
