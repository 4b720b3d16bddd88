//! Blocking work for a task of the current universe.

use crate::{Universe, inherit_fn, spawn};

/// Runs a closure that blocks or computes for long, off the executor's threads, in the current universe.
///
/// The closure runs on the thread pool of [`smol::unblock`] and inherits the universe: it sees the same statics, mocks
/// and configuration as the caller. Dropping the returned task cancels the closure if it has not begun;
/// [`detach`](smol::Task::detach) lets it continue. A panic of the closure is passed to the task that awaits it.
///
/// In a simulated universe that is [run](Universe::run) the closure runs on the run's own thread, as one step of a
/// task: no virtual time passes meanwhile, and its order among other tasks repeats with the seed. It must not wait there
/// for another task of the universe, which cannot run before the closure returns. Use this instead of `smol::unblock`
/// everywhere: a closure on another thread that has not inherited the universe does not hold its clock, which advances
/// to the next timeout while the closure runs.
///
/// # Example
///
/// ```
/// use std::fs;
/// use test_universe::{Universe, time};
///
/// Universe::simulated(1).run(async {
///     let start = time::now();
///     let read = test_universe::unblock(|| fs::read("Cargo.toml"));
///     assert!(read.await.is_ok());
///     assert_eq!(time::now(), start);
/// });
/// ```
#[track_caller]
pub fn unblock<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> smol::Task<T> {
    let runs_here = |universe: Universe| universe.seed().is_some() && universe.executor().is_some();
    if Universe::current().is_some_and(runs_here) {
        spawn(async move { f() })
    } else {
        smol::unblock(inherit_fn(f))
    }
}
