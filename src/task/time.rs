//! Clock, timers and chance.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use smol::Timer;

/// The time by the clock that all of the library's deadlines are measured with.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits. For tasks of the library only.
pub(crate) async fn sleep(duration: Duration) {
    Timer::after(duration).await;
}

/// A future did not complete in its time.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Runs `future` for at most `limit`; it is dropped if it takes longer. For tasks of the library
/// only.
pub(crate) async fn timeout<T>(
    limit: Duration,
    future: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let mut future = pin!(future);
    let mut timer = pin!(Timer::after(limit));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        timer.as_mut().poll(cx).map(|_| Err(Elapsed))
    })
    .await
}

/// A duration drawn evenly from zero up to `limit`, the limit excluded.
pub(crate) fn random_below(limit: Duration) -> Duration {
    limit.mul_f64(fastrand::f64())
}

/// One timer for the nearest of many deadlines.
///
/// A deadline that moves away costs nothing: the timer is left where it is and set anew when it
/// fires too early. A connection whose deadlines are always far ahead thus almost never touches
/// the reactor.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    timer: Option<Timer>,
    set_to: Option<Instant>,
}

impl Alarm {
    /// Ready once `deadline` has passed; `None` never passes.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        loop {
            if self.set_to.is_none_or(|set_to| deadline < set_to) {
                match &mut self.timer {
                    Some(timer) => timer.set_at(deadline),
                    None => self.timer = Some(Timer::at(deadline)),
                }
                self.set_to = Some(deadline);
            }
            let timer = self.timer.as_mut().expect("it has just been set");
            if pin!(timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.set_to = None;
            if deadline <= now() {
                return Poll::Ready(());
            }
        }
    }
}
