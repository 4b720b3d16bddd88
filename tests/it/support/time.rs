//! Time in a simulated universe, where nothing takes any but what waits for it.

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

/// Until everybody waits: the clock does not move before. Takes a nanosecond of its time.
pub(crate) async fn settled() {
    time::sleep(Duration::from_nanos(1)).await;
}

/// How long something takes.
pub(crate) async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let start = time::now();
    let output = future.await;
    (output, time::now() - start)
}

/// What comes of something that takes no time.
#[track_caller]
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let (output, took) = timed(future).await;
        assert_eq!(took, Duration::ZERO, "at {caller}");
        output
    }
}
