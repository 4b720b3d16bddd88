//! The attribute, and what it is for.

#[cfg(doc)]
use crate::{Check, Universe, inherit};

/// Makes a test of an `async fn`: a `#[test]` that runs in a new [`Universe`].
///
/// The test runs by [`Universe::run`]: what the library starts in it runs on the test's thread, and is
/// gone when the test is over. It returns nothing, or a `Result` whose error is printed. All other
/// attributes have their usual meaning.
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
/// async fn a_year_takes_no_time() -> Result<(), std::io::Error> {
///     time::sleep(Duration::from_secs(365 * 24 * 3600)).await;
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
/// - `simulated`: in a [simulated](Universe::simulated) universe, with seed 0. Its time is that of
///   [`time`](crate::time), and of what this library does: `async_io::Timer`, `tokio::time`, `SystemTime` and
///   real sockets are as everywhere, and any time-out of the universe may be over before they are ready.
/// - `seeds = 50`, `seeds = 100..200`: simulated, once with each of the seeds, one after another.
///   The first 50 are those from 0 to 49.
/// - `timeout = 60`: how many seconds of real time a run may take. Default: 60.
/// - `panics = "text"`: in at least one task of each run something panics with this text in its message. See
///   [below](#panics-in-tasks).
/// - `allow_panics = "text"`: tasks may panic with this text in the message; `allow_panics` alone: with any.
/// - `crate = "net"`: the path of this library. Default: what `Cargo.toml` calls it.
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
/// A run that takes too long has failed. If it waits, it is dropped; if it computes or blocks its
/// thread, the thread is left behind. The copy of a test runs on a thread of its own, which is called
/// like the test's.
///
/// A simulated run in which a task takes a million turns, or reads the clock ten million times in one, while
/// the clock stands still, has failed: what polls does not let simulated time pass. The message names the
/// task.
///
/// # Panics in tasks
///
/// What panics in the test fails it. What panics in a server, in a child of a supervisor, or in a task that was
/// [spawned](crate::spawn) or has [inherited](inherit) the universe, ends that one, as in production; it fails the
/// test at its end, which says which task it was and at which line, whether or not anybody was told of it. So do
/// callbacks and destructors that panic. A panic that belongs to the test is announced, by the option `panics`
/// or by [`Universe::expect_panics`]:
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
/// A test has no runtime of tokio's around it. One that needs it makes and enters one; what is spawned there
/// inherits the universe by one word:
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
/// A `#[tokio::test]` puts itself into a universe with [`Universe::scope`]; its end is not checked then.
///
/// # Errors
///
/// What is no test is not compiled:
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
/// [`Check`] is what the attribute uses, for those who cannot.
pub use test_universe_macros::test;

#[cfg(test)]
mod tests {
    #[crate::test]
    async fn a_unit_test_of_the_library_itself_finds_it() {
        assert!(crate::Universe::current().is_some());
    }
}
