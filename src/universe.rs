//! The task-local universe: the world that a test, and everything it starts, lives in.
//!
//! A [`Universe`] is an identity with a store. It is *current* while a future made by
//! [`Universe::scope`] is polled or a closure given to [`Universe::enter`] runs. Every task this
//! library spawns inherits the universe that was current at the call that spawned it; tasks and
//! threads that others spawn inherit it with [`inherit`] and [`inherit_fn`]. What is [`Sharded`]
//! has one value per universe, and one more for code in no universe, which is all code in
//! production.
//!
//! The equivalent of Elixir's Multiverses, where the universe is found through `$callers`.
//! It separates tests; it is no security boundary.

mod config;
mod future;
mod mock;
mod place;
mod registry;
mod sharded;
mod slot;
mod strict;
mod world;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use place::Place;
use world::World;

pub use config::{Config, ConfigError};
pub use future::InUniverse;
pub use mock::Mock;
pub use registry::{AlreadyRegistered, Registration, Registry};
pub use sharded::Sharded;
pub use strict::NoUniverse;

/// One world. Clones are handles to the same world; its shards are dropped with the last one.
///
/// # Example
///
/// ```
/// use erps::Universe;
///
/// assert_eq!(Universe::current(), None);
/// let universe = Universe::new();
/// universe.enter(|| assert_eq!(Universe::current(), Some(universe.clone())));
/// ```
#[derive(Clone)]
pub struct Universe {
    world: Arc<World>,
}

impl Universe {
    /// Makes a universe in which nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        place::keep_trails();
        Self {
            world: Arc::new(World::new(NEXT.fetch_add(1, Ordering::Relaxed))),
        }
    }

    /// The universe of the running task or closure; `None` outside of all, as in production.
    #[must_use]
    pub fn current() -> Option<Self> {
        place::with_universe(|universe| universe.cloned())
    }

    /// A number that no other universe of this process has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.world.id
    }

    /// Makes a future that lives in this universe: whenever it is polled, and when it is dropped.
    ///
    /// It replaces the universe of whoever awaits it, for that future only.
    ///
    /// # Cancel safety
    ///
    /// The same as the future's own.
    #[track_caller]
    pub fn scope<F: Future>(&self, future: F) -> InUniverse<F> {
        within(Some(self.clone()), future)
    }

    /// Runs a closure in this universe and returns what it returns.
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        enter(&Some(self.clone()), f)
    }
}

impl Default for Universe {
    fn default() -> Self {
        Self::new()
    }
}

/// Handles are equal when they are handles to the same universe.
impl PartialEq for Universe {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Universe {}

impl fmt::Debug for Universe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Universe").field(&self.id()).finish()
    }
}

/// Carries the current universe into a future that someone else spawns.
///
/// The universe is the one current *now*, at this call, not at the first poll.
///
/// # Example
///
/// ```
/// use erps::{Universe, universe};
///
/// let seen = Universe::new().enter(|| smol::spawn(universe::inherit(async { Universe::current() })));
/// assert!(smol::block_on(seen).is_some());
/// ```
#[track_caller]
pub fn inherit<F: Future>(future: F) -> InUniverse<F> {
    within(Universe::current(), future)
}

/// Carries the current universe into a closure that runs elsewhere: on a thread, in a pool, in a
/// callback kept for later.
///
/// # Example
///
/// ```
/// use erps::{Universe, universe};
///
/// let thread = Universe::new().enter(|| std::thread::spawn(universe::inherit_fn(Universe::current)));
/// assert!(thread.join().unwrap().is_some());
/// ```
#[track_caller]
pub fn inherit_fn<R>(f: impl FnOnce() -> R) -> impl FnOnce() -> R {
    let place = Place::spawned_in(Universe::current());
    move || place.enter(f)
}

/// Makes a future that lives in `universe`, or in none, whoever polls it.
#[track_caller]
pub(crate) fn within<F: Future>(universe: Option<Universe>, future: F) -> InUniverse<F> {
    InUniverse::new(Place::spawned_in(universe), future)
}

/// Runs `f` in `universe`, which may be none at all.
pub(crate) fn enter<R>(universe: &Option<Universe>, f: impl FnOnce() -> R) -> R {
    let universe = universe.clone();
    let trail = place::trail();
    Place { universe, trail }.enter(f)
}
