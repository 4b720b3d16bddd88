//! Whether a future of a simulated universe is awake: its states, and its waker.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use super::{Sim, livelock::PollCount};

/// Counts a future of a simulated universe as awake or asleep; does nothing in other universes.
#[derive(Debug, Default)]
pub(crate) struct Watch(Option<(Arc<Watched>, Waker)>);

struct Watched {
    sim: Arc<Sim>,
    /// Another executor spawns it, and wakes the waiter of its task.
    foreign: bool,
    state: AtomicU8,
    polls: PollCount,
    /// The waker of whatever polls the future.
    outer: Mutex<Option<Waker>>,
}

/// It waits. In all other states but `DONE` and `LEFT` it counts as awake.
const ASLEEP: u8 = 0;
/// It is about to be polled.
const WOKEN: u8 = 1;
/// It is being polled.
const RUNNING: u8 = 2;
/// It is being polled, and was woken since the poll began.
const WOKEN_AGAIN: u8 = 3;
/// It has completed or was dropped.
const DONE: u8 = 4;
/// It continues without being watched here. Former wakers still wake it.
const LEFT: u8 = 5;

impl Watch {
    /// Starts watching a future that is about to be polled.
    pub(crate) fn begin(sim: Option<&Arc<Sim>>) -> Self {
        Self::new(sim, false)
    }

    /// Starts watching a future that another executor runs.
    pub(crate) fn begin_foreign(sim: Option<&Arc<Sim>>) -> Self {
        Self::new(sim, true)
    }

    fn new(sim: Option<&Arc<Sim>>, foreign: bool) -> Self {
        Self(sim.map(|sim| {
            sim.wakes();
            let watched = Arc::new(Watched {
                sim: Arc::clone(sim),
                foreign,
                state: AtomicU8::new(WOKEN),
                polls: PollCount::default(),
                outer: Mutex::new(None),
            });
            let waker = Waker::from(Arc::clone(&watched));
            (watched, waker)
        }))
    }

    /// Polls a future of this simulation; `task` is its name in a report.
    ///
    /// The caller polls a future that is nested in another one of the same simulation without this: it is awake when
    /// the outer one is.
    pub(crate) fn poll<R>(
        &mut self,
        sim: &Arc<Sim>,
        task: impl FnOnce() -> String,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        if self.0.is_none() {
            *self = Self::begin(Some(sim));
        }
        let (watched, waker) = self.0.as_ref().expect("it has just been set");
        if !watched.starts(cx.waker()) {
            return Poll::Pending;
        }
        if sim.is_driven() && sim.defers() {
            cx.waker().wake_by_ref();
            watched.state.store(WOKEN, SeqCst);
            return Poll::Pending;
        }
        if sim.times.livelock.count_poll(&watched.polls) && sim.is_driven() {
            sim.times.livelock.detect(task);
            sim.notify_driver();
        }
        let outcome = poll(&mut Context::from_waker(waker));
        if outcome.is_pending() {
            watched.pauses();
        }
        outcome
    }

    /// Stops watching a future that continues. Its former wakers still wake it.
    pub(crate) fn leave(&mut self, waker: &Waker) {
        if let Some((watched, _)) = self.0.take() {
            watched.leaves(waker);
        }
    }

    /// Stops watching, after the future has been dropped: its destructor may have woken other tasks.
    pub(crate) fn end(&mut self) {
        if let Some((watched, _)) = self.0.take() {
            watched.ends();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

impl Watched {
    /// Returns false if the future is polled without having been woken, as in a join. While the universe is driven it
    /// stays asleep then: the driver waits in the same task until all futures are asleep, and this poll would notify
    /// it again and again.
    fn starts(&self, outer: &Waker) -> bool {
        let former = self.outer().replace(outer.clone());
        drop(former);
        if self.sim.is_driven() && self.state.load(SeqCst) == ASLEEP {
            return false;
        }
        if self.state.swap(RUNNING, SeqCst) == ASLEEP {
            self.sim.wakes();
        }
        true
    }

    fn pauses(&self) {
        let slept = self
            .state
            .compare_exchange(RUNNING, ASLEEP, SeqCst, SeqCst)
            .is_ok();
        self.sim.times.livelock.poll_ended(&self.polls, !slept);
        if slept {
            self.sim.sleeps();
        } else {
            self.state.store(WOKEN, SeqCst);
        }
    }

    fn ends(&self) {
        // The waker may own the future that owns this.
        let outer = self.outer().take();
        drop(outer);
        if self.state.swap(DONE, SeqCst) != ASLEEP {
            match self.foreign {
                true => self.sim.sleeps_soon(),
                false => self.sim.sleeps(),
            }
        }
    }

    fn leaves(&self, outer: &Waker) {
        let former = self.outer().replace(outer.clone());
        drop(former);
        if self.state.swap(LEFT, SeqCst) != ASLEEP {
            self.sim.sleeps();
        }
    }

    fn outer(&self) -> MutexGuard<'_, Option<Waker>> {
        self.outer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Watched {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        loop {
            let state = self.state.load(SeqCst);
            let next = match state {
                ASLEEP => WOKEN,
                RUNNING => WOKEN_AGAIN,
                DONE => return,
                LEFT => {
                    let outer = self.outer().clone();
                    return outer.into_iter().for_each(Waker::wake);
                }
                other => other,
            };
            // Counted before the new state is visible, and taken back if another thread was faster.
            if state == ASLEEP {
                self.sim.wakes();
            }
            let changed = self.state.compare_exchange(state, next, SeqCst, SeqCst);
            if changed.is_ok() {
                break;
            }
            if state == ASLEEP {
                self.sim.sleeps();
            }
        }
        if let Some(outer) = self.outer().take() {
            outer.wake();
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.state).finish()
    }
}
