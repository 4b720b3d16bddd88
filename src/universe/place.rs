//! Where the running code is: its universe, and who spawned it.

use std::{
    iter,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::Universe;

scoped_tls::scoped_thread_local!(
    /// A place in no universe is not the same as unset: a task that was spawned in no universe
    /// stays in none, even if the thread that polls it sits inside one.
    static CURRENT: Place
);

/// Whether trails are kept. Production makes no universe, and so keeps none and pays for none.
static TRAILS: AtomicBool = AtomicBool::new(false);

/// How many spawns a trail remembers. A task that is spawned by its like, again and again, must not
/// grow one for ever.
pub(super) const TRAIL_LIMIT: usize = 8;

/// Where each spawn was called that led here, the nearest first.
pub(super) type Trail = Option<Arc<[&'static Location<'static>]>>;

/// What is carried into a future or a closure.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) universe: Option<Universe>,
    pub(super) trail: Trail,
}

impl Place {
    /// What is spawned now, at the caller's line, into `universe`.
    #[inline]
    #[track_caller]
    pub(super) fn spawned_in(universe: Option<Universe>) -> Self {
        let trail = match TRAILS.load(Ordering::Relaxed) {
            true => Some(longer_trail(Location::caller())),
            false => None,
        };
        Self { universe, trail }
    }

    /// Runs `f` here.
    #[inline]
    pub(super) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        if self.universe.is_none() && self.trail.is_none() && !CURRENT.is_set() {
            return f();
        }
        CURRENT.set(self, f)
    }
}

/// From now on, trails are kept.
pub(super) fn keep_trails() {
    TRAILS.store(true, Ordering::Relaxed);
}

/// The current trail, with one spawn more.
#[cold]
fn longer_trail(at: &'static Location<'static>) -> Arc<[&'static Location<'static>]> {
    let before = trail().unwrap_or_default();
    let hops = iter::once(at).chain(before.iter().copied());
    hops.take(TRAIL_LIMIT).collect()
}

/// Calls `f` with the current universe, without the cost of a handle to it.
#[inline]
pub(super) fn with_universe<R>(f: impl FnOnce(Option<&Universe>) -> R) -> R {
    if CURRENT.is_set() {
        CURRENT.with(|place| f(place.universe.as_ref()))
    } else {
        f(None)
    }
}

/// The spawns that led here, as far as known.
pub(super) fn trail() -> Trail {
    if CURRENT.is_set() {
        CURRENT.with(|place| place.trail.clone())
    } else {
        None
    }
}
