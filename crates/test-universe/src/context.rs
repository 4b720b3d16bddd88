//! The context of the running code: its universe, its simulated host, and the spawns that led to it.

use std::{fmt, panic::Location, sync::Arc};

use crate::{
    resident::Resident,
    resources::{Entry, Polled, Resource},
    sim::Sim,
    trace::{self, Origin, SpawnTrace, Trace},
    universe::Universe,
};

scoped_tls::scoped_thread_local!(
    /// A context without a universe differs from an unset one: a task that was spawned in no universe stays in none,
    /// even if the thread that polls it is inside one.
    static CURRENT: TaskContext
);

/// What a future or closure inherits from the code that spawns it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskContext {
    pub(crate) universe: Option<Universe>,
    pub(crate) trace: Trace,
    /// The host of the simulated network, if it is not the default one.
    pub(crate) host: Option<Arc<str>>,
    /// The handle by which this future can be allowed into another universe. It is not inherited.
    pub(crate) resident: Option<Resident>,
    /// The version of `resident` that `universe` belongs to.
    pub(crate) version: usize,
}

impl TaskContext {
    /// The context of a task that is spawned now into the current universe, and its entry among the live resources.
    #[inline]
    pub(crate) fn spawned(
        description: fmt::Arguments<'_>,
        at: &'static Location<'static>,
    ) -> (Self, Entry) {
        match trace::is_enabled() {
            true => Self::current().spawns(Resource::new(description, at)),
            // The process has never had a universe.
            false => (Self::default(), Entry::default()),
        }
    }

    #[cold]
    fn spawns(mut self, task: Resource) -> (Self, Entry) {
        let trace = SpawnTrace::of_spawn(self.trace.as_deref(), task.clone());
        self.trace = Some(Arc::new(trace));
        let universe = self.universe.as_ref();
        let entry = universe.map(|it| it.inner.resources.add(task));
        (self, entry.unwrap_or_default())
    }

    /// The context of code that enters `universe` explicitly: a new trace begins.
    pub(crate) fn entered(universe: &Universe, at: &'static Location<'static>) -> Self {
        let origin = Origin {
            universe: universe.id(),
            name: universe.inner.name(),
            at,
        };
        Self {
            host: host_in(Some(universe)),
            universe: Some(universe.clone()),
            trace: Some(Arc::new(SpawnTrace::from_origin(origin))),
            resident: None,
            version: 0,
        }
    }

    /// The context of the running code, without its resident.
    pub(crate) fn current() -> Self {
        Self::part_in(with_universe(|universe| universe.cloned()))
    }

    /// The context of a part of the running code that is in `universe`.
    pub(crate) fn part_in(universe: Option<Universe>) -> Self {
        let host = host_in(universe.as_ref());
        Self {
            universe,
            trace: trace(),
            host,
            resident: None,
            version: 0,
        }
    }

    pub(crate) fn on_host(mut self, host: Arc<str>) -> Self {
        self.host = Some(host);
        self
    }

    /// Notes that the task is being polled, until the guard is dropped.
    #[inline]
    pub(crate) fn polls(&self) -> Option<Polled<'_>> {
        let resources = &self.universe.as_ref()?.inner.resources;
        Some(resources.polls(self.task().cloned()))
    }

    /// The task that has this context; `None` for the main future.
    pub(crate) fn task(&self) -> Option<&Resource> {
        self.trace.as_deref().and_then(SpawnTrace::innermost)
    }

    #[inline]
    pub(crate) fn sim(&self) -> Option<&Arc<Sim>> {
        self.universe.as_ref()?.inner.sim.as_ref()
    }

    /// The handle by which the future was moved since this context was made, if it was.
    #[inline]
    pub(crate) fn moved(&self) -> Option<&Resident> {
        let resident = self.resident.as_ref()?;
        (resident.version() != self.version).then_some(resident)
    }

    /// Runs `f` in this context.
    #[inline]
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        let is_empty = self.universe.is_none() && self.trace.is_none() && self.resident.is_none();
        if is_empty && !CURRENT.is_set() {
            return f();
        }
        CURRENT.set(self, f)
    }
}

/// Calls `f` with the current universe, without cloning the handle.
#[inline]
pub(crate) fn with_universe<R>(f: impl FnOnce(Option<&Universe>) -> R) -> R {
    if CURRENT.is_set() {
        CURRENT.with(|context| match context.moved() {
            None => f(context.universe.as_ref()),
            Some(resident) => f(resident
                .allowed_into()
                .as_ref()
                .or(context.universe.as_ref())),
        })
    } else {
        f(None)
    }
}

/// The number of the current universe.
pub(crate) fn universe_id() -> Option<u64> {
    with_universe(|universe| universe.map(Universe::id))
}

/// Calls `f` with the simulation of the current universe.
#[inline]
pub(crate) fn with_sim<R>(f: impl FnOnce(Option<&Arc<Sim>>) -> R) -> R {
    with_universe(|universe| f(universe.and_then(|it| it.inner.sim.as_ref())))
}

/// The host that the running code is on, if it is not the default one.
pub(crate) fn host() -> Option<Arc<str>> {
    CURRENT
        .is_set()
        .then(|| CURRENT.with(|context| context.host.clone()))?
}

/// The handle by which the running future can be moved.
pub(crate) fn resident() -> Option<Resident> {
    CURRENT
        .is_set()
        .then(|| CURRENT.with(|context| context.resident.clone()))?
}

/// The current host, if the current universe is `universe`.
#[inline]
fn host_in(universe: Option<&Universe>) -> Option<Arc<str>> {
    match universe {
        Some(_) if CURRENT.is_set() => CURRENT.with(|context| {
            let host = context.host.as_ref()?;
            (context.universe.as_ref() == universe).then(|| Arc::clone(host))
        }),
        _ => None,
    }
}

/// The spawns that led to the running code.
pub(crate) fn trace() -> Trace {
    if CURRENT.is_set() {
        CURRENT.with(|context| context.trace.clone())
    } else {
        None
    }
}
