//! The test attribute, and its documentation.

#[cfg(doc)]
use crate::{Check, Universe, inherit};

/// Turns an `async fn` into a `#[test]` that runs in a new [`Universe`].
///
/// The test runs by [`Universe::run`]: the tasks that it spawns run on its thread and have to end with it. It returns
/// nothing, or a `Result` whose error is printed. Other attributes have their usual meaning.
///
/// ```no_run
/// use std::time::Duration;
/// use test_universe::{Universe, time};
///
/// #[test_universe::test]
/// async fn a_test_is_in_a_universe() {
///     assert!(Universe::current().is_some());
/// }
///
/// #[test_universe::test(simulated)]
/// async fn a_day_takes_no_time() -> Result<(), std::io::Error> {
///     time::sleep(Duration::from_secs(24 * 3600)).await;
///     Ok(())
/// }
///
/// #[test_universe::test(simulated, seeds = 50)]
/// #[should_panic(expected = "unlucky")]
/// async fn a_test_may_be_expected_to_panic() {
///     assert_ne!(time::random() % 10, 0, "unlucky");
/// }
/// ```
///
/// # Options
///
/// A duration is a number of seconds, or text with a unit: `2`, `0.5`, `"500ms"`, `"10m"`, `"7d"`.
///
/// - `simulated`: in a [simulated](Universe::simulated) universe, with seed 0. Its clock is that of
///   [`time`](crate::time). Timers of smol and tokio, `SystemTime` and real sockets are not simulated, and simulated
///   time-outs may fire before they are ready.
/// - `seeds = 50`, `seeds = 100..200`: simulated, once with each of the seeds, one after another. The first 50 are 0 to 49.
/// - `timeout = 60`: how long a run may take in real time. Default: 60 seconds.
/// - `virtual_limit = "7d"`: how long a simulated run may take in [simulated time](Universe::virtual_limit). Default: 7 days.
/// - `shutdown_timeout = 6`: how long other tasks may take to [end](Universe::shutdown_timeout) after the test. Default: 6
///   seconds.
/// - `external_timeout = 2`: how long a simulated run waits for an [external event](Universe::external_timeout) before it
///   fails as deadlocked. Default: 2 seconds.
/// - `panics = "text"`: at least one task of each run panics with this text in its message. See [below](#panics-in-tasks).
/// - `allow_panics = "text"`: tasks may panic with this text in the message; `allow_panics` alone: with any.
/// - `crate = "net"`: the path of this library. Default: its own name.
///
/// # Environment
///
/// Environment variables override the options. Numbers are decimal, seeds also hexadecimal with `0x`. A malformed variable
/// fails every test.
///
/// - `UNIVERSE_SEED=17`: simulated tests run with this seed only, whatever other options say.
/// - `UNIVERSE_SEEDS=1000`, `UNIVERSE_SEEDS=100..200`: simulated tests run once with each of these.
/// - `UNIVERSE_REPLICATION=20`: every test runs in so many copies at once, each on its own thread in its own universe. Shared
///   state makes them fail.
/// - `UNIVERSE_TIMEOUT=10`: how many seconds a run may take.
///
/// `erps::test` reads the same variables with `ERPS_` instead of `UNIVERSE_` as well, and prefers them.
///
/// Without them a simulated test has the same seed each time, so that one change does not fail for what another one broke.
/// Search for failing seeds in a run of its own.
///
/// # Failures
///
/// The first failure ends the test. A panic is printed as usual, and then the command that reproduces it:
/// `to reproduce: UNIVERSE_SEED=17 cargo test -p shop orders::are_shipped_once -- --exact`; add the features that it needs.
///
/// A run that takes too long fails and reports what the test waits for and what is live. If it waits, it is dropped; if it
/// computes or blocks its thread, the thread is left running. A test runs on a thread of its own, with the test's name.
///
/// A simulated run fails if a task is polled a million times, or reads the clock ten million times in one poll, while the
/// clock stands still: a task that polls in a loop does not let simulated time pass. The message names the task.
///
/// # Panics in tasks
///
/// A panic of the test fails it. A panic of a task that was spawned in the universe, of a callback or of a destructor ends
/// that task only, as in production, and fails the test at its end, with the task and the line. A test expects such a
/// panic with the option `panics` or with [`Universe::expect_panics`]:
///
/// ```no_run
/// #[test_universe::test(simulated, panics = "the disk is full")]
/// async fn a_writer_that_panics_ends_alone() {
///     let writer = test_universe::spawn(async { panic!("the disk is full") });
///     writer.detach();
/// }
/// ```
///
/// # With tokio
///
/// A test has no tokio runtime. A test that needs one creates and enters it, and wraps what it spawns there:
///
/// ```no_run
/// use test_universe::{Universe, inherit};
///
/// #[test_universe::test]
/// async fn a_task_of_tokio_is_in_the_universe_of_the_test() -> Result<(), Box<dyn std::error::Error>> {
///     let runtime = tokio::runtime::Runtime::new()?;
///     let _entered = runtime.enter();
///     let task = tokio::spawn(inherit(async { Universe::current() }));
///     assert_eq!(task.await?, Universe::current());
///     Ok(())
/// }
/// ```
///
/// A `#[tokio::test]` can run in a universe with [`Universe::scope`]. Leaks are not checked then.
///
/// # Errors
///
/// These do not compile:
///
/// ```compile_fail
/// #[test_universe::test]
/// fn is_not_async() {}
/// ```
///
/// ```compile_fail
/// #[test_universe::test]
/// async fn has_an_argument(_: u32) {}
/// ```
///
/// ```compile_fail
/// #[test_universe::test]
/// async fn has_a_parameter<T>() {}
/// ```
///
/// ```compile_fail
/// test_universe::Check::new("returns_a_number").run(|| async { 1_u32 });
/// ```
///
/// ```compile_fail
/// #[test_universe::test(simulatde)]
/// async fn has_an_unknown_option() {}
/// ```
///
/// ```compile_fail
/// #[test_universe::test(simulated, seeds = 0..=5)]
/// async fn has_a_range_with_its_end() {}
/// ```
///
/// ```compile_fail
/// #[test_universe::test(seeds = 50)]
/// async fn has_seeds_of_the_real_world() {}
/// ```
///
/// ```compile_fail
/// #[test_universe::test(crate = erps)]
/// async fn has_a_path_that_is_no_text() {}
/// ```
///
/// The attribute expands to [`Check`], which can be used directly.
pub use test_universe_macros::test;

#[cfg(test)]
mod tests {
    #[crate::test]
    async fn a_unit_test_of_the_library_itself_finds_it() {
        assert!(crate::Universe::current().is_some());
    }
}
