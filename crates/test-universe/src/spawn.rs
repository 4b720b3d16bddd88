//! Spawning in the current universe.

use std::sync::Weak;

use crate::{Universe, contained::Contained, inherit::inherit};

/// Spawns a future where this library spawns its own: on the executor of the current universe, if that
/// is being [run](Universe::run), else on smol's global one. It inherits the universe.
///
/// What is spawned so in a simulated universe takes its turns in the order that the seed decides.
/// Dropping the returned task ends it; [`detach`](smol::Task::detach) lets it go. What is spawned by the
/// destructors of a run that is over is dropped. A panic goes to whoever awaits the task, and fails the test
/// in whose universe it is, unless it is [expected](Universe::expect_panics). Its payload is the original one
/// if that is text.
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
        // The universe has come to its end. It takes no more, and drops what it is given.
        Some(None) => async_executor::Executor::new().spawn(future),
        None => smol::spawn(future),
    }
}
