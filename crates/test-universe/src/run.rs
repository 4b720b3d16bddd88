//! Running a universe to its end: its tasks on one thread, its clock, and what is left over.
//!
//! ```text
//! main --> completed --> other tasks may end, for a while --> the rest is cancelled --> and reported
//!   |
//!   +--> deadlock, livelock, or the limit of virtual time
//! ```

mod drive;

use std::{
    panic::Location,
    pin::Pin,
    sync::{Arc, MutexGuard, PoisonError, Weak},
};

use async_executor::Executor;
use futures_lite::FutureExt as _;

use crate::{
    failure::fail,
    future::InUniverse,
    panics::contain,
    report::{Findings, Leaks, Unfinished},
    timer::real,
    universe::Universe,
    unwind::{self, Panic},
};
use drive::{Driver, MainTurn};

impl Universe {
    /// Runs a future to completion in this universe, on this thread, with the tasks that it starts.
    ///
    /// Tasks that are [spawned](crate::spawn) in the universe, or by a library that is built on this crate, run on this
    /// thread as long as this call lasts, unless they were given an executor. So no task may block while it waits for
    /// another. The call blocks the thread: in an `async` function use [`scope`](Self::scope).
    /// [`test_universe::test`](crate::test) adds a limit of real time. In a [simulated](Self::simulated) universe the order
    /// of polls is drawn from its seed: same seed, same program, same order.
    ///
    /// # Leaks
    ///
    /// When the future has completed, other tasks have six seconds to end, by the universe's own clock. What is
    /// [live](Self::live_resources) longer is a leak: it is cancelled as far as it can be, and this panics with a list.
    /// What was live before this call is ignored. Where the clock of a simulated universe cannot advance because a task or
    /// thread is busy, the limit is a million polls, or six seconds of real time without any.
    ///
    /// What the universe's own statics own, such as a client in a [`Sharded`](crate::Sharded), is no leak: if something is
    /// live after the six seconds, the values of the statics are dropped and there is as much time again. A test ends
    /// sooner if it [clears](crate::Sharded::clear) such statics itself. [`shutdown_timeout`](Self::shutdown_timeout)
    /// changes the six seconds.
    ///
    /// # Panics
    ///
    /// - If the future panics: with that panic, and no other.
    /// - If the universe is being run already.
    /// - If there are leaks. An error that the future returns is lost then; [`test_universe::test`](crate::test) reports
    ///   the error instead.
    /// - If a simulated universe is deadlocked: no task can run, no timer is pending, and no external event comes within
    ///   [two seconds](Self::external_timeout).
    /// - If a simulated universe is in a livelock: a task is polled a million times while the clock stands still, or
    ///   200 000 times in a row after waking itself.
    /// - If the future has not completed when the clock has advanced by [seven days](Self::virtual_limit).
    /// - If a task, callback or destructor panics and that was not [expected](Self::expect_panics), or if an expected panic
    ///   does not happen.
    ///
    /// In a simulated universe the message contains the seed. With the panic of the future it is printed on a line of its
    /// own.
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
            Err(RunError::Failed(message)) => fail(&message),
            Err(RunError::Panicked(panic)) => {
                self.print_seed();
                panic.resume()
            }
        }
    }

    /// Runs a future that was made at `at`.
    #[track_caller]
    pub(crate) fn run_at<F: Future>(
        &self,
        at: &'static Location<'static>,
        main: F,
    ) -> Result<F::Output, RunError> {
        let since = self.inner.resources.last_id();
        unwind::keep_locations();
        let ended = self.run_and_cancel(self.scope_at(at, main), since);
        let panics = self.inner.panics.take();
        let Ended {
            output,
            live,
            waits_for,
        } = ended.map_err(|panic| {
            self.print_panics(panics.as_deref());
            RunError::Panicked(panic)
        })?;
        let has_leaks = !live.is_empty() || !self.inner.resources.is_empty_since(since);
        match output {
            Ok(output) if !has_leaks && panics.is_none() => Ok(output),
            output => {
                let unfinished = output.as_ref().err().copied();
                drop(output);
                let still_live = self.inner.resources.since(since);
                let findings = Findings {
                    unfinished,
                    has_leaks,
                    live,
                    waits_for,
                    still_live,
                    panics,
                };
                Err(RunError::Failed(self.failure(findings, at)))
            }
        }
    }

    /// Runs `main`, lets the other tasks end, cancels the rest, and returns what that was.
    fn run_and_cancel<F: Future>(
        &self,
        main: InUniverse<F>,
        since: u64,
    ) -> Result<Ended<F::Output>, Panic> {
        let executor = Arc::new(Executor::new());
        let running = Running::start(self, &executor);
        let mut main = Box::pin(main);
        // What a panic leaves behind is dropped after it has been caught: a destructor that panics while another panic
        // unwinds would abort the process.
        let run = || real::block_on(self.run_to_end(&executor, main.as_mut(), since));
        let ended = unwind::catch(run);
        let live = self.inner.resources.since(since);
        let waits_for = self.inner.resources.awaited().map(|(id, _)| id);
        self.enter(|| contain("a destructor panicked", || drop(main)));
        self.enter(|| contain("a destructor panicked", || drop(executor)));
        drop(running);
        Ok(Ended {
            output: ended?,
            live,
            waits_for,
        })
    }

    async fn run_to_end<F: Future>(
        &self,
        executor: &Arc<Executor<'static>>,
        main: Pin<&mut InUniverse<F>>,
        since: u64,
    ) -> Result<F::Output, Unfinished> {
        let driver = Driver::new(self, executor);
        let output = match &self.inner.sim {
            Some(sim) => {
                let turn = MainTurn::new(executor);
                let main = async { Ok(turn.take_each(main).await) };
                let unfinished = async { Err(driver.drive_main(sim, &turn).await) };
                main.or(unfinished).await?
            }
            None => executor.run(main).await,
        };
        let has_ended = || self.inner.resources.is_empty_since(since);
        driver.shut_down(has_ended).await;
        if !has_ended() && self.drop_values() {
            driver.shut_down(has_ended).await;
        }
        Ok(output)
    }

    /// Returns the executor of the tasks of this universe while it is being run. After the run it cannot be upgraded.
    pub fn executor(&self) -> Option<Weak<Executor<'static>>> {
        self.executor_slot().clone()
    }

    fn executor_slot(&self) -> MutexGuard<'_, Option<Weak<Executor<'static>>>> {
        let slot = &self.inner.executor;
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run whose main future has not panicked.
struct Ended<T> {
    output: Result<T, Unfinished>,
    /// What was live before all that can be cancelled was cancelled.
    live: Leaks,
    /// What of that the main future waits for.
    waits_for: Option<u64>,
}

/// Why a run has failed.
pub(crate) enum RunError {
    /// Its main future has panicked.
    Panicked(Panic),
    /// A report.
    Failed(String),
}

/// Held while a universe has an executor.
struct Running<'a>(&'a Universe);

impl<'a> Running<'a> {
    #[track_caller]
    fn start(universe: &'a Universe, executor: &Arc<Executor<'static>>) -> Self {
        let former = universe
            .executor_slot()
            .replace(Arc::downgrade(executor))
            .filter(|former| former.strong_count() > 0);
        if let Some(former) = former {
            *universe.executor_slot() = Some(former);
            fail(&universe.reports("is being run already, by this thread or another"));
        }
        if let Some(sim) = &universe.inner.sim {
            sim.set_driven(true);
        }
        Self(universe)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.executor_slot() = None;
        if let Some(sim) = &self.0.inner.sim {
            sim.set_driven(false);
            // Timers of tasks on other threads are due from now on: nothing else may advance the clock.
            sim.advance_to_next(None);
        }
    }
}
