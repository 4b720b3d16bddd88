//! Time in a simulated universe, where only timers advance the clock.

use std::time::Duration;

use erps::time;

pub(crate) const HOUR: Duration = secs(3600);

/// The smallest step across a limit.
pub(crate) const STEP: Duration = ms(1);

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Waits until all tasks of the universe are blocked: the clock does not advance before. Advances it by one
/// nanosecond.
pub(crate) async fn settled() {
    time::sleep(Duration::from_nanos(1)).await;
}

/// Returns a future's output and how much time it took.
pub(crate) async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let start = time::now();
    let output = future.await;
    (output, time::now() - start)
}

/// Returns a future's output and asserts that no time passed.
#[track_caller]
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let (output, took) = timed(future).await;
        assert_eq!(took, Duration::ZERO, "at {caller}");
        output
    }
}
