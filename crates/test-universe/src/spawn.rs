//! Spawning in the current universe.

use std::sync::Weak;

use crate::{Universe, inherit::inherit, user_code::Contained};

/// Spawns a future on the executor of the current universe, or on smol's global executor if there is none.
///
/// The future inherits the universe. While a simulated universe is [run](Universe::run), its seed decides the order in
/// which tasks are polled. Dropping the returned task cancels it; [`detach`](smol::Task::detach) lets it continue.
/// After the run has ended, spawned futures are dropped.
///
/// A panic of the future is passed to the task that awaits it, with its payload if that is text, and fails the test
/// unless it is [expected](Universe::expect_panics).
///
/// # Example
///
/// ```
/// use test_universe::Universe;
///
/// Universe::simulated(1).run(async {
///     let task = test_universe::spawn(async { Universe::current() });
///     assert!(task.await.is_some());
/// });
/// ```
#[track_caller]
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> smol::Task<T> {
    let future = inherit(Contained::new(future));
    let own = Universe::current().and_then(|universe| universe.executor());
    match own.as_ref().map(Weak::upgrade) {
        Some(Some(executor)) => executor.spawn(future),
        // The run has ended: the future is dropped.
        Some(None) => async_executor::Executor::new().spawn(future),
        None => smol::spawn(future),
    }
}
