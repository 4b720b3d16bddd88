//! The clock of the current universe: sleeping, time-outs and random numbers for programs.
//!
//! A timer of the main future is among the [live resources](crate::Universe::live_resources). A timer of a task is not,
//! since the task is.

use std::{panic::Location, pin::pin, time::Duration};

use futures_lite::future;

use crate::{inherit::enlist_timer, timer};

pub use crate::timer::{Elapsed, now, random};

/// Sleeps for `duration` by the clock of the current universe, from the first poll on. A duration of zero yields once.
///
/// # Cancel safety
///
/// Dropping the future has no effect.
#[track_caller]
pub fn sleep(duration: Duration) -> impl Future<Output = ()> + Send + use<> {
    let at = Location::caller();
    async move {
        let _listed = enlist_timer(at);
        if duration.is_zero() {
            // A loop of such sleeps must let other tasks run.
            return future::yield_now().await;
        }
        timer::sleep(duration).await;
    }
}

/// Runs a future for at most `limit`, by the clock of the current universe.
///
/// # Errors
///
/// [`Elapsed`], if the future takes longer. It is dropped then.
///
/// # Cancel safety
///
/// The same as the future's own.
#[track_caller]
pub fn timeout<T, F: Future<Output = T>>(
    limit: Duration,
    future: F,
) -> impl Future<Output = Result<T, Elapsed>> {
    let at = Location::caller();
    async move {
        let _listed = enlist_timer(at);
        // By reference: another move would double the size of this future.
        let future = pin!(future);
        timer::timeout(limit, future).await
    }
}
