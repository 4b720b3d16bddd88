//! Copies of a test that run at the same time.
//!
//! A thread cannot be killed, so the test does not run on the thread that enforces the time limit. A copy that waits is
//! dropped with all tasks of its universe; a thread that computes or blocks is left running.

use std::{
    io,
    panic::{self, Location},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use event_listener::Event;
use futures_lite::future;

use crate::{
    clock::Clock,
    failure::{Failure, Outcome, TimedOut},
    panic_log::PanicLog,
    report::OUTSIDE,
    resources::ResourceList,
    run::RunError,
    universe::Universe,
    unwind,
};

/// How long copies may take to stop when they are told to. They only have to be dropped.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Copies {
    count: usize,
    report: mpsc::Sender<Result<(), Failure>>,
    reports: mpsc::Receiver<Result<(), Failure>>,
    stop: Arc<Stop>,
    observed: Observed,
}

impl Copies {
    pub(super) fn new(count: usize) -> Self {
        let (report, reports) = mpsc::channel();
        Self {
            count,
            report,
            reports,
            stop: Arc::default(),
            observed: Observed::default(),
        }
    }

    pub(super) fn observed(&self) -> Observed {
        self.observed.clone()
    }

    /// Starts a copy on a thread of its own.
    pub(super) fn start<F>(
        &self,
        thread: &str,
        at: &'static Location<'static>,
        universe: Universe,
        test: Arc<impl Fn() -> F + Send + Sync + 'static>,
    ) -> io::Result<()>
    where
        F: Future<Output: Outcome>,
    {
        let (stop, report) = (Arc::clone(&self.stop), self.report.clone());
        self.observed.add(&universe);
        let copy = move || {
            let ended = unwind::catch(|| run_copy(universe, at, &*test, &stop));
            drop(test);
            // The receiver is gone if the copy has ended too late.
            let _ = report.send(ended.unwrap_or_else(|panic| Err(Failure::Panicked(panic))));
        };
        let thread = thread::Builder::new().name(thread.to_owned());
        thread.spawn(copy).map(drop)
    }

    /// Waits for all copies. The first failure stops the others.
    pub(super) fn wait(self, limit: Duration) -> Result<(), Failure> {
        let mut running = self.count;
        let mut outcome = Ok(());
        // `None`: the limit is beyond what an `Instant` can represent.
        let until = Instant::now().checked_add(limit);
        while running > 0 && outcome.is_ok() {
            match self.reports.recv_timeout(left_until(until)) {
                Ok(report) => {
                    running -= 1;
                    outcome = report;
                }
                Err(_) => {
                    outcome = Err(Failure::TimedOut(Box::new(self.observed.timed_out(limit))))
                }
            }
        }
        self.stop.stop();
        let until = Instant::now().checked_add(STOP_TIMEOUT);
        while running > 0 && self.reports.recv_timeout(left_until(until)).is_ok() {
            running -= 1;
        }
        if let Err(Failure::TimedOut(timed_out)) = &mut outcome {
            timed_out.stuck = running;
            timed_out.polled = self.observed.polled_task();
        }
        outcome
    }
}

/// Tells copies to stop.
#[derive(Default)]
struct Stop {
    is_stopped: AtomicBool,
    stopped: Event,
}

impl Stop {
    fn stop(&self) {
        self.is_stopped.store(true, SeqCst);
        self.stopped.notify(usize::MAX);
    }

    async fn stopped(&self) {
        loop {
            let stopped = self.stopped.listen();
            if self.is_stopped.load(SeqCst) {
                return;
            }
            stopped.await;
        }
    }
}

/// Runs the test in its universe, which is dropped with all values, until it is stopped.
fn run_copy<F>(
    universe: Universe,
    at: &'static Location<'static>,
    test: impl Fn() -> F,
    stop: &Stop,
) -> Result<(), Failure>
where
    F: Future<Output: Outcome>,
{
    let stopped = async {
        stop.stopped().await;
        // Unwinding ends the run without waiting for other tasks. No report is expected any more.
        panic::resume_unwind(Box::new("the test was stopped"))
    };
    let test = async {
        if let Some(error) = test().await.failure() {
            // A test that returns early leaves tasks behind. Unwinding reports the error instead of these.
            panic::resume_unwind(Box::new(Failure::Returned(error)))
        }
    };
    let outcome = universe.run_at(at, future::or(test, stopped));
    outcome.map_err(|error| match error {
        RunError::Failed(report) => Failure::Run(report),
        RunError::Panicked(panic) => match panic.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(panic) => Failure::Panicked(panic),
        },
    })
}

/// What can be observed of the universes of copies, without keeping them alive.
#[derive(Clone, Default)]
pub(super) struct Observed(Arc<Mutex<Vec<ObservedCopy>>>);

struct ObservedCopy {
    resources: Arc<ResourceList>,
    panics: Arc<PanicLog>,
    clock: Option<Clock>,
}

impl Observed {
    fn add(&self, universe: &Universe) {
        let copy = ObservedCopy {
            resources: Arc::clone(&universe.inner.resources),
            panics: Arc::clone(&universe.inner.panics),
            clock: universe.clock(),
        };
        self.copies().push(copy);
    }

    fn timed_out(&self, limit: Duration) -> TimedOut {
        let copies = self.copies();
        let live = copies.iter().map(|copy| {
            let mut live = copy.resources.since(0);
            let awaited = copy.resources.awaited();
            if let Some((id, _)) = &awaited {
                live.remove(id);
            }
            (awaited, live)
        });
        // Of the first copy that has something to show.
        let first = { live }.find(|(awaited, live)| awaited.is_some() || !live.is_empty());
        let (awaited, live) = first.unwrap_or_default();
        let live = live.into_values().map(|resource| format!("\n  {resource}"));
        TimedOut {
            limit,
            stuck: 0,
            polled: None,
            waits_for: awaited.map(|(_, resource)| resource.to_string()),
            live: live.collect(),
            panics: copies.iter().map(|copy| copy.panics.to_string()).collect(),
            hint: copies
                .iter()
                .find_map(|copy| copy.clock.as_ref().map(|_| OUTSIDE)),
        }
    }

    /// The task that is being polled in one of the copies.
    fn polled_task(&self) -> Option<String> {
        let copies = self.copies();
        copies.iter().find_map(|copy| copy.resources.polled_task())
    }

    /// The simulated time of the only copy.
    pub(super) fn elapsed(&self) -> Option<Duration> {
        match &self.copies()[..] {
            [copy] => copy.clock.as_ref().map(Clock::elapsed),
            _ => None,
        }
    }

    fn copies(&self) -> MutexGuard<'_, Vec<ObservedCopy>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn left_until(time: Option<Instant>) -> Duration {
    time.map_or(Duration::MAX, |time| {
        time.saturating_duration_since(Instant::now())
    })
}
