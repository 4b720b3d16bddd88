//! A universe that is run to its end: its tasks on one thread, its clock, and what is left over.
//!
//! ```text
//! main --> done --> all else winds up, for a while --> what is left is cancelled --> and reported
//!   |
//!   +--> all wait, and nothing is due: stuck
//! ```

use std::{
    cell::Cell,
    collections::BTreeMap,
    future::poll_fn,
    panic::Location,
    pin::Pin,
    sync::{
        Arc, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use async_executor::Executor;
use futures_lite::{FutureExt as _, future};

use crate::unwind::{self, Panic};
use crate::{InUniverse, Made, Universe, panics::contain, sim::Sim, verdict::Found};

/// How many tasks take a turn before it is seen to what waits beside them: real time-outs.
const TURNS: u32 = 200;

/// How long the rest may take to end once `main` has: a task that is asked to end, and killed if it
/// does not within the usual five seconds, gets there before.
const GRACE: Duration = Duration::from_secs(6);

/// How many turns of tasks a simulated universe may take to wind up, if its clock does not get to [`GRACE`]:
/// a task that never waits lets no simulated time pass. Some seconds of a whole core, however many share it.
const GRACE_TURNS: u64 = 1_000_000;

/// How long a simulated universe in which nothing moves waits for what comes from outside: from a
/// thread, a file, a socket. Whoever works there counts as awake if it inherited the universe, so
/// that this is for the rest: what takes longer looks like nothing at all.
const OUTSIDE: Duration = Duration::from_secs(2);

impl Universe {
    /// Runs a future to its end in this universe, on this thread; what it starts runs here too.
    ///
    /// Tasks that this library spawns in the universe run on this thread as long as this call lasts,
    /// unless they were given an executor. So nothing of it may block while it waits for another. It blocks
    /// the thread itself, for as long as the future takes: in an `async` function it is
    /// [`scope`](Self::scope) that is wanted, and [`test_universe::test`](crate::test) has a limit of time.
    /// In a [simulated](Self::simulated) universe the tasks, and the future itself, take turns in an order
    /// drawn from its seed: same seed, same program, same order.
    ///
    /// # The end
    ///
    /// When the future has completed, the rest has six seconds to end as well, by the universe's own
    /// clock. What [lives](Self::living) longer is a leak. It is cancelled as far as it can be, and
    /// this panics with a list of it. What lived before this call is not looked at. Where the clock of a
    /// simulated universe does not move, since a task never waits or a thread blocks, this is over after a
    /// million turns of tasks, or six real seconds without one.
    ///
    /// What is held by the universe's own statics, as a client for all of a test in a
    /// [`Sharded`](crate::Sharded), is none. If something lives after the six seconds, the values of
    /// the statics are dropped, and there is as much time again. So a test ends sooner that
    /// [clears](crate::Sharded::clear) such statics itself.
    ///
    /// # Panics
    ///
    /// - If the future panics: with that panic, and no other.
    /// - If it is being run already.
    /// - If something outlives the future, as said above. An error that the future returns is lost then;
    ///   [`test_universe::test`](crate::test) shows the error instead.
    /// - If a simulated universe is stuck: all that lives in it waits, nobody for a time-out, and
    ///   nothing comes from outside for two seconds.
    /// - If one spins: a task takes a million turns while the clock stands still, or 200 000 in a row for which
    ///   it has woken itself.
    /// - If a task panics, or something in it, as a callback or a destructor, and that was not
    ///   [expected](Self::expect_panics). Also if one that was expected does not.
    ///
    /// In a simulated universe the seed is part of the message. With the panic of the future it is
    /// on a line of its own.
    ///
    /// # Example
    ///
    /// ```
    /// use test_universe::{Universe, inherit};
    ///
    /// Universe::new().run(async {
    ///     let task = inherit(async { 5 });
    ///     assert_eq!(task.await, 5);
    /// });
    /// ```
    ///
    /// ```should_panic
    /// # use test_universe::{Universe, inherit};
    /// Universe::simulated(7).run(async {
    ///     let leaked = inherit(std::future::pending::<()>());
    ///     std::thread::spawn(|| smol::block_on(leaked));
    /// });
    /// ```
    #[track_caller]
    pub fn run<F: Future>(&self, main: F) -> F::Output {
        match self.run_at(Location::caller(), main) {
            Ok(output) => output,
            Err(Trouble::Left(text)) => fail(&text),
            Err(Trouble::Panic(panic)) => {
                self.tell_seed();
                panic.resume()
            }
        }
    }

    /// As [`run`](Self::run), for a future that was made elsewhere.
    #[track_caller]
    pub(crate) fn run_at<F: Future>(
        &self,
        at: &'static Location<'static>,
        main: F,
    ) -> Result<F::Output, Trouble> {
        let since = self.world.census.last();
        unwind::keep_places();
        let ended = self.live_and_cancel(self.scope_at(at, main), since);
        let panics = self.world.panics.take();
        let (ended, left) = ended.map_err(|panic| {
            self.tell_panics(panics.as_deref());
            Trouble::Panic(panic)
        })?;
        let leaks = !left.is_empty() || !self.world.census.is_empty_since(since);
        match ended {
            Ok(output) if !leaks && panics.is_none() => Ok(output),
            ended => {
                let stuck = ended.is_err();
                drop(ended);
                let still = self.world.census.living_since(since);
                let found = Found {
                    stuck,
                    leaks,
                    left,
                    still,
                    panics,
                };
                Err(Trouble::Left(self.verdict(found, at)))
            }
        }
    }

    /// Runs `main`, and lets the rest wind up; drops what is left, and tells what that was.
    fn live_and_cancel<F: Future>(
        &self,
        main: InUniverse<F>,
        since: u64,
    ) -> Result<(Result<F::Output, Stuck>, Left), Panic> {
        let executor = Arc::new(Executor::new());
        let running = Running::new(self, &executor);
        let mut main = Box::pin(main);
        // What a panic leaves behind is dropped when it has been caught: a destructor that panics
        // then is not the second at once, which would abort the process.
        let live = || async_io::block_on(self.live(&executor, main.as_mut(), since));
        let ended = unwind::catch(live);
        let left = self.world.census.living_since(since);
        // A destructor that panics is noted as the panic of a task is.
        self.enter(|| contain("a destructor panicked", || drop(main)));
        self.enter(|| contain("a destructor panicked", || drop(executor)));
        drop(running);
        Ok((ended?, left))
    }

    async fn live<F: Future>(
        &self,
        executor: &Arc<Executor<'static>>,
        main: Pin<&mut InUniverse<F>>,
        since: u64,
    ) -> Result<F::Output, Stuck> {
        let output = match &self.world.sim {
            Some(sim) => {
                let turn = Turn::of(executor);
                let main = async { Ok(turn.take_each(main).await) };
                let all_wait = async {
                    let turns = Cell::new(0);
                    let drive = self.drive(executor, sim, None, &turns, Some(&turn), || false);
                    drive.await;
                    Err(Stuck)
                };
                main.or(all_wait).await?
            }
            None => executor.run(main).await,
        };
        let has_ended = || self.world.census.is_empty_since(since);
        self.wind_up(executor, has_ended).await;
        if !has_ended() && self.drop_values() {
            self.wind_up(executor, has_ended).await;
        }
        Ok(output)
    }

    /// Runs what is there until it has ended; for so long.
    async fn wind_up(&self, executor: &Executor<'static>, has_ended: impl Fn() -> bool) {
        let turns = Cell::new(0);
        let wound_up = async {
            if let Some(sim) = &self.world.sim {
                let limit = sim.now() + GRACE;
                let drive = self.drive(executor, sim, Some(limit), &turns, None, has_ended);
                return drive.await;
            }
            let all_ended = async {
                loop {
                    let one_ended = self.world.census.ended();
                    if has_ended() {
                        return;
                    }
                    one_ended.await;
                }
            };
            executor.run(all_ended).await;
        };
        // In real time, a universe of real time; and a simulated one in which nothing moves, or in which
        // much does but its clock. One that is merely slow, for want of a core, goes on.
        let too_long = async {
            loop {
                let before = turns.get();
                real_time(GRACE).await;
                if turns.get() == before || turns.get() > GRACE_TURNS {
                    return;
                }
            }
        };
        wound_up.or(too_long).await;
    }

    /// Runs the tasks of a simulated universe, and moves its clock when all wait, but not beyond
    /// `limit`; until this is over, or nothing moves any more. Counts the turns, and lets `main` have its own.
    async fn drive(
        &self,
        executor: &Executor<'static>,
        sim: &Sim,
        limit: Option<Instant>,
        turns: &Cell<u64>,
        main: Option<&Arc<Turn>>,
        is_over: impl Fn() -> bool,
    ) {
        loop {
            for _ in 0..TURNS {
                if main.is_some_and(|main| main.has_come()) {
                    break;
                }
                if sim.times.standing.is_spun() {
                    return;
                }
                if executor.try_tick() {
                    turns.set(turns.get() + 1);
                    continue;
                }
                if is_over() {
                    return;
                }
                if sim.leap(limit) {
                    continue;
                }
                let (asleep, one_ended) = (sim.asleep(), self.world.census.ended());
                if is_over() || sim.leap(limit) {
                    continue;
                }
                let moved = async {
                    executor.tick().or(asleep).or(one_ended).await;
                    true
                };
                let waited = async {
                    real_time(OUTSIDE).await;
                    false
                };
                if !moved.or(waited).await && sim.is_stuck(limit) {
                    return;
                }
            }
            future::yield_now().await;
        }
    }

    /// Where tasks of this universe are spawned, if it is being run. One that is gone takes no more.
    pub fn executor(&self) -> Option<Weak<Executor<'static>>> {
        self.executor_slot().clone()
    }

    fn executor_slot(&self) -> MutexGuard<'_, Option<Weak<Executor<'static>>>> {
        let slot = &self.world.executor;
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for this long in real time, in steps: on a machine that has no time for this thread, and so has none
/// for those that are waited for either, each step takes longer.
async fn real_time(limit: Duration) {
    const STEPS: u32 = 20;
    for _ in 0..STEPS {
        async_io::Timer::after(limit / STEPS).await;
    }
}

/// The turns of `main`, which is no task of the executor: its future may borrow. Woken, it has a task
/// wait in its place, so that it is one of those that take turns in an order drawn from the seed.
struct Turn {
    executor: Weak<Executor<'static>>,
    has_come: AtomicBool,
}

impl Turn {
    fn of(executor: &Arc<Executor<'static>>) -> Arc<Self> {
        Arc::new(Self {
            executor: Arc::downgrade(executor),
            has_come: AtomicBool::new(true),
        })
    }

    fn has_come(&self) -> bool {
        self.has_come.load(SeqCst)
    }

    /// Polls a future whenever its turn has come.
    fn take_each<F: Future>(
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

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        if let Some(executor) = self.executor.upgrade() {
            let comes = async move { self.has_come.store(true, SeqCst) };
            executor.spawn(comes).detach();
        }
    }
}

/// What has not ended, by its number.
pub(crate) type Left = BTreeMap<u64, Made>;

/// All wait, for nothing.
struct Stuck;

/// Why a run has failed.
pub(crate) enum Trouble {
    /// With what its future has panicked, or a task.
    Panic(Panic),
    /// Somebody has not ended: it is said who.
    Left(String),
}

#[track_caller]
#[expect(clippy::panic, reason = "documented: it is how a test fails")]
pub(crate) fn fail(why: &str) -> ! {
    panic!("{why}")
}

/// The time in which a universe has an executor.
struct Running<'a>(&'a Universe);

impl<'a> Running<'a> {
    #[track_caller]
    fn new(universe: &'a Universe, executor: &Arc<Executor<'static>>) -> Self {
        let former = universe
            .executor_slot()
            .replace(Arc::downgrade(executor))
            .filter(|former| former.strong_count() > 0);
        if let Some(former) = former {
            *universe.executor_slot() = Some(former);
            fail(&universe.says("is being run already, by this thread or another"));
        }
        if let Some(sim) = &universe.world.sim {
            sim.set_driven(true);
        }
        Self(universe)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.executor_slot() = None;
        if let Some(sim) = &self.0.world.sim {
            sim.set_driven(false);
            // Those who sleep on are woken by the clock from now on, which nobody may be left to move.
            sim.leap(None);
        }
    }
}
