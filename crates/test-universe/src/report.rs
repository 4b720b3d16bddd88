//! What a failed run reports.

use std::{collections::BTreeMap, panic::Location, time::Duration};

use crate::{
    resources::Resource,
    sim::livelock::{self, HINT},
    universe::Universe,
};

/// Live resources, by their ids.
pub(crate) type Leaks = BTreeMap<u64, Resource>;

/// Why the main future of a simulated universe did not complete.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unfinished {
    /// No task can run, and no timer is pending.
    Deadlock,
    /// A task is polled without end; the universe knows which.
    Livelock,
    /// The next timer, due at this time, is beyond the limit of virtual time.
    VirtualLimit { next: Duration },
}

/// What is wrong with a run whose main future has not panicked.
pub(crate) struct Findings {
    pub(crate) unfinished: Option<Unfinished>,
    /// Whether something has not ended with the main future.
    pub(crate) has_leaks: bool,
    /// What was live before all that can be cancelled was cancelled.
    pub(crate) live: Leaks,
    /// What of that the main future waits for.
    pub(crate) waits_for: Option<u64>,
    /// What is live even after that.
    pub(crate) still_live: Leaks,
    /// Unexpected panics of tasks, and expected ones that did not happen.
    pub(crate) panics: Option<String>,
}

/// What a simulated universe does not wait for.
pub(crate) const OUTSIDE: &str = "(work outside of the universe may be pending, such as a thread, a real socket, or a timer \
                                  of smol or tokio: sleep with `time::sleep`, and run other work through `unblock`)";

impl Universe {
    /// The message that the run fails with.
    pub(crate) fn failure(&self, findings: Findings, at: &'static Location<'static>) -> String {
        let Findings {
            unfinished,
            has_leaks,
            mut live,
            waits_for,
            still_live,
            panics,
        } = findings;
        live.extend(still_live.clone());
        let list = |live: &Leaks| -> String {
            let line = |(id, resource): (&u64, &Resource)| {
                let note = match waits_for {
                    _ if still_live.contains_key(id) => ", which cannot be cancelled",
                    Some(waits_for) if unfinished.is_some() && waits_for == *id => {
                        ", which the main future waits for"
                    }
                    _ => "",
                };
                format!("\n  {resource}{note}")
            };
            live.iter().map(line).collect()
        };
        let livelock = self
            .livelock()
            .filter(|_| unfinished.is_some() || has_leaks);
        let mut reports = Vec::new();
        if let Some(what) = unfinished.and_then(|it| self.unfinished(it)) {
            let main = Resource::new(format_args!("the main future"), at);
            live.insert(0, main);
            reports.push(format!("{what}{}\n{OUTSIDE}", list(&live)));
        } else if unfinished.is_none() && has_leaks {
            let what = self.reports("has ended, and these have not:");
            reports.push(format!("{what}{}", list(&live)));
        }
        reports.extend(livelock);
        reports.extend(panics.map(|list| self.panics(&list)));
        reports.join("\n")
    }

    /// The first line of a report, before the list of what is live. A livelock has a line of its own.
    fn unfinished(&self, why: Unfinished) -> Option<String> {
        let limits = self.inner.limits();
        let what = match why {
            Unfinished::Livelock => return None,
            Unfinished::Deadlock => format!(
                "is deadlocked: no task can run, no timer is pending, and no external event has come for {:?}; live are:",
                limits.external
            ),
            Unfinished::VirtualLimit { next } => format!(
                "has reached its limit of {:?} of virtual time: the next timer is due at {next:?} (more is allowed by \
                 `virtual_limit`); live are:",
                limits.virtual_time
            ),
        };
        Some(self.reports(&what))
    }

    /// The task that did not let the clock advance.
    fn livelock(&self) -> Option<String> {
        let sim = self.inner.sim.as_ref()?;
        let (task, elapsed) = (sim.times.livelock.task()?, sim.elapsed());
        let limits = livelock::limits();
        let what = format!(
            "is in a livelock: {task} was {limits} while the clock stands still at {elapsed:?}: {HINT}"
        );
        Some(self.reports(&what))
    }

    fn panics(&self, list: &str) -> String {
        let what = "has unexpected panics in its tasks, or lacks expected ones:";
        let hint = "\n(expect a panic with the option `panics = \"its text\"` of the test attribute, or with `Universe::expect_panics`)";
        format!("{}{list}{hint}", self.reports(what))
    }

    /// Prints the panics of tasks when the test itself panics: they may be the cause.
    #[expect(clippy::print_stderr, reason = "it belongs beside the panic's message")]
    pub(crate) fn print_panics(&self, list: Option<&str>) {
        if let Some(list) = list {
            eprintln!("{}", self.panics(list));
        }
    }

    /// Prints the seed when a panic is passed on unchanged.
    #[expect(clippy::print_stderr, reason = "it belongs beside the panic's message")]
    pub(crate) fn print_seed(&self) {
        if let Some(sim) = &self.inner.sim {
            let (title, seed, elapsed) = (self.title(), sim.seed, sim.elapsed());
            eprintln!("{title} has the seed {seed}, and its clock is at {elapsed:?}");
        }
    }
}
