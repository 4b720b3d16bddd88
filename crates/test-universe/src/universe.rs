//! The handle to a universe.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{inner::Inner, resources::Resource, sim::Sim, trace};

/// An isolated set of statics, names, mocks and configuration for one test, with a clock and a network of its own if it
/// is [simulated](Self::simulated).
///
/// Clones are handles to the same universe. Its values are dropped with the last handle.
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
    pub(crate) inner: Arc<Inner>,
    /// Keeps the universe alive. A handle in a task that was [allowed](Self::allow) in has none.
    life: Option<Arc<()>>,
}

impl Universe {
    /// Creates an empty universe, with the real clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with(None)
    }

    /// Creates a universe with a clock, random numbers and a network of its own, seeded with `seed`.
    ///
    /// [`time`](crate::time) and the time-outs of libraries that are built on this crate use its
    /// [`Clock`](crate::Clock). [Run](Self::run) by itself, it does the same whenever it has the same seed.
    #[must_use]
    pub fn simulated(seed: u64) -> Self {
        Self::with(Some(Arc::new(Sim::new(seed))))
    }

    fn with(sim: Option<Arc<Sim>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        trace::enable();
        let life = Arc::new(());
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            inner: Arc::new(Inner::new(id, sim, Arc::downgrade(&life))),
            life: Some(life),
        }
    }

    /// A handle that does not keep the universe alive.
    pub(crate) fn guest(inner: Arc<Inner>) -> Self {
        let life = None;
        Self { inner, life }
    }

    /// Whether this handle is one that does not keep the universe alive.
    pub(crate) fn is_guest(&self) -> bool {
        self.life.is_none()
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
        self.inner.set_name(Some(name.into().into()));
        self
    }

    /// Returns a number that no other universe of this process has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    /// Returns the live resources of the universe, in the order of creation.
    ///
    /// These are tasks, calls without a reply, unanswered calls, names, listeners and ends of connections of a simulated
    /// [`network`](crate::network), futures and closures that were given to [`inherit`](crate::inherit), and
    /// [sleeps and time-outs](crate::time) outside of tasks. What a task waits for is not listed: the task is.
    #[must_use]
    pub fn live_resources(&self) -> Vec<Resource> {
        self.inner.resources.since(0).into_values().collect()
    }

    /// Returns the seed of its random numbers; `None` if it is not [simulated](Self::simulated).
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        Some(self.inner.sim.as_ref()?.seed)
    }

    /// How reports call it.
    pub(crate) fn title(&self) -> String {
        title(self.id(), self.inner.name().as_deref())
    }

    /// A sentence of a report about it.
    pub(crate) fn reports(&self, what: &str) -> String {
        let seed = self.seed().map(|seed| format!(" (seed {seed})"));
        format!("{}{} {what}", self.title(), seed.unwrap_or_default())
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
            inner: Arc::clone(&self.inner),
            life: life.or_else(|| self.inner.life.upgrade()),
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
        if let Some(name) = self.inner.name() {
            tuple.field(&name);
        }
        tuple.finish()
    }
}

/// How reports call a universe.
pub(crate) fn title(id: u64, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("the universe `{name}`"),
        None => format!("universe {id}"),
    }
}

/// A handle that keeps neither the universe nor its state alive.
#[derive(Clone)]
pub(crate) struct WeakUniverse {
    id: u64,
    inner: Weak<Inner>,
    life: Weak<()>,
}

impl WeakUniverse {
    pub(crate) fn new(universe: &Universe) -> Self {
        Self {
            id: universe.id(),
            inner: Arc::downgrade(&universe.inner),
            life: universe.inner.life.clone(),
        }
    }

    /// Returns a handle that does not keep the universe alive; `None` if it has ended.
    pub(crate) fn upgrade(&self) -> Option<Universe> {
        if self.has_ended() {
            return None;
        }
        Some(Universe::guest(self.inner.upgrade()?))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.life.strong_count() == 0
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}
