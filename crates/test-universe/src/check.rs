//! Tests in a universe of their own: what the attribute `test` expands to.
//!
//! ```text
//! the test's thread ---- waits, with a time limit, for ---> copies of the test, each with a thread
//!                        and tells them to stop             and a universe of its own
//! ```

mod copies;

use std::{ops::Range, panic::Location, sync::Arc, time::Duration};

use crate::{
    failure::{Failure, Outcome, fail},
    inner::RunLimits,
    run_settings::{PREFIX, REPLICATION, RunSettings, SEED, TIMEOUT, variable},
    universe::Universe,
};
use copies::Copies;

/// A test that runs in a new universe, once or with many seeds and copies.
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
    prefix: &'static str,
    simulated: bool,
    seeds: Range<u64>,
    timeout: Duration,
    limits: RunLimits,
    panics: Option<&'static str>,
    allowed: Option<&'static str>,
    ignored: bool,
}

impl Check {
    /// Creates a test of this name: `module_path!()`, two colons, and the name of the function.
    ///
    /// The line that reproduces a failure contains it.
    #[track_caller]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            package: None,
            at: Location::caller(),
            prefix: PREFIX,
            simulated: false,
            seeds: 0..1,
            timeout: Duration::from_secs(60),
            limits: RunLimits::DEFAULT,
            panics: None,
            allowed: None,
            ignored: false,
        }
    }

    /// Runs the test in a [simulated](Universe::simulated) universe.
    pub const fn simulated(mut self) -> Self {
        self.simulated = true;
        self
    }

    /// Sets the seeds: a [simulated](Self::simulated) test runs once with each. Default: `0..1`.
    pub const fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// Sets how long one run may take, in real time. Default: 60 seconds.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long the test may take in simulated time, as [`Universe::virtual_limit`] does. Default: 7 days.
    pub const fn virtual_limit(mut self, limit: Duration) -> Self {
        self.limits.virtual_time = limit;
        self
    }

    /// Sets how long other tasks may take to end after the test, as [`Universe::shutdown_timeout`] does. Default: 6 seconds.
    pub const fn shutdown_timeout(mut self, limit: Duration) -> Self {
        self.limits.shutdown = limit;
        self
    }

    /// Sets how long a simulated test waits for an external event, as [`Universe::external_timeout`] does. Default: 2
    /// seconds.
    pub const fn external_timeout(mut self, limit: Duration) -> Self {
        self.limits.external = limit;
        self
    }

    /// Expects panics with this text in tasks, as [`Universe::expect_panics`] does. Default: none.
    pub const fn panics(mut self, text: &'static str) -> Self {
        self.panics = Some(text);
        self
    }

    /// Allows panics with this text in tasks, as [`Universe::allow_panics`] does. Default: none.
    pub const fn allow_panics(mut self, text: &'static str) -> Self {
        self.allowed = Some(text);
        self
    }

    /// Sets the package that the line which reproduces a failure names: `option_env!("CARGO_PKG_NAME")`. Default: none.
    pub const fn package(mut self, package: Option<&'static str>) -> Self {
        self.package = package;
        self
    }

    /// Sets a prefix of environment variables that override those of `UNIVERSE_`, for a library that exports a test attribute
    /// of its own: with `"ERPS"`, `ERPS_SEED` overrides `UNIVERSE_SEED`. Default: none.
    pub const fn env_prefix(mut self, prefix: &'static str) -> Self {
        self.prefix = prefix;
        self
    }

    /// Marks the test as one with `#[ignore]`, which the line that reproduces a failure has to override.
    pub const fn ignored(mut self) -> Self {
        self.ignored = true;
        self
    }

    /// Runs the test.
    ///
    /// # Panics
    ///
    /// - If the test panics: with the same payload if that is text, after a line on standard error that says how to
    ///   reproduce it.
    /// - If the test returns an error, takes too long, or fails its [run](Universe::run).
    /// - If an environment variable is malformed, or there is no seed to run the test with.
    #[track_caller]
    pub fn run<F, O>(self, test: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = O>,
        O: Outcome,
    {
        let seeds = self.simulated.then(|| self.seeds.clone());
        let settings = match RunSettings::from_env(self.prefix, seeds, self.timeout) {
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

    /// Runs all copies with one seed.
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
        let copies = Copies::new(settings.copies);
        let observed = copies.observed();
        let started = (0..settings.copies).try_for_each(|_| {
            let universe = self.universe(seed);
            copies.start(self.short_name(), self.at, universe, Arc::clone(test))
        });
        let outcome = match started {
            Ok(()) => copies.wait(settings.timeout),
            Err(error) => Err(Failure::NoThread(error)),
        };
        if let Err(failure) = outcome {
            let reproduce = self.reproduce(settings, seed, &failure);
            let elapsed = observed.elapsed();
            let elapsed = elapsed.map(|it| format!("\nits simulated clock was at {it:?}"));
            failure.raise(&format!("{reproduce}{}", elapsed.unwrap_or_default()));
        }
    }

    /// The universe of one copy.
    fn universe(&self, seed: Option<u64>) -> Universe {
        let universe = match seed {
            Some(seed) => Universe::simulated(seed),
            None => Universe::new(),
        };
        universe.inner.set_limits(|limits| *limits = self.limits);
        if let Some(text) = self.panics {
            universe.expect_panics(text);
        }
        if let Some(text) = self.allowed {
            universe.allow_panics(text);
        }
        universe.named(self.name)
    }

    /// The command that runs the test again in the same way.
    fn reproduce(&self, settings: &RunSettings, seed: Option<u64>, failure: &Failure) -> String {
        let set = |setting, value| format!("{}={value} ", variable(self.prefix, setting));
        let mut line = "to reproduce: ".to_owned();
        if let Some(seed) = seed {
            line += &set(SEED, seed);
        }
        if settings.copies > 1 {
            line += &set(REPLICATION, settings.copies as u64);
        }
        if let Failure::TimedOut { .. } = failure
            && settings.timeout != self.timeout
        {
            line += &set(TIMEOUT, settings.timeout.as_secs());
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

    /// The name without the crate, as the test harness has it.
    fn short_name(&self) -> &'static str {
        self.name
            .split_once("::")
            .map_or(self.name, |(_, name)| name)
    }
}
