//! The handle by which a task can be allowed into a universe after it was spawned.
//!
//! ```text
//! TaskRef, Resident --.                  allow: sets the universe, wakes the task
//!                      >-- one cell --<
//! the task's future --'                  poll, drop: runs in the universe of the cell
//! ```
//!
//! The cell has a version, which the future compares with the one it knows: at each poll, and at each look-up of the
//! current universe, since it may be allowed elsewhere while it is being polled. Without a change that is one load of an
//! atomic.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use crate::{
    sim::watch::Watch,
    universe::{Universe, WeakUniverse},
};

/// A handle by which a future can be [allowed](Universe::allow) into a universe, before or after it is spawned.
///
/// Returned by [`InUniverse::resident`](crate::InUniverse::resident). Clones are handles to the same future, which they
/// do not keep alive.
#[derive(Clone, Default)]
pub struct Resident {
    cell: Arc<Cell>,
}

/// A handle to a task that can be [allowed](Universe::allow) into a universe.
pub trait Resides {
    /// Returns the task's [`Resident`].
    fn resident(&self) -> &Resident;
}

impl Resides for Resident {
    fn resident(&self) -> &Resident {
        self
    }
}

impl fmt::Debug for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resident").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Cell {
    /// How often it has been allowed into another universe.
    version: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The universe it was spawned in. The future keeps that universe alive, so that its number is enough.
    home: Option<u64>,
    /// The universe that it was allowed into.
    allowed: Option<WeakUniverse>,
    /// Counts it as awake in the other universe until it is polled there.
    moving: Option<Watch>,
    /// Futures that are allowed wherever this one is.
    companions: Vec<Resident>,
    waker: Option<Waker>,
    has_ended: bool,
}

impl Resident {
    /// Allows the future into `universe`; `caller` is the universe of the running code.
    pub(crate) fn allow(&self, universe: &Universe, caller: Option<u64>) -> Result<(), AllowError> {
        let mut state = self.state();
        if state.has_ended {
            return Err(AllowError::Ended);
        }
        let allowed = state.allowed.as_ref().filter(|it| !it.has_ended());
        match allowed.map(WeakUniverse::id).or(state.home) {
            Some(id) if id == universe.id() => return Ok(()),
            Some(universe) if Some(universe) != caller => {
                return Err(AllowError::Elsewhere { universe });
            }
            _ => {}
        }
        state.allowed = Some(WeakUniverse::new(universe));
        let watch = Watch::begin(universe.inner.sim.as_ref());
        let former = state.moving.replace(watch);
        self.cell.version.fetch_add(1, Ordering::Release);
        let (waker, companions) = (state.waker.clone(), state.companions.clone());
        drop(state);
        drop(former);
        for companion in companions {
            // One that has ended, or was allowed elsewhere explicitly, does not follow.
            let _ = companion.allow(universe, caller);
        }
        // The poll registers the waker of the new universe with the future's timers, sockets and channels.
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Sets the universe that the future was spawned in.
    pub(crate) fn set_home(&self, home: Option<&Universe>) {
        self.state().home = home.map(Universe::id);
    }

    pub(crate) fn set_waker(&self, waker: &Waker) {
        let former = self.state().waker.replace(waker.clone());
        drop(former);
    }

    pub(crate) fn version(&self) -> usize {
        self.cell.version.load(Ordering::Acquire)
    }

    /// The universe that it was allowed into, if that has not ended.
    #[cold]
    pub(crate) fn allowed_into(&self) -> Option<Universe> {
        let state = self.state();
        let universe = state.allowed.as_ref().and_then(WeakUniverse::upgrade);
        drop(state);
        universe
    }

    /// Where the future continues after a change.
    #[cold]
    pub(crate) fn take_move(&self) -> Move {
        let mut state = self.state();
        let version = self.version();
        let universe = state.allowed.as_ref().and_then(WeakUniverse::upgrade);
        let watch = state.moving.take();
        if universe.is_none() {
            state.allowed = None;
        }
        drop(state);
        Move {
            version,
            universe,
            watch,
        }
    }

    /// Notes that the future has completed or was dropped.
    pub fn end(&self) {
        let mut state = self.state();
        state.has_ended = true;
        let (moving, waker) = (state.moving.take(), state.waker.take());
        drop(state);
        drop((moving, waker));
    }

    /// Allows `other` wherever this one is allowed from now on.
    pub fn take_along(&self, other: &Self) {
        self.state().companions.push(other.clone());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = &self.cell.state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a future continues.
pub(crate) struct Move {
    pub(crate) version: usize,
    /// The universe that it was allowed into; `None` if that has ended, so that it returns to its own.
    pub(crate) universe: Option<Universe>,
    /// Counts it as awake there, if it was not polled there yet.
    pub(crate) watch: Option<Watch>,
}

/// Why a task was not allowed into a universe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllowError {
    /// The task is in another universe, which has not ended and which the caller is not in; or another universe has
    /// allowed the name.
    Elsewhere {
        /// The [`id`](Universe::id) of that universe.
        universe: u64,
    },
    /// The task has ended.
    Ended,
    /// The name was registered by a thread, or by a task without a [`Resident`].
    Immovable,
    /// The registry is strict.
    Strict,
}

impl fmt::Display for AllowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere { universe } => {
                write!(f, "the task or name is in use by universe {universe}")
            }
            Self::Ended => f.write_str("the task has ended"),
            Self::Immovable => f.write_str(
                "the name was registered by a thread, or by a task that cannot change its universe",
            ),
            Self::Strict => {
                f.write_str("the registry is strict, so that it has no names outside of universes")
            }
        }
    }
}

impl Error for AllowError {}
