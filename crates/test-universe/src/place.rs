//! Where the running code is: its universe, its host there, and who spawned it.

use std::{
    fmt,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    Universe,
    allow::Resident,
    census::{Entry, Made, Running},
    sim::Sim,
};

scoped_tls::scoped_thread_local!(
    /// A place in no universe is not the same as unset: a task that was spawned in no universe
    /// stays in none, even if the thread that polls it sits inside one.
    static CURRENT: Place
);

/// Whether trails are kept. Production makes no universe, and so keeps none and pays for none.
static TRAILS: AtomicBool = AtomicBool::new(false);

/// How many spawns a trail remembers. A task that is spawned by its like, again and again, must not
/// grow one for ever.
pub(crate) const TRAIL_LIMIT: usize = 8;

/// Who spawned whom, as far as it is known.
pub(crate) type Trail = Option<Arc<Path>>;

#[derive(Debug, Default)]
pub(crate) struct Path {
    /// What was spawned on the way here, the last first.
    pub(crate) hops: Vec<Made>,
    /// Whether there were more before.
    pub(crate) cut: bool,
    pub(crate) origin: Option<Origin>,
}

/// Where a trail begins: the universe that was entered, and where.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) universe: u64,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) at: &'static Location<'static>,
}

/// What is carried into a future or a closure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) universe: Option<Universe>,
    pub(crate) trail: Trail,
    /// On which of the universe's hosts it is, where there are several.
    pub(crate) host: Option<Arc<str>>,
    /// By which the future that runs here can be moved elsewhere; only that one has it.
    pub(crate) resident: Option<Resident>,
    /// The resident's, when it was found to be here.
    pub(crate) version: usize,
}

impl Place {
    /// For what is spawned now, into the current universe, and listed there until it ends.
    #[inline]
    pub(crate) fn spawned(
        what: fmt::Arguments<'_>,
        at: &'static Location<'static>,
    ) -> (Self, Entry) {
        match TRAILS.load(Ordering::Relaxed) {
            true => Self::here().spawns(Made::new(what, at)),
            // There never was a universe.
            false => (Self::default(), Entry::default()),
        }
    }

    #[cold]
    fn spawns(mut self, made: Made) -> (Self, Entry) {
        let before = self.trail.as_deref();
        let hops = before.map_or(&[][..], |path| &path.hops);
        let kept = hops.iter().take(TRAIL_LIMIT - 1);
        self.trail = Some(Arc::new(Path {
            hops: [&made].into_iter().chain(kept).cloned().collect(),
            cut: hops.len() == TRAIL_LIMIT || before.is_some_and(|path| path.cut),
            origin: before.and_then(|path| path.origin.clone()),
        }));
        let universe = self.universe.as_ref();
        let entry = universe.map(|it| it.world.census.enter(made));
        (self, entry.unwrap_or_default())
    }

    /// For what runs in `universe` because its user says so, here: the trail begins with it.
    pub(crate) fn entered(universe: &Universe, at: &'static Location<'static>) -> Self {
        let origin = Origin {
            universe: universe.id(),
            name: universe.world.name(),
            at,
        };
        Self {
            host: host_in(Some(universe)),
            universe: Some(universe.clone()),
            trail: Some(Arc::new(Path {
                origin: Some(origin),
                ..Path::default()
            })),
            resident: None,
            version: 0,
        }
    }

    /// Where the running code is.
    pub(crate) fn here() -> Self {
        Self::part_in(Universe::current())
    }

    /// A part of what runs now, in `universe`.
    pub(crate) fn part_in(universe: Option<Universe>) -> Self {
        let host = host_in(universe.as_ref());
        Self {
            universe,
            trail: trail(),
            host,
            resident: None,
            version: 0,
        }
    }

    pub(crate) fn on_host(mut self, host: Arc<str>) -> Self {
        self.host = Some(host);
        self
    }

    /// Notes that what is here is being polled, until the returned is dropped.
    #[inline]
    pub(crate) fn running(&self) -> Option<Running<'_>> {
        let census = &self.universe.as_ref()?.world.census;
        let hop = self.trail.as_deref().and_then(|path| path.hops.first());
        Some(census.runs(hop.cloned()))
    }

    /// What is simulated here.
    #[inline]
    pub(crate) fn sim(&self) -> Option<&Arc<Sim>> {
        self.universe.as_ref()?.world.sim.as_ref()
    }

    /// By which it can be moved, if it was meanwhile.
    #[inline]
    pub(crate) fn moved(&self) -> Option<&Resident> {
        let resident = self.resident.as_ref()?;
        (resident.version() != self.version).then_some(resident)
    }

    /// Runs `f` here.
    #[inline]
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        let is_nowhere = self.universe.is_none() && self.trail.is_none() && self.resident.is_none();
        if is_nowhere && !CURRENT.is_set() {
            return f();
        }
        CURRENT.set(self, f)
    }
}

/// From now on, trails are kept.
pub(crate) fn keep_trails() {
    TRAILS.store(true, Ordering::Relaxed);
}

/// Calls `f` with the current universe, without the cost of a handle to it.
#[inline]
pub(crate) fn with_universe<R>(f: impl FnOnce(Option<&Universe>) -> R) -> R {
    if CURRENT.is_set() {
        CURRENT.with(|place| match place.moved() {
            None => f(place.universe.as_ref()),
            Some(resident) => f(resident.host().as_ref().or(place.universe.as_ref())),
        })
    } else {
        f(None)
    }
}

/// Calls `f` with what is simulated in the current universe.
#[inline]
pub(crate) fn with_sim<R>(f: impl FnOnce(Option<&Arc<Sim>>) -> R) -> R {
    with_universe(|universe| f(universe.and_then(|it| it.world.sim.as_ref())))
}

/// The host that the running code is on.
pub(crate) fn host() -> Option<Arc<str>> {
    CURRENT
        .is_set()
        .then(|| CURRENT.with(|place| place.host.clone()))?
}

/// By which the running future can be moved.
pub(crate) fn resident() -> Option<Resident> {
    CURRENT
        .is_set()
        .then(|| CURRENT.with(|place| place.resident.clone()))?
}

/// The current host, if the current universe is `universe`.
#[inline]
fn host_in(universe: Option<&Universe>) -> Option<Arc<str>> {
    match universe {
        Some(_) if CURRENT.is_set() => CURRENT.with(|place| {
            let host = place.host.as_ref()?;
            (place.universe.as_ref() == universe).then(|| Arc::clone(host))
        }),
        _ => None,
    }
}

/// The spawns that led here, as far as known.
pub(crate) fn trail() -> Trail {
    if CURRENT.is_set() {
        CURRENT.with(|place| place.trail.clone())
    } else {
        None
    }
}
