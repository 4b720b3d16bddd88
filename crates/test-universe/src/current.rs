//! The simulation of the current universe: its clock, its network, its hosts.

use std::{sync::Arc, time::Instant};

use crate::{
    InUniverse,
    context::{self, TaskContext},
    failure::fail,
    resources::task_name,
    sim::{
        Sim, Timer,
        livelock::{HINT, MAX_READS},
    },
    trace::SpawnTrace,
    universe::Universe,
};

/// The simulation of the current universe; `None` if it is not simulated.
pub(crate) fn sim() -> Option<Arc<Sim>> {
    context::with_sim(|sim| sim.cloned())
}

/// Returns whether the current universe is simulated.
pub fn is_simulated() -> bool {
    context::with_sim(|sim| sim.is_some())
}

/// The simulated network of the current universe, created by `create` if it does not exist; `None` if the universe is not
/// simulated. It must not own the universe. There is one such type.
pub(crate) fn extension<T: Send + Sync + 'static>(create: fn(Arc<Sim>) -> T) -> Option<Arc<T>> {
    context::with_universe(|universe| {
        let inner = &universe?.inner;
        let sim = inner.sim.as_ref()?;
        let extension = inner
            .extension
            .get_or_init(|| Arc::new(create(Arc::clone(sim))));
        Some(Arc::clone(extension))
    })
    .map(|extension| extension.downcast().expect("there is only one such type"))
}

/// Whether `sim` is the simulation of the current universe, or both are none.
pub(crate) fn is_sim(sim: Option<&Arc<Sim>>) -> bool {
    context::with_sim(|current| match (current, sim) {
        (Some(current), Some(sim)) => Arc::ptr_eq(current, sim),
        (None, None) => true,
        _ => false,
    })
}

/// The time by the current universe's own clock, if it has one.
#[track_caller]
pub(crate) fn now() -> Option<Instant> {
    context::with_universe(|universe| {
        let universe = universe?;
        let sim = universe.inner.sim.as_ref()?;
        if sim.times.livelock.count_read() {
            fail_for_reads(universe, sim);
        }
        Some(sim.now())
    })
}

#[cold]
#[track_caller]
fn fail_for_reads(universe: &Universe, sim: &Sim) -> ! {
    let trace = context::trace();
    let task = task_name(trace.as_deref().and_then(SpawnTrace::innermost));
    let elapsed = sim.elapsed();
    // Destructors that run while this unwinds may read the clock.
    sim.times.livelock.clock_advanced();
    fail(&universe.reports(&format!(
        "is in a livelock: {task} has read the clock {MAX_READS} times in one poll, while it stands still at {elapsed:?}: \
         {HINT}"
    )));
}

/// A timer by the current universe's own clock, if it has one.
pub(crate) fn timer(at: Instant) -> Option<Timer> {
    Some(Timer::new(sim()?, at))
}

/// Runs `f` in `universe`, which may be none.
pub fn enter<R>(universe: &Option<Universe>, f: impl FnOnce() -> R) -> R {
    TaskContext::part_in(universe.clone()).enter(f)
}

/// Wraps a future to run on the given host of the current universe, with all that it spawns.
pub(crate) fn within_host<F: Future>(host: Arc<str>, future: F) -> InUniverse<F> {
    InUniverse::new(TaskContext::current().on_host(host), future)
}

/// Runs `f` on the given host of the current universe.
pub(crate) fn enter_host<R>(host: Arc<str>, f: impl FnOnce() -> R) -> R {
    TaskContext::current().on_host(host).enter(f)
}
