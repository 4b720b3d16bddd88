//! The handle to a universe.

use std::{
    fmt,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    Clock, InUniverse, Made,
    place::{self, Place},
    sim::Sim,
    world::World,
};

/// One world. Clones are handles to the same world; its values are dropped with the last one.
///
/// # Example
///
/// ```
/// use test_universe::Universe;
///
/// assert_eq!(Universe::current(), None);
/// let universe = Universe::new();
/// universe.enter(|| assert_eq!(Universe::current(), Some(universe.clone())));
/// ```
pub struct Universe {
    pub(crate) world: Arc<World>,
    /// Whether it goes on is for those to say who have a part in this. Tasks that were
    /// [allowed](Self::allow) in have none.
    pub(crate) life: Option<Arc<()>>,
}

impl Universe {
    /// Makes a universe in which nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with(None)
    }

    /// Makes a universe with a clock of its own and chance of its own, which `seed` decides.
    ///
    /// The time-outs of this library, and what is drawn and slept by way of [`time`](crate::time),
    /// go by that [`Clock`]. [Run](Self::run) by itself, it does the same whenever it has the same
    /// seed.
    #[must_use]
    pub fn simulated(seed: u64) -> Self {
        Self::with(Some(Arc::new(Sim::new(seed))))
    }

    fn with(sim: Option<Arc<Sim>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        place::keep_trails();
        let mut world = World::new(NEXT.fetch_add(1, Ordering::Relaxed), sim);
        let life = Arc::new(());
        world.life = Arc::downgrade(&life);
        Self {
            world: Arc::new(world),
            life: Some(life),
        }
    }

    /// Sets the name that reports and `Debug` show, such as the name of a test.
    ///
    /// # Example
    ///
    /// ```
    /// use test_universe::Universe;
    ///
    /// let universe = Universe::new().named("shop::is_full");
    /// assert!(format!("{universe:?}").contains("shop::is_full"));
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        self.world.set_name(name.into().into());
        self
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

    /// What lives in it, in the order it was made: tasks, calls that wait for a reply, calls to be
    /// answered, names, listeners and ends of connections of a simulated [`network`](crate::network),
    /// what was carried in by [`inherit`](crate::inherit) and has not ended, and [sleep and time-outs](crate::time) that
    /// have begun. Of those only that no task has begun: a task is listed itself, as long as it waits.
    #[must_use]
    pub fn living(&self) -> Vec<Made> {
        self.world.census.living_since(0).into_values().collect()
    }

    /// Its own clock; `None` if it is not [simulated](Self::simulated).
    #[must_use]
    pub fn clock(&self) -> Option<Clock> {
        self.world.sim.clone().map(Clock)
    }

    /// What decides its chance; `None` if it is not [simulated](Self::simulated).
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        Some(self.world.sim.as_ref()?.seed)
    }

    /// Makes a future that lives in this universe: whenever it is polled, and when it is dropped.
    ///
    /// While the future is polled, this universe replaces that of the task that awaits it.
    ///
    /// # Cancel safety
    ///
    /// The same as the future's own.
    #[track_caller]
    pub fn scope<F: Future>(&self, future: F) -> InUniverse<F> {
        self.scope_at(Location::caller(), future)
    }

    pub(crate) fn scope_at<F: Future>(
        &self,
        at: &'static Location<'static>,
        future: F,
    ) -> InUniverse<F> {
        InUniverse::new(Place::entered(self, at), future)
    }

    /// Runs a closure in this universe and returns what it returns.
    #[track_caller]
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        Place::entered(self, Location::caller()).enter(f)
    }
}

impl Default for Universe {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Universe {
    fn clone(&self) -> Self {
        let life = self.life.clone();
        Self {
            world: Arc::clone(&self.world),
            life: life.or_else(|| self.world.life.upgrade()),
        }
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
        let mut tuple = f.debug_tuple("Universe");
        tuple.field(&self.id());
        if let Some(name) = self.world.name() {
            tuple.field(&name);
        }
        tuple.finish()
    }
}

impl Universe {
    /// How it is called in what people read.
    pub(crate) fn title(&self) -> String {
        title(self.id(), self.world.name().as_deref())
    }
}

/// How a universe is called in what people read.
pub(crate) fn title(id: u64, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("the universe `{name}`"),
        None => format!("universe {id}"),
    }
}
