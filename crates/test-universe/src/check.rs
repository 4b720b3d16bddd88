//! Tests that run in a universe of their own: what `test_universe::test` makes of a function.
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
    convert::Infallible,
    ops::Range,
    panic::{self, Location},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use async_channel::Receiver;
use futures_lite::future;

use crate::unwind;
use crate::{
    Universe,
    census::Census,
    clock::Clock,
    failure::{Failure, Outcome},
    inherit::RUNNING_TIMER,
    panics::Panics,
    run::{Trouble, fail},
    run_settings::{REPLICATION, RunSettings, SEED, TIMEOUT},
};

/// How long those may take to stop that are told to. They have nothing to do but to be dropped.
const GRACE: Duration = Duration::from_secs(1);

/// A test that runs in a new universe, as often as asked for.
///
/// The attribute `test` expands to it. Use it directly in macros, or in tests whose seeds are computed. The environment
/// variables that [`test`](crate::test#environment) documents apply.
///
/// # Example
///
/// ```no_run
/// use test_universe::{Universe, Check};
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
    pub(crate) simulated: bool,
    pub(crate) seeds: Range<u64>,
    pub(crate) timeout: Duration,
    panics: Option<&'static str>,
    allowed: Option<&'static str>,
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
            panics: None,
            allowed: None,
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

    /// Expects panics with this text in its tasks, as [`Universe::expect_panics`] does. Default: none.
    pub const fn panics(mut self, text: &'static str) -> Self {
        self.panics = Some(text);
        self
    }

    /// Allows panics with this text in its tasks, as [`Universe::allow_panics`] does. Default: none.
    pub const fn allow_panics(mut self, text: &'static str) -> Self {
        self.allowed = Some(text);
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
    /// If the test panics, with the same payload if that is text, once a line on standard error says how to run it
    /// again. Also if it returns an error or takes too long, if the environment asks for something
    /// that cannot be understood, or if there is no seed to run it with.
    #[track_caller]
    pub fn run<F, O>(self, test: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = O>,
        O: Outcome,
    {
        let seeds = self.simulated.then(|| self.seeds.clone());
        let settings = match RunSettings::from_env(seeds, self.timeout) {
            Ok(settings) => settings,
            Err(error) => fail(&error.to_string()),
        };
        let test = Arc::new(test);
        match settings.seeds.clone() {
            None => self.run_with(&settings, None, &test),
            Some(seeds) => {
                for seed in seeds {
                    self.run_with(&settings, Some(seed), &test);
                }
            }
        }
    }

    /// Runs it with one seed, in as many copies as asked for.
    #[track_caller]
    fn run_with<F, O>(
        &self,
        settings: &RunSettings,
        seed: Option<u64>,
        test: &Arc<impl Fn() -> F + Send + Sync + 'static>,
    ) where
        F: Future<Output = O>,
        O: Outcome,
    {
        let run = Run::new(settings.copies);
        let started = (0..settings.copies).try_for_each(|_| {
            let (test, stop, report) = (Arc::clone(test), run.stopped.clone(), run.report.clone());
            let (check, lives) = (self.clone(), Arc::clone(&run.lives));
            let copy = move || {
                let copy = || copy(&check, &lives, seed, &*test, &stop);
                let ended = unwind::catch(copy);
                drop(test);
                // Nobody hears those who come too late.
                let _ = report.send(ended.unwrap_or_else(|panic| Err(Failure::Panicked(panic))));
            };
            let thread = thread::Builder::new().name(self.short_name().to_owned());
            thread.spawn(copy).map(drop)
        });
        let lives = Arc::clone(&run.lives);
        let outcome = match started {
            Ok(()) => run.wait(settings.timeout),
            Err(error) => Err(Failure::NoThread(error)),
        };
        if let Err(failure) = outcome {
            let again = self.again(settings, seed, &failure);
            failure.raise(&format!("{again}{}", lasted(&lives)));
        }
    }

    /// What has to be typed to run it again in the same way.
    fn again(&self, settings: &RunSettings, seed: Option<u64>, failure: &Failure) -> String {
        let mut line = "to reproduce: ".to_owned();
        if let Some(seed) = seed {
            line += &format!("{SEED}={seed} ");
        }
        if settings.copies > 1 {
            line += &format!("{REPLICATION}={} ", settings.copies);
        }
        if let Failure::Hangs { .. } = failure
            && settings.timeout != self.timeout
        {
            line += &format!("{TIMEOUT}={} ", settings.timeout.as_secs());
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
    if let Some(text) = check.panics {
        universe.expect_panics(text);
    }
    if let Some(text) = check.allowed {
        universe.allow_panics(text);
    }
    let life = Life {
        census: Arc::clone(&universe.world.census),
        panics: Arc::clone(&universe.world.panics),
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
        Trouble::Panic(panic) => match panic.downcast::<Failure>() {
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
    panics: Arc<Panics>,
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

    /// What has panicked in them.
    fn panicked(&self) -> String {
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.iter().map(|life| life.panics.to_string()).collect()
    }

    /// Waits for all copies. The first failure stops the others.
    fn wait(self, limit: Duration) -> Result<(), Failure> {
        let mut running = self.copies;
        let mut outcome = Ok(());
        // `None`: there is no such time.
        let until = Instant::now().checked_add(limit);
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
                        busy: None,
                        living: self.living(),
                        panicked: self.panicked(),
                    });
                }
            }
        }
        drop(self.stop);
        let until = Instant::now().checked_add(GRACE);
        while running > 0 && self.reports.recv_timeout(left_until(until)).is_ok() {
            running -= 1;
        }
        if let Err(Failure::Hangs { stuck, busy, .. }) = &mut outcome {
            *stuck = running;
            let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
            *busy = lives.iter().find_map(|life| life.census.running());
        }
        outcome
    }
}

fn left_until(time: Option<Instant>) -> Duration {
    time.map_or(Duration::MAX, |time| {
        time.saturating_duration_since(Instant::now())
    })
}
