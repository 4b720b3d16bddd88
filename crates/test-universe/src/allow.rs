//! Tasks that are taken into a universe after they were spawned.
//!
//! ```text
//! TaskRef, Resident --.                  allow: notes the universe, wakes the task
//!                      >-- one cell --<
//! the task's future --'                  poll, drop: goes where the cell says
//! ```
//!
//! The cell has a version, which a task compares with the one that it knows: at each poll, and at each
//! look for the current universe, for it may be allowed elsewhere while it is being polled. That is
//! one load of an atomic as long as nobody has allowed it anywhere.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
};

use crate::{Registry, Universe, place::Place, registry::Key, sim::Watch, world::World};

impl Universe {
    /// Takes a task into this universe that was not spawned in it.
    ///
    /// For what is there before the test: a server that all tests share, a task of someone else's.
    /// From now on, what the task looks up, what it spawns and what it drops is in this universe, even
    /// if it is running at the moment. So it is with the servers that an allowed daemon starts from then on, and the
    /// children that an allowed supervisor starts. What it has spawned before stays where it is.
    ///
    /// - *Who may.* A task in no universe may be taken by anybody, into one universe at a time. One
    ///   that is in a universe may be sent on by those who are in the same.
    /// - *How long.* Until this universe ends, which the task does not keep from ending: it goes back
    ///   to where it was spawned. It wakes when it is taken, and timers of a universe that has ended
    ///   are due.
    /// - *Time.* In a [simulated](Self::simulated) universe its clock goes by the task too. A
    ///   [`sleep`](crate::time::sleep) that has begun keeps the clock it began with, and a time-out
    ///   that was running may come early or late, for it was reckoned by another clock. The task runs
    ///   on the thread it was spawned on, so that the same seed may not give the same order.
    ///
    /// The model is `allow` of Elixir's Multiverses and Mox, which is by process as this is by task.
    ///
    /// # Errors
    ///
    /// - [`Elsewhere`](AllowError::Elsewhere): it is in another universe, and the caller is not.
    /// - [`Ended`](AllowError::Ended): the task has.
    ///
    /// # Example
    ///
    /// ```
    /// use test_universe::{self as universe, Sharded, Universe};
    ///
    /// static LIMIT: Sharded<u32> = Sharded::new(|| 10);
    ///
    /// // A worker in no universe, as production has it.
    /// let (ask, asked) = smol::channel::unbounded::<()>();
    /// let (answer, answered) = smol::channel::unbounded();
    /// let mut worker = universe::inherit(async move {
    ///     while asked.recv().await.is_ok() {
    ///         answer.send(*LIMIT.get()).await.unwrap();
    ///     }
    /// });
    /// let resident = worker.resident();
    /// smol::spawn(worker).detach();
    ///
    /// // A test that wants to see it at work.
    /// async_io::block_on(Universe::new().scope(async {
    ///     LIMIT.set(1);
    ///     let here = Universe::current().unwrap();
    ///     here.allow(&resident)?;
    ///     ask.send(()).await.unwrap();
    ///     assert_eq!(answered.recv().await, Ok(1));
    ///     Ok::<(), universe::AllowError>(())
    /// }))?;
    /// # Ok::<(), universe::AllowError>(())
    /// ```
    pub fn allow(&self, who: &impl Resides) -> Result<(), AllowError> {
        who.resident().cell.allow(self)
    }

    /// As [`allow`](Self::allow), for the task that has registered `key` outside of all universes:
    /// now, and whenever one does as long as this universe lasts.
    ///
    /// It is for a task that is started after the test has begun, or is restarted. The name stays
    /// where it was registered. Where a key has several values, all who registered one are taken.
    ///
    /// # Errors
    ///
    /// - [`Elsewhere`](AllowError::Elsewhere): another universe has asked for this name before and
    ///   has not ended; or a task that has the name is in another one. Nothing is noted for later.
    /// - [`Immovable`](AllowError::Immovable): what registered the name is no server, client, daemon or
    ///   supervisor, and nothing else that has a [`Resident`]: a thread, or a task that was
    ///   [spawned](crate::spawn). One that comes later is not let in either, and there is a warning of it.
    /// - [`Strict`](AllowError::Strict): the registry is, and so has no names outside of universes.
    pub fn allow_name<K: Key, V: Send + Sync + 'static>(
        &self,
        registry: &Registry<K, V>,
        key: K,
    ) -> Result<(), AllowError> {
        let guest = Guest::of(self);
        for resident in registry.expect_guest(key.clone(), guest)? {
            let allowed = match &resident {
                Some(resident) => resident.cell.allow(self),
                None => Err(AllowError::Immovable),
            };
            // One that has just ended leaves its name in a moment.
            if let Err(error) = allowed
                && !matches!(error, AllowError::Ended)
            {
                registry.forget_guest(&key, self);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// A handle to what can be [allowed](Universe::allow) into a universe: a future that was, or will be,
/// spawned somewhere.
///
/// Made by [`InUniverse::resident`](crate::InUniverse::resident). Clones are handles to the same
/// future, which they do not keep alive.
#[derive(Clone, Default)]
pub struct Resident {
    cell: Arc<Cell>,
}

/// What has a [`Resident`]: a handle to a server, a client, a daemon, a supervisor, and the resident
/// itself.
pub trait Resides {
    /// The handle by which it is allowed into a universe.
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
    /// Where it was spawned. It keeps that universe alive, and so may it be named by a number.
    home: Option<u64>,
    away: Option<Guest>,
    /// It is about to be polled in another universe than before, which counts it as awake from now
    /// on.
    moving: Option<Watch>,
    /// What goes wherever it goes.
    companions: Vec<Resident>,
    /// Whoever polls it.
    waker: Option<Waker>,
    has_ended: bool,
}

/// A universe that is not kept alive: its handles have no part in its life.
#[derive(Clone)]
pub(crate) struct Guest {
    id: u64,
    world: Weak<World>,
    life: Weak<()>,
}

impl Guest {
    fn of(universe: &Universe) -> Self {
        Self {
            id: universe.id(),
            world: Arc::downgrade(&universe.world),
            life: universe.world.life.clone(),
        }
    }

    pub(crate) fn universe(&self) -> Option<Universe> {
        if self.has_ended() {
            return None;
        }
        let world = self.world.upgrade()?;
        Some(Universe { world, life: None })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.life.strong_count() == 0
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

impl Cell {
    fn allow(&self, universe: &Universe) -> Result<(), AllowError> {
        let caller = Universe::current().map(|it| it.id());
        let mut state = self.state();
        if state.has_ended {
            return Err(AllowError::Ended);
        }
        let away = state.away.as_ref().filter(|it| !it.has_ended());
        let is_in = away.map(|it| it.id).or(state.home);
        match is_in {
            Some(id) if id == universe.id() => return Ok(()),
            Some(universe) if Some(universe) != caller => {
                return Err(AllowError::Elsewhere { universe });
            }
            _ => {}
        }
        state.away = Some(Guest::of(universe));
        let former = state
            .moving
            .replace(Watch::begin(universe.world.sim.as_ref()));
        self.version.fetch_add(1, Ordering::Release);
        let (waker, companions) = (state.waker.clone(), state.companions.clone());
        drop(state);
        drop(former);
        for companion in companions {
            // One that has ended, or has been taken elsewhere on purpose, does not come along.
            let _ = companion.cell.allow(universe);
        }
        // Polled, it puts its timers, sockets and channels to wake it by the new universe's waker.
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resident {
    /// To be called once, by the future itself.
    pub(crate) fn settle(&self, home: Option<&Universe>) {
        self.cell.state().home = home.map(Universe::id);
    }

    pub(crate) fn woken_by(&self, waker: &Waker) {
        let former = self.cell.state().waker.replace(waker.clone());
        drop(former);
    }

    pub(crate) fn version(&self) -> usize {
        self.cell.version.load(Ordering::Acquire)
    }

    /// The universe that has allowed it, if that has not ended.
    #[cold]
    pub(crate) fn host(&self) -> Option<Universe> {
        let state = self.cell.state();
        let universe = state.away.as_ref().and_then(Guest::universe);
        drop(state);
        universe
    }

    /// Where the future is to be polled that was away, or is now; `None` if at home. It is watched there
    /// from now on.
    #[cold]
    pub(crate) fn follow(
        &self,
        home: &mut Place,
        watch: &mut Watch,
        cx: &Context<'_>,
    ) -> Option<Place> {
        let mut state = self.cell.state();
        let version = self.version();
        let universe = state.away.as_ref().and_then(Guest::universe);
        let moving = state.moving.take();
        if universe.is_none() {
            state.away = None;
            home.version = version;
        }
        drop(state);
        if moving.is_some() || universe.is_none() {
            watch.leave(cx.waker());
            *watch = moving.unwrap_or_default();
        }
        Some(Place {
            universe: Some(universe?),
            trail: home.trail.clone(),
            host: None,
            resident: Some(self.clone()),
            version,
        })
    }

    /// To be called when the future is over, whoever knows first.
    pub fn end(&self) {
        let mut state = self.cell.state();
        state.has_ended = true;
        let (moving, waker) = (state.moving.take(), state.waker.take());
        drop(state);
        drop((moving, waker));
    }

    /// From now on the other one is allowed wherever this one is.
    pub fn take_along(&self, other: &Self) {
        self.cell.state().companions.push(other.clone());
    }

    /// Takes it in if it may be, for one that has asked for its name.
    pub(crate) fn allow_late(&self, universe: &Universe) {
        if let Err(error) = self.cell.allow(universe) {
            tracing::warn!(target: "test_universe", %error, "a name that was waited for is not let in");
        }
    }
}

/// Why a task was not taken into a universe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllowError {
    /// It is in a universe that the caller is not in, and that has not ended; or that one has asked
    /// for its name before.
    #[error("it is in universe {universe}, or asked for there")]
    Elsewhere {
        /// The universe's [`id`](Universe::id).
        universe: u64,
    },
    /// The task has ended.
    #[error("it has ended")]
    Ended,
    /// The name was not registered by a task that can be moved.
    #[error("what registered the name is no task that can be moved")]
    Immovable,
    /// The registry is strict.
    #[error("the registry is strict, so that nothing is registered in it outside of universes")]
    Strict,
}
