//! Livelock detection: tasks that are polled without end while the simulated clock stands still.
//!
//! Simulated time passes when all tasks wait. A task that polls until some time has passed, or until another task has
//! done something, never waits. The detector counts polls, and reads of the clock within one poll, between two advances
//! of the clock.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};

/// How often a task may be polled while the clock stands still. Well above what a task that makes progress needs.
const MAX_POLLS: u64 = 1_000_000;

/// How often in a row a task may wake itself, as one does that yields until a condition holds.
const MAX_SELF_WAKES: u64 = 200_000;

/// How often the clock may be read without a poll or an advance in between. A loop that reads it can only be ended by a
/// panic.
pub(crate) const MAX_READS: u64 = 10_000_000;

/// Counts what happens while a clock stands still.
#[derive(Default)]
pub(crate) struct Detector {
    advances: AtomicU64,
    reads: AtomicU64,
    detected: AtomicBool,
    /// The task that was polled too often.
    task: OnceLock<String>,
}

/// How often one task was polled since the clock advanced.
#[derive(Default)]
pub(crate) struct PollCount(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    /// The number of advances at the time of counting.
    advances: u64,
    polls: u64,
    self_wakes: u64,
}

impl Detector {
    pub(crate) fn clock_advanced(&self) {
        self.advances.fetch_add(1, Relaxed);
        self.reads.store(0, Relaxed);
    }

    /// Counts a poll and returns whether it is one too many.
    pub(crate) fn count_poll(&self, count: &PollCount) -> bool {
        self.reads.store(0, Relaxed);
        let advances = self.advances.load(Relaxed);
        let mut counts = count.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.advances != advances {
            *counts = Counts {
                advances,
                ..Counts::default()
            };
        }
        counts.polls += 1;
        counts.polls > MAX_POLLS || counts.self_wakes > MAX_SELF_WAKES
    }

    /// Notes whether the task has woken itself during the poll.
    pub(crate) fn poll_ended(&self, count: &PollCount, woke_itself: bool) {
        let mut counts = count.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.self_wakes = if woke_itself {
            counts.self_wakes + 1
        } else {
            0
        };
    }

    /// Notes the task that is polled too often. Only the first is reported.
    pub(crate) fn detect(&self, task: impl FnOnce() -> String) {
        self.task.get_or_init(task);
        self.detected.store(true, SeqCst);
    }

    pub(crate) fn has_detected(&self) -> bool {
        self.detected.load(SeqCst)
    }

    /// The task that was polled too often.
    pub(crate) fn task(&self) -> Option<&str> {
        self.task.get().map(String::as_str)
    }

    /// Counts a read of the clock and returns whether it is one too many.
    pub(crate) fn count_read(&self) -> bool {
        self.reads.fetch_add(1, Relaxed) >= MAX_READS
    }
}

/// The limits, for a report.
pub(crate) fn limits() -> String {
    format!(
        "polled more than {MAX_POLLS} times, or {MAX_SELF_WAKES} times in a row after waking itself,"
    )
}

/// What to do about it.
pub(crate) const HINT: &str = "simulated time passes while all tasks wait, as in `time::sleep`, and not while a task \
                               polls in a loop";
