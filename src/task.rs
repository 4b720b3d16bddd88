//! The only module that spawns, sleeps, reads a clock or draws a random number.
//!
//! A spawned task inherits the universe of the caller, and a panic in it becomes an
//! [`ExitReason`](crate::ExitReason).
//!
//! ```text
//! Linked ----> TaskRef ----> Spawner        (an arrow means: uses)
//!                 ^             ^
//! start ----------+-------------+
//! ```
//!
//! Timers are polled only by tasks of the library, never by a public future: a caller may run in any
//! runtime, or in none.

mod budget;
mod caught;
mod children;
mod exit;
mod facts;
mod handle;
mod linked;
mod offload;
mod runtime;
mod shutdown;
mod spawn;
mod spawner;
mod start;
mod stopwatch;

use crate::universe::integration::is_simulated;
pub(crate) use crate::{
    time::{Elapsed, now},
    universe::integration::{
        Alarm, Clock, Contained, FOR_EVER, Foreign, Panic, deadline, random_below, sleep, timeout,
        wall_clock,
    },
};
pub(crate) use budget::{BUDGET, Budget};
pub(crate) use caught::{Caught, catch, panicked};
pub(crate) use children::Children;
pub use children::TaskHandle;
pub(crate) use facts::Facts;
pub use handle::TaskRef;
pub use linked::Linked;
pub(crate) use offload::offload;
#[cfg(feature = "tokio")]
pub(crate) use runtime::Runtime;
pub use shutdown::Shutdown;
pub use spawn::{spawn, unblock};
pub(crate) use spawner::Spawner;
pub(crate) use stopwatch::{SLOW_CALLBACK, Stopwatch};

/// Returns what a timeout may be due to in a simulated universe; empty in real time.
pub(crate) fn timeout_hint() -> &'static str {
    if is_simulated() {
        " (in simulated time: a thread, a real socket or a timer of another library does not hold the clock; \
         run such work with `erps::unblock`)"
    } else {
        ""
    }
}

/// Runs work that waits for files on a thread where it blocks no other task.
///
/// In a simulated universe it runs inline: otherwise the simulated clock would advance meanwhile.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if is_simulated() {
        work()
    } else {
        smol::unblock(work).await
    }
}
