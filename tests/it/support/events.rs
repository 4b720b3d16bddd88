//! Captures the events that the library emits through `tracing`.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock},
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Events of the library on this thread, of level `WARN` and above.
#[derive(Clone, Default)]
pub(crate) struct Warnings {
    heard: Arc<Mutex<Vec<String>>>,
    everything: bool,
    slow_callbacks: bool,
}

/// Part of the warning of a slow callback. A busy machine makes any callback slow.
const SLOW_CALLBACK: &str = "has occupied its thread";

impl Warnings {
    /// Captures the warnings emitted while `test` runs.
    pub(crate) fn capture<T>(test: impl FnOnce(&Self) -> T) -> T {
        Self::default().run(test)
    }

    /// Captures all events emitted while `test` runs, of any level and target.
    pub(crate) fn capture_all<T>(test: impl FnOnce(&Self) -> T) -> T {
        let everything = Self {
            everything: true,
            ..Self::default()
        };
        everything.run(test)
    }

    /// Captures the warnings about slow callbacks emitted while `test` runs.
    pub(crate) fn capture_slow_callbacks<T>(test: impl FnOnce(&Self) -> T) -> T {
        let slow = Self {
            slow_callbacks: true,
            ..Self::default()
        };
        slow.run(test)
    }

    fn run<T>(self, test: impl FnOnce(&Self) -> T) -> T {
        // With a single subscriber, `tracing` caches the interest of the thread that reaches an event first,
        // for all threads. Another test's thread has no interest, so a second subscriber turns this cache
        // off.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(Self::default()));
        tracing::subscriber::with_default(self.clone(), || test(&self))
    }

    /// Returns the events since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_ours = ["erps", "test_universe"].contains(&metadata.target());
        self.everything || is_ours && *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        if !self.everything && text.0.contains(SLOW_CALLBACK) != self.slow_callbacks {
            return;
        }
        self.heard.lock().unwrap().push(text.0);
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
