//! The loop that polls the tasks of a universe and advances its clock.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use async_executor::Executor;
use futures_lite::{FutureExt as _, future};

use crate::{report::Unfinished, sim::Sim, timer::real, universe::Universe};

/// How many tasks are polled before the loop yields to real timers.
const BATCH: u32 = 200;

/// How many polls the tasks of a simulated universe may take to end if its clock does not reach the limit: a task that
/// never waits lets no simulated time pass. Some seconds of a whole core.
const MAX_SHUTDOWN_POLLS: u64 = 1_000_000;

pub(super) struct Driver<'a> {
    universe: &'a Universe,
    executor: &'a Executor<'static>,
}

/// Why a loop ended that did not end by itself.
enum Stop {
    Done,
    Deadlock,
    Livelock,
    /// The next timer is beyond the limit.
    Limit(Instant),
}

impl<'a> Driver<'a> {
    pub(super) fn new(universe: &'a Universe, executor: &'a Executor<'static>) -> Self {
        Self { universe, executor }
    }

    /// Runs the tasks beside the main future until it cannot complete any more.
    pub(super) async fn drive_main(&self, sim: &Sim, main: &MainTurn) -> Unfinished {
        let limit = self.universe.inner.limits().virtual_time;
        let polls = Cell::new(0);
        let drive = self.drive(sim, || sim.times.limit(limit), &polls, Some(main), || false);
        match drive.await {
            Stop::Livelock => Unfinished::Livelock,
            Stop::Limit(next) => Unfinished::VirtualLimit {
                next: sim.times.since_start(next),
            },
            Stop::Deadlock | Stop::Done => Unfinished::Deadlock,
        }
    }

    /// Runs tasks until `has_ended`, within the limit of the universe.
    pub(super) async fn shut_down(&self, has_ended: impl Fn() -> bool) {
        let limit = self.universe.inner.limits().shutdown;
        let polls = Cell::new(0);
        let ended = async {
            if let Some(sim) = &self.universe.inner.sim {
                let until = sim.now().checked_add(limit);
                let drive = self.drive(sim, || until, &polls, None, has_ended);
                drive.await;
                return;
            }
            let ended = async {
                loop {
                    let removed = self.universe.inner.resources.removed();
                    if has_ended() {
                        return;
                    }
                    removed.await;
                }
            };
            self.executor.run(ended).await;
        };
        // Real time limits a universe with the real clock, and a simulated one that polls nothing or never advances its
        // clock. One that is only slow, since other processes use the cores, continues.
        let timed_out = async {
            loop {
                let before = polls.get();
                real_time(limit).await;
                if polls.get() == before || polls.get() > MAX_SHUTDOWN_POLLS {
                    return;
                }
            }
        };
        ended.or(timed_out).await;
    }

    /// Polls the tasks of a simulated universe, and advances its clock up to `limit` when all wait. Counts the polls, and
    /// yields when it is the main future's turn.
    async fn drive(
        &self,
        sim: &Sim,
        limit: impl Fn() -> Option<Instant>,
        polls: &Cell<u64>,
        main: Option<&MainTurn>,
        is_done: impl Fn() -> bool,
    ) -> Stop {
        let external = self.universe.inner.limits().external;
        loop {
            for _ in 0..BATCH {
                if main.is_some_and(MainTurn::has_come) {
                    break;
                }
                if sim.times.livelock.has_detected() {
                    return Stop::Livelock;
                }
                if self.executor.try_tick() {
                    polls.set(polls.get() + 1);
                    continue;
                }
                if is_done() {
                    return Stop::Done;
                }
                if sim.advance_to_next(limit()) {
                    continue;
                }
                let (asleep, removed) = (sim.asleep(), self.universe.inner.resources.removed());
                if is_done() || sim.advance_to_next(limit()) {
                    continue;
                }
                if let Some(next) = sim.next_timer()
                    && limit().is_some_and(|limit| next > limit)
                {
                    return Stop::Limit(next);
                }
                let event = async {
                    self.executor.tick().or(asleep).or(removed).await;
                    true
                };
                let timed_out = async {
                    real_time(external).await;
                    false
                };
                if !event.or(timed_out).await && sim.is_stuck() {
                    return Stop::Deadlock;
                }
            }
            future::yield_now().await;
        }
    }
}

/// Waits for this long in real time, in steps: on a machine that does not schedule this thread, and so not the threads
/// that are waited for either, each step takes longer.
async fn real_time(limit: Duration) {
    const STEPS: u32 = 20;
    for _ in 0..STEPS {
        real::sleep(limit / STEPS).await;
    }
}

/// The turns of the main future, which may borrow and so is no task of the executor. When woken, it spawns a task that
/// stands for it in the order of polls, which is drawn from the seed.
pub(super) struct MainTurn {
    executor: Weak<Executor<'static>>,
    has_come: AtomicBool,
}

impl MainTurn {
    pub(super) fn new(executor: &Arc<Executor<'static>>) -> Arc<Self> {
        Arc::new(Self {
            executor: Arc::downgrade(executor),
            has_come: AtomicBool::new(true),
        })
    }

    fn has_come(&self) -> bool {
        self.has_come.load(SeqCst)
    }

    /// Polls a future whenever its turn has come.
    pub(super) fn take_each<F: Future>(
        self: &Arc<Self>,
        mut main: Pin<&mut F>,
    ) -> impl Future<Output = F::Output> {
        let waker = Waker::from(Arc::clone(self));
        poll_fn(move |_| match self.has_come.swap(false, SeqCst) {
            true => main.as_mut().poll(&mut Context::from_waker(&waker)),
            false => Poll::Pending,
        })
    }
}

impl Wake for MainTurn {
    fn wake(self: Arc<Self>) {
        if let Some(executor) = self.executor.upgrade() {
            let comes = async move { self.has_come.store(true, SeqCst) };
            executor.spawn(comes).detach();
        }
    }
}
