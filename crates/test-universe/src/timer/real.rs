//! Timers of the real clock, and blocking on a future: smol's with the feature `smol`, else those of this file, which
//! need no reactor.

use std::time::Duration;

#[cfg(not(feature = "smol"))]
pub(crate) use without_smol::{Timer, block_on};

#[cfg(feature = "smol")]
pub(crate) use with_smol::{Timer, block_on};

/// Waits for this long by the real clock.
pub(crate) async fn sleep(duration: Duration) {
    let mut timer = Timer::after(duration);
    std::future::poll_fn(|cx| timer.poll(cx)).await;
}

#[cfg(feature = "smol")]
mod with_smol {
    use std::{
        pin::Pin,
        task::{Context, Poll},
        time::{Duration, Instant},
    };

    pub(crate) use async_io::block_on;

    #[derive(Debug)]
    pub(crate) struct Timer(async_io::Timer);

    impl Timer {
        pub(crate) fn at(at: Instant) -> Self {
            Self(async_io::Timer::at(at))
        }

        pub(crate) fn after(duration: Duration) -> Self {
            Self(async_io::Timer::after(duration))
        }

        pub(crate) fn set_at(&mut self, at: Instant) {
            self.0.set_at(at);
        }

        pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            Pin::new(&mut self.0).poll(cx).map(drop)
        }
    }
}

#[cfg(not(feature = "smol"))]
mod without_smol {
    use std::{
        collections::BTreeMap,
        sync::{Condvar, Mutex, MutexGuard, Once, PoisonError},
        task::{Context, Poll, Waker},
        thread,
        time::{Duration, Instant},
    };

    pub(crate) use futures_lite::future::block_on;

    use crate::unwind;

    /// A timer that a thread of this module wakes.
    #[derive(Debug)]
    pub(crate) struct Timer {
        /// `None` is beyond what an `Instant` can represent.
        at: Option<Instant>,
        /// Set while it is among the timers of the thread.
        id: Option<u64>,
    }

    impl Timer {
        pub(crate) fn at(at: Instant) -> Self {
            Self {
                at: Some(at),
                id: None,
            }
        }

        pub(crate) fn after(duration: Duration) -> Self {
            Self {
                at: Instant::now().checked_add(duration),
                id: None,
            }
        }

        pub(crate) fn set_at(&mut self, at: Instant) {
            self.remove();
            self.at = Some(at);
        }

        pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            let Some(at) = self.at else {
                return Poll::Pending;
            };
            if at <= Instant::now() {
                self.remove();
                return Poll::Ready(());
            }
            let mut state = state();
            let id = *self.id.get_or_insert_with(|| {
                state.last_id += 1;
                state.last_id
            });
            let is_next = state
                .timers
                .keys()
                .next()
                .is_none_or(|next| (at, id) < *next);
            let former = state.timers.insert((at, id), cx.waker().clone());
            drop(state);
            drop(former);
            if is_next {
                CHANGED.notify_one();
            }
            START.call_once(|| drop(thread::spawn(run)));
            Poll::Pending
        }

        fn remove(&mut self) {
            if let (Some(id), Some(at)) = (self.id.take(), self.at) {
                let former = state().timers.remove(&(at, id));
                drop(former);
            }
        }
    }

    impl Drop for Timer {
        fn drop(&mut self) {
            self.remove();
        }
    }

    struct State {
        /// Ordered by due time, then by creation.
        timers: BTreeMap<(Instant, u64), Waker>,
        last_id: u64,
    }

    static STATE: Mutex<State> = Mutex::new(State {
        timers: BTreeMap::new(),
        last_id: 0,
    });
    /// Notified when there is a new next timer.
    static CHANGED: Condvar = Condvar::new();
    static START: Once = Once::new();

    fn state() -> MutexGuard<'static, State> {
        STATE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes due timers, for ever.
    fn run() {
        let mut guard = state();
        loop {
            let now = Instant::now();
            let later = guard.timers.split_off(&(now, u64::MAX));
            let due = std::mem::replace(&mut guard.timers, later);
            if !due.is_empty() {
                // Wakers run outside of the lock: they may drop timers.
                drop(guard);
                for waker in due.into_values() {
                    // A waker that panics must not end the thread.
                    drop(unwind::catch(|| waker.wake()));
                }
                guard = state();
                continue;
            }
            let next = guard.timers.keys().next().map(|(at, _)| *at);
            guard = match next {
                None => CHANGED.wait(guard).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let wait = CHANGED.wait_timeout(guard, at - now);
                    wait.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
