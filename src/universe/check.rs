//! Tests that run in a universe of their own: what `erps::test` makes of a function.
//!
//! ```text
//! the test's thread ---- waits, with a time limit, for ---> copies of the test, each a thread
//!                        and tells them to stop             and a universe of its own
//! ```
//!
//! A thread cannot be killed, so the test does not run on the thread that has to fail in time. What
//! hangs is dropped, with all tasks of its universe, if it waits; a thread that computes or blocks is
//! left behind.

use std::{
    any::Any,
    convert::Infallible,
    fmt, io,
    ops::Range,
    panic::{self, AssertUnwindSafe, Location},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use async_channel::Receiver;
use futures_lite::future;

use super::{
    RUNNING_TIMER, Universe,
    census::Census,
    clock::Clock,
    order::{Order, REPLICATION, SEED, TIMEOUT},
    run::{Trouble, fail},
};

/// Makes a test of an `async fn`: a `#[test]` that runs in a new [`Universe`].
///
/// The test runs by [`Universe::run`]: what the library starts in it runs on the test's thread, and is
/// gone when the test is over. It returns nothing, or a `Result` whose error is printed. All other
/// attributes have their usual meaning.
///
/// ```no_run
/// use std::time::Duration;
/// use erps::{BoxError, Universe, time};
///
/// #[erps::test]
/// async fn a_test_is_in_a_universe() {
///     assert!(Universe::current().is_some());
/// }
///
/// #[erps::test(simulated)]
/// async fn a_year_takes_no_time() -> Result<(), BoxError> {
///     time::sleep(Duration::from_secs(365 * 24 * 3600)).await;
///     Ok(())
/// }
///
/// #[erps::test(simulated, seeds = 50)]
/// #[should_panic(expected = "unlucky")]
/// async fn a_test_may_be_expected_to_panic() {
///     assert_ne!(time::random() % 10, 0, "unlucky");
/// }
/// ```
///
/// # Options
///
/// - `simulated`: in a [simulated](Universe::simulated) universe, with seed 0. Its time is that of
///   [`time`](crate::time), and of what this library does: `smol::Timer`, `tokio::time`, `SystemTime` and
///   real sockets are as everywhere, and any time-out of the universe may be over before they are ready.
/// - `seeds = 50`, `seeds = 100..200`: simulated, once with each of the seeds, one after another.
///   The first 50 are those from 0 to 49.
/// - `timeout = 60`: how many seconds of real time a run may take. Default: 60.
///
/// # Environment
///
/// It overrules the options. Numbers are decimal, seeds also hexadecimal with `0x` before them. What
/// cannot be understood fails every test.
///
/// - `ERPS_SEED=17`: simulated tests run with this seed only, whatever else is said of seeds.
/// - `ERPS_SEEDS=1000`, `ERPS_SEEDS=100..200`: simulated tests run once with each of these.
/// - `ERPS_REPLICATION=20`: every test runs in so many copies at once, each on its own thread in its
///   own universe. What they share, but should not, makes them fail.
/// - `ERPS_TIMEOUT=10`: how many seconds a run may take.
///
/// Without them a simulated test has the same seed each time: it does not fail in one change for
/// what came in by another. To look for seeds that fail is a run of its own.
///
/// # When it fails
///
/// The first failure ends the test. A panic shows as usual, and after it one line that runs the same
/// again: `to reproduce: ERPS_SEED=17 cargo test -p shop orders::are_shipped_once -- --exact`; add the features
/// that it needs.
///
/// What panics in the test fails it. What panics in a server, in a child of a supervisor, or in a task that was
/// [spawned](crate::spawn) ends that one, as in production, and is told to those who wait for it: to the caller
/// of the server, to the monitor, to whoever awaits the task. If nobody looks, the test passes. So an assertion
/// in a handler is one about the answer, too: `client.call(..).await?`.
///
/// A run that takes too long has failed. If it waits, it is dropped; if it computes or blocks its
/// thread, the thread is left behind. The copy of a test runs on a thread of its own, which is called
/// like the test's.
///
/// # With tokio
///
/// A test has no runtime of tokio's around it. One that needs it makes and enters one; what is spawned there
/// inherits the universe by one word:
///
/// ```no_run
/// use erps::{BoxError, Universe, universe};
///
/// #[erps::test]
/// async fn a_task_of_tokio_is_in_the_universe_of_the_test() -> Result<(), BoxError> {
///     let runtime = tokio::runtime::Runtime::new()?;
///     let _entered = runtime.enter();
///     let task = tokio::spawn(universe::inherit(async { Universe::current() }));
///     assert_eq!(task.await?, Universe::current());
///     Ok(())
/// }
/// ```
///
/// A `#[tokio::test]` puts itself into a universe with [`Universe::scope`]; its end is not checked then.
///
/// # Errors
///
/// What is no test is not compiled:
///
/// ```compile_fail
/// #[erps::test]
/// fn is_not_async() {}
/// ```
///
/// ```compile_fail
/// #[erps::test]
/// async fn has_an_argument(_: u32) {}
/// ```
///
/// ```compile_fail
/// #[erps::test]
/// async fn has_a_parameter<T>() {}
/// ```
///
/// ```compile_fail
/// erps::universe::Check::new("returns_a_number").run(|| async { 1_u32 });
/// ```
///
/// ```compile_fail
/// #[erps::test(simulatde)]
/// async fn has_an_unknown_option() {}
/// ```
///
/// ```compile_fail
/// #[erps::test(simulated, seeds = 0..=5)]
/// async fn has_a_range_with_its_end() {}
/// ```
///
/// ```compile_fail
/// #[erps::test(seeds = 50)]
/// async fn has_seeds_of_the_real_world() {}
/// ```
///
/// The crate has to be there by the name of `erps`. [`Check`] is what the attribute
/// uses, for those who cannot.
pub use erps_macros::test;

/// How long those may take to stop that are told to. They have nothing to do but to be dropped.
const GRACE: Duration = Duration::from_secs(1);

/// A test that runs in a new universe, as often as asked for.
///
/// `#[erps::test]` writes it; by hand it is for macros of one's own, or for tests whose seeds are
/// computed. What the attribute says of the environment holds here.
///
/// # Example
///
/// ```no_run
/// use erps::{Universe, universe::Check};
///
/// #[test]
/// fn each_test_has_a_universe() {
///     let name = concat!(module_path!(), "::each_test_has_a_universe");
///     Check::new(name).simulated().seeds(0..100).run(|| async {
///         assert!(Universe::current().is_some());
///     });
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does not run by itself"]
pub struct Check {
    name: &'static str,
    package: Option<&'static str>,
    at: &'static Location<'static>,
    pub(super) simulated: bool,
    pub(super) seeds: Range<u64>,
    pub(super) timeout: Duration,
    ignored: bool,
}

impl Check {
    /// Prepares a test of this name: `module_path!()`, two colons, and what the function is called.
    ///
    /// By that name it is found when it is to be run again.
    #[track_caller]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            package: None,
            at: Location::caller(),
            simulated: false,
            seeds: 0..1,
            timeout: Duration::from_secs(60),
            ignored: false,
        }
    }

    /// Runs it in a [simulated](Universe::simulated) universe.
    pub const fn simulated(mut self) -> Self {
        self.simulated = true;
        self
    }

    /// Runs it once with each of these seeds, if it is [simulated](Self::simulated). Default: `0..1`.
    pub const fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// How long one run may take, in real time. Default: 60 seconds.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Notes which package it is of, to be named when it is to be run again:
    /// `option_env!("CARGO_PKG_NAME")`. Default: none is named.
    pub const fn package(mut self, package: Option<&'static str>) -> Self {
        self.package = package;
        self
    }

    /// Notes that it has an `#[ignore]`, which has to be overruled when it is to be run again.
    pub const fn ignored(mut self) -> Self {
        self.ignored = true;
        self
    }

    /// Runs the test.
    ///
    /// # Panics
    ///
    /// If the test panics, with the same payload, once a line on standard error says how to run it
    /// again. Also if it returns an error or takes too long, if the environment asks for something
    /// that cannot be understood, or if there is no seed to run it with.
    #[track_caller]
    pub fn run<F, O>(self, test: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = O>,
        O: Outcome,
    {
        let order = match Order::of(&self) {
            Ok(order) => order,
            Err(error) => fail(&error.to_string()),
        };
        let test = Arc::new(test);
        match order.seeds.clone() {
            None => self.run_with(&order, None, &test),
            Some(seeds) => {
                for seed in seeds {
                    self.run_with(&order, Some(seed), &test);
                }
            }
        }
    }

    /// Runs it with one seed, in as many copies as asked for.
    #[track_caller]
    fn run_with<F, O>(
        &self,
        order: &Order,
        seed: Option<u64>,
        test: &Arc<impl Fn() -> F + Send + Sync + 'static>,
    ) where
        F: Future<Output = O>,
        O: Outcome,
    {
        let run = Run::new(order.copies);
        let started = (0..order.copies).try_for_each(|_| {
            let (test, stop, report) = (Arc::clone(test), run.stopped.clone(), run.report.clone());
            let (check, lives) = (self.clone(), Arc::clone(&run.lives));
            let copy = move || {
                let copy = || copy(&check, &lives, seed, &*test, &stop);
                let ended = panic::catch_unwind(AssertUnwindSafe(copy));
                drop(test);
                // Nobody hears those who come too late.
                let _ = report.send(ended.unwrap_or_else(|panic| Err(Failure::Panicked(panic))));
            };
            let thread = thread::Builder::new().name(self.short_name().to_owned());
            thread.spawn(copy).map(drop)
        });
        let lives = Arc::clone(&run.lives);
        let outcome = match started {
            Ok(()) => run.wait(order.timeout),
            Err(error) => Err(Failure::NoThread(error)),
        };
        if let Err(failure) = outcome {
            let again = self.again(order, seed, &failure);
            failure.raise(&format!("{again}{}", lasted(&lives)));
        }
    }

    /// What has to be typed to run it again in the same way.
    fn again(&self, order: &Order, seed: Option<u64>, failure: &Failure) -> String {
        let mut line = "to reproduce: ".to_owned();
        if let Some(seed) = seed {
            line += &format!("{SEED}={seed} ");
        }
        if order.copies > 1 {
            line += &format!("{REPLICATION}={} ", order.copies);
        }
        if let Failure::Hangs { .. } = failure
            && order.timeout != self.timeout
        {
            line += &format!("{TIMEOUT}={} ", order.timeout.as_secs());
        }
        line += "cargo test ";
        if let Some(package) = self.package {
            line += &format!("-p {package} ");
        }
        line += &format!("{} -- --exact", self.short_name());
        if self.ignored {
            line += " --ignored";
        }
        line
    }

    /// Without the crate, which tests are not told to be in.
    fn short_name(&self) -> &'static str {
        self.name
            .split_once("::")
            .map_or(self.name, |(_, name)| name)
    }
}

/// How long the only copy has lasted by its own clock.
fn lasted(lives: &Mutex<Vec<Life>>) -> String {
    let lives = lives.lock().unwrap_or_else(PoisonError::into_inner);
    match &lives[..] {
        [
            Life {
                clock: Some(clock), ..
            },
        ] => format!("\nby its own clock it has lasted {:?}", clock.elapsed()),
        _ => String::new(),
    }
}

/// One copy of a test, on a thread of its own: a universe, and the test in it until it is stopped.
fn copy<F>(
    check: &Check,
    lives: &Mutex<Vec<Life>>,
    seed: Option<u64>,
    test: impl Fn() -> F,
    stop: &Receiver<Infallible>,
) -> Result<(), Failure>
where
    F: Future<Output: Outcome>,
{
    let universe = match seed {
        Some(seed) => Universe::simulated(seed),
        None => Universe::new(),
    };
    let stopped = async {
        // An error: there is nothing to be received but the end of the channel.
        let _ = stop.recv().await;
        // Nobody listens any more. Unwound, the run ends without waiting for what it has started.
        panic::resume_unwind(Box::new("the test was stopped"))
    };
    let test = async {
        if let Some(error) = test().await.failure() {
            // A test that leaves early leaves something behind. Why it left is what matters, and
            // unwound it is told of nothing else.
            panic::resume_unwind(Box::new(Failure::Returned(error)))
        }
    };
    let universe = universe.named(check.name);
    let life = Life {
        census: Arc::clone(&universe.world.census),
        clock: universe.clock(),
    };
    lives
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(life);
    let main = future::or(test, stopped);
    let outcome = universe.run_at(check.at, main);
    outcome.map_err(|trouble| match trouble {
        Trouble::Left(text) => Failure::Left(text),
        Trouble::Panic(panic) => match panic.downcast() {
            Ok(failure) => *failure,
            Err(panic) => Failure::Panicked(panic),
        },
    })
}

/// Copies of a test that run at the same time.
struct Run {
    copies: usize,
    report: mpsc::Sender<Result<(), Failure>>,
    reports: mpsc::Receiver<Result<(), Failure>>,
    /// Dropped when they are to stop.
    stop: async_channel::Sender<Infallible>,
    stopped: Receiver<Infallible>,
    lives: Arc<Mutex<Vec<Life>>>,
}

/// What is to be known of the universe of a copy.
struct Life {
    census: Arc<Census>,
    clock: Option<Clock>,
}

impl Run {
    fn new(copies: usize) -> Self {
        let (report, reports) = mpsc::channel();
        let (stop, stopped) = async_channel::bounded(1);
        Self {
            copies,
            report,
            reports,
            stop,
            stopped,
            lives: Arc::default(),
        }
    }

    /// What lives in the first of them that has not ended.
    fn living(&self) -> String {
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        let mut living = lives.iter().map(|life| {
            let mut living = life.census.living_since(0);
            // What the main future waits for is not beside it.
            living.retain(|_, made| made.what() != RUNNING_TIMER);
            living
        });
        let living = living.find(|living| !living.is_empty());
        let living = living.unwrap_or_default().into_values();
        living.map(|made| format!("\n  {made}")).collect()
    }

    /// Waits for all copies. The first failure stops the others.
    fn wait(self, limit: Duration) -> Result<(), Failure> {
        let mut running = self.copies;
        let mut outcome = Ok(());
        let until = Instant::now() + limit;
        while running > 0 && outcome.is_ok() {
            match self.reports.recv_timeout(left_until(until)) {
                Ok(report) => {
                    running -= 1;
                    outcome = report;
                }
                Err(_) => {
                    outcome = Err(Failure::Hangs {
                        limit,
                        stuck: 0,
                        living: self.living(),
                    });
                }
            }
        }
        drop(self.stop);
        let until = Instant::now() + GRACE;
        while running > 0 && self.reports.recv_timeout(left_until(until)).is_ok() {
            running -= 1;
        }
        if let Err(Failure::Hangs { stuck, .. }) = &mut outcome {
            *stuck = running;
        }
        outcome
    }
}

fn left_until(time: Instant) -> Duration {
    time.saturating_duration_since(Instant::now())
}

/// Why a run of a test failed.
enum Failure {
    Panicked(Box<dyn Any + Send>),
    /// It returned this error.
    Returned(String),
    /// It left this behind, or waited for nothing.
    Left(String),
    Hangs {
        limit: Duration,
        /// How many copies have not stopped either.
        stuck: usize,
        /// What lived in one of them, besides its main future.
        living: String,
    },
    NoThread(io::Error),
}

impl Failure {
    /// Fails the test. A panic has told of itself already; what else went wrong is told now.
    #[track_caller]
    #[expect(
        clippy::print_stderr,
        reason = "it belongs beside the message of the panic, which is there"
    )]
    fn raise(self, again: &str) -> ! {
        let what = match self {
            Self::Panicked(panic) => {
                eprintln!("{again}");
                panic::resume_unwind(panic)
            }
            Self::Returned(error) => format!("the test returned an error: {error}"),
            Self::Left(text) => text,
            Self::Hangs {
                limit,
                stuck,
                living,
            } => {
                let stopped = match stuck {
                    0 => {
                        format!("it had not ended after {limit:?} of real time, and was dropped")
                    }
                    _ => format!(
                        "after {limit:?} of real time it was still running, and {stuck} of its \
                         threads could not be stopped, since they compute or block, as in a \
                         `block_on` or at a lock that is held over an `.await`"
                    ),
                };
                let living = match living.is_empty() {
                    true => living,
                    false => format!("; beside the test there were{living}"),
                };
                format!("the test hangs: {stopped}{living}")
            }
            Self::NoThread(error) => format!("there is no thread for the test: {error}"),
        };
        fail(&format!("{what}\n{again}"))
    }
}

/// What a test may return: nothing, or a `Result` of nothing whose error can be printed.
#[diagnostic::on_unimplemented(
    message = "a test cannot return `{Self}`",
    note = "it returns nothing, or a `Result<(), E>` whose `E` is `Debug`"
)]
pub trait Outcome {
    /// What the test fails with, if it does.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<O: Outcome, E: fmt::Debug> Outcome for Result<O, E> {
    fn failure(self) -> Option<String> {
        match self {
            Ok(outcome) => outcome.failure(),
            Err(error) => Some(format!("{error:?}")),
        }
    }
}
