//! Work that exceeds a task's budget, done on threads of its own.
//!
//! ```text
//! task --offload--> permit --> thread of smol's blocking pool --> task
//! ```
//!
//! There are fewer permits than processors: however many peers send large packets, one processor is left for
//! all other tasks.

use std::{
    sync::{Arc, LazyLock},
    thread,
};

use smol::lock::Semaphore;

use crate::universe::{
    self,
    integration::{Foreign, Panic, catch_panic, is_simulated},
};

/// Limits such work to one thread less than there are processors, and to at least one.
static PERMITS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new((processors - 1).max(1)))
});

/// Runs a closure off the executor's threads, in the caller's universe, and returns its result, or what it
/// panicked with.
///
/// In a simulated universe it runs at once and inline, so that a seed decides everything.
///
/// # Cancel safety
///
/// Dropped before the closure has begun, it never runs. Dropped later, its result is dropped on the other thread.
pub(crate) async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panic> {
    let work = move || catch_panic(work);
    if is_simulated() {
        return work();
    }
    let work = universe::inherit_fn(work);
    let permit = PERMITS.acquire_arc().await;
    let work = move || {
        let result = Foreign::new(work());
        drop(permit);
        result
    };
    smol::unblock(work).await.into_inner()
}
