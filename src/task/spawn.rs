//! Tasks and blocking work that a program starts itself.

use super::runtime::Runtime;

/// Spawns a future on the executor of the current universe, or on smol's global executor if there is none.
///
/// As [`test_universe::spawn`](crate::universe::spawn): the future inherits the universe, and dropping the returned task
/// cancels it. Work of a server that is to end with the server is spawned by
/// [`Context::spawn`](crate::Context::spawn). With the feature `tokio` it also inherits the tokio runtime that this is called in, so that tokio's
/// timers and sockets work in a task that a handler spawns.
///
/// # Example
///
/// A handler that answers later, while the server handles other messages:
///
/// ```
/// use std::time::Duration;
/// use erps::{BoxError, ReplyTo, time};
///
/// fn answer_later(from: ReplyTo<u32>) {
///     let work = async move {
///         time::sleep(Duration::from_millis(100)).await;
///         from.reply(42);
///     };
///     erps::spawn(work).detach();
/// }
/// ```
#[track_caller]
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> smol::Task<T> {
    crate::universe::spawn(Runtime::current().run(future))
}

/// Runs a closure that blocks or computes for long, off the executor's threads, in the current universe.
///
/// As [`test_universe::unblock`](crate::universe::unblock): in a simulated universe no virtual time passes meanwhile.
/// With the feature `tokio` the closure may use the [`Handle`](https://docs.rs/tokio/1/tokio/runtime/struct.Handle.html)
/// of the tokio runtime that this is called in: `Handle::current().block_on(future)` awaits a future of tokio while the
/// simulated clock stands still.
///
/// # Example
///
/// ```
/// smol::block_on(async {
///     let text = erps::unblock(|| std::fs::read_to_string("Cargo.toml")).await;
///     assert!(text.is_ok());
/// });
/// ```
#[track_caller]
pub fn unblock<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> smol::Task<T> {
    crate::universe::unblock(Runtime::current().run_fn(f))
}
