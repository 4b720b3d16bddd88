//! Which spawns led to the running code.

use std::{
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::resources::Resource;

/// Whether spawn traces are kept. A process that never creates a universe keeps none and pays for none.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// How many spawns a trace keeps: a task that respawns itself must not grow one without limit.
const MAX_SPAWNS: usize = 8;

/// The spawns that led to the running code; `None` if unknown.
pub(crate) type Trace = Option<Arc<SpawnTrace>>;

#[derive(Debug, Default)]
pub(crate) struct SpawnTrace {
    /// The spawned tasks and closures, the innermost first.
    pub(crate) spawns: Vec<Resource>,
    /// Whether older spawns were dropped from the trace.
    pub(crate) truncated: bool,
    pub(crate) origin: Option<Origin>,
}

/// The universe that was entered at the start of a trace, and where.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) universe: u64,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) at: &'static Location<'static>,
}

impl SpawnTrace {
    /// A trace that begins at `origin`.
    pub(crate) fn from_origin(origin: Origin) -> Self {
        Self {
            origin: Some(origin),
            ..Self::default()
        }
    }

    /// The trace of a task that is spawned by code with the trace `parent`.
    pub(crate) fn of_spawn(parent: Option<&Self>, spawned: Resource) -> Self {
        let former = parent.map_or(&[][..], |trace| &trace.spawns);
        let kept = former.iter().take(MAX_SPAWNS - 1).cloned();
        Self {
            spawns: [spawned].into_iter().chain(kept).collect(),
            truncated: former.len() == MAX_SPAWNS || parent.is_some_and(|trace| trace.truncated),
            origin: parent.and_then(|trace| trace.origin.clone()),
        }
    }

    /// The task or closure that runs.
    pub(crate) fn innermost(&self) -> Option<&Resource> {
        self.spawns.first()
    }
}

/// Keeps spawn traces from now on.
pub(crate) fn enable() {
    ENABLED.store(true, Ordering::Relaxed);
}

#[inline]
pub(crate) fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}
