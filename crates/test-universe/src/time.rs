//! Sleep and time-outs of programs: as the library's own, and listed among what lives if they are kept.
//!
//! Those that a task has begun are not, whether it is the library's or a program's: it is listed itself.

use std::{panic::Location, pin::pin, time::Duration};

use futures_lite::future;

use crate::{inherit::enlist_timer, timer};

pub use crate::timer::{Elapsed, now, random};

/// Waits for this long, by the clock of the current universe, from the first poll on. For no time at all it
/// lets others have a turn.
///
/// Begun by the main future of a [run](crate::Universe::run), it is among what
/// [lives](crate::Universe::living) until it is over or dropped.
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
            // A loop that sleeps for no time lets others have their turns.
            return future::yield_now().await;
        }
        timer::sleep(duration).await;
    }
}

/// Runs a future for at most `limit`, by the clock of the current universe.
///
/// Begun by the main future of a [run](crate::Universe::run), it is among what
/// [lives](crate::Universe::living) until it is over or dropped.
///
/// # Errors
///
/// If it takes longer. It is dropped then.
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
        // By reference: moved once more, it would take its room once more.
        let future = pin!(future);
        timer::timeout(limit, future).await
    }
}
