//! Helpers that the tests share.

use std::{
    env, fmt,
    process::{Command, Output},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use test_universe::{Universe, time};
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Returns a future's output and how much time it took.
pub(crate) async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let start = time::now();
    let output = future.await;
    (output, time::now() - start)
}

/// Runs a test's future on this thread, for a minute at most.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let limit = async {
        smol::Timer::after(secs(60)).await;
        panic!("the test hangs")
    };
    smol::block_on(smol::future::or(test, limit))
}

/// The number of the current universe.
pub(crate) fn current_universe() -> Option<u64> {
    Universe::current().map(|universe| universe.id())
}

/// Runs a test in whose tasks a panic is expected.
pub(crate) async fn expected<T>(test: impl Future<Output = T>) -> T {
    Universe::current()
        .unwrap()
        .expect_panics("as the test asks");
    test.await
}

/// Runs one ignored test of this binary in a new process.
pub(crate) fn run_fixture(fixture: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    for setting in ["SEED", "SEEDS", "REPLICATION", "TIMEOUT"] {
        command.env_remove(format!("UNIVERSE_{setting}"));
        command.env_remove(format!("SHOP_{setting}"));
    }
    command.env_remove("RUST_BACKTRACE");
    command.envs(variables.iter().copied());
    command.args([fixture, "--exact", "--ignored", "--show-output"]);
    command.output().unwrap()
}

/// The warnings of test-universe on this thread.
#[derive(Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Captures the warnings emitted while `test` runs.
    pub(crate) fn capture<T>(test: impl FnOnce(&Self) -> T) -> T {
        // With a single subscriber `tracing` caches the interest of the thread that emits an event first, for all threads.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(Self::default()));
        let warnings = Self::default();
        tracing::subscriber::with_default(warnings.clone(), || test(&warnings))
    }

    /// Returns the warnings since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "test_universe" && *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}
