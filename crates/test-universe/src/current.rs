//! The current universe, for the rest of the library: its clock, its simulation, its host.

use std::{sync::Arc, time::Instant};

use crate::{
    InUniverse, Universe,
    clock::Timer,
    place::{self, Place},
    sim::Sim,
    spin,
};

/// What is simulated in the current universe, if it is.
pub(crate) fn sim() -> Option<Arc<Sim>> {
    place::with_sim(|sim| sim.cloned())
}

/// Whether the current universe has a clock of its own.
pub fn is_simulated() -> bool {
    place::with_sim(|sim| sim.is_some())
}

/// What the current universe simulates besides time and chance, made now if it was not yet; `None` if it
/// simulates nothing. It lasts as long as the universe, and may not hold it. There is one such thing.
pub(crate) fn extension<T: Send + Sync + 'static>(make: fn(Arc<Sim>) -> T) -> Option<Arc<T>> {
    place::with_universe(|universe| {
        let world = &universe?.world;
        let sim = world.sim.as_ref()?;
        let extension = world
            .extension
            .get_or_init(|| Arc::new(make(Arc::clone(sim))));
        Some(Arc::clone(extension))
    })
    .map(|extension| extension.downcast().expect("there is only one such thing"))
}

/// Whether this is what is simulated in the current universe, or nothing is.
pub(crate) fn is_sim(sim: Option<&Arc<Sim>>) -> bool {
    place::with_sim(|current| match (current, sim) {
        (Some(current), Some(sim)) => Arc::ptr_eq(current, sim),
        (None, None) => true,
        _ => false,
    })
}

/// The time by the current universe's own clock, if it has one.
#[track_caller]
pub(crate) fn now() -> Option<Instant> {
    place::with_sim(|sim| {
        let sim = sim?;
        spin::read(sim);
        Some(sim.now())
    })
}

/// A timer by the current universe's own clock, if it has one.
pub(crate) fn timer(at: Instant) -> Option<Timer> {
    Some(sim()?.timer(at))
}

/// Runs `f` in `universe`, which may be none at all.
pub fn enter<R>(universe: &Option<Universe>, f: impl FnOnce() -> R) -> R {
    Place::part_in(universe.clone()).enter(f)
}

/// Makes a future that is on the given host of the current universe, with all that it spawns. What a
/// host is, the network knows.
pub(crate) fn within_host<F: Future>(host: Arc<str>, future: F) -> InUniverse<F> {
    InUniverse::new(Place::here().on_host(host), future)
}

/// Runs `f` on the given host of the current universe.
pub(crate) fn enter_host<R>(host: Arc<str>, f: impl FnOnce() -> R) -> R {
    Place::here().on_host(host).enter(f)
}

/// The host that the running code is on, if it is on a particular one.
pub(crate) fn host() -> Option<Arc<str>> {
    place::host()
}
