//! What a universe is made of: the values of the statics that were used in it, the list of what lives
//! there, and what it has of its own where it is simulated or run.

use std::{
    any::Any,
    mem,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockWriteGuard, Weak},
};

use async_executor::Executor;

use crate::{
    Universe,
    census::Census,
    panics::{Panics, contain},
    place::Place,
    sim::Sim,
    slot::Slot,
};

/// How often the values are dropped that destructors of values made anew.
const MAX_ENDINGS: u32 = 8;

pub(crate) struct World {
    pub(crate) id: u64,
    pub(crate) sim: Option<Arc<Sim>>,
    /// Gone with the last handle that is not a guest's.
    pub(crate) life: Weak<()>,
    /// What its user calls it.
    name: Mutex<Option<Arc<str>>>,
    pub(crate) census: Arc<Census>,
    pub(crate) panics: Arc<Panics>,
    /// What else is simulated; the universe need not know what it is.
    pub(crate) extension: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Where its tasks are spawned; set while it is [run](Universe::run). The executor's tasks hold
    /// the universe, and so the universe may not hold the executor.
    pub(crate) executor: Mutex<Option<Weak<Executor<'static>>>>,
    /// The slot of every static that was used here, by the static's key.
    slots: RwLock<Slots>,
    endings: u32,
}

impl Universe {
    /// Drops the values of its statics, which are made anew if they are asked for. Tells whether
    /// there were any.
    pub(crate) fn drop_values(&self) -> bool {
        self.world.drop_values(&Place::part_in(Some(self.clone())))
    }
}

/// Keys are small and dense: a vector finds a slot faster than a map.
type Slots = Vec<Option<Arc<dyn Any + Send + Sync>>>;

impl World {
    pub(crate) fn new(id: u64, sim: Option<Arc<Sim>>) -> Self {
        Self {
            id,
            sim,
            life: Weak::new(),
            name: Mutex::default(),
            census: Arc::default(),
            panics: Arc::default(),
            extension: OnceLock::new(),
            executor: Mutex::default(),
            slots: RwLock::default(),
            endings: 0,
        }
    }

    pub(crate) fn name(&self) -> Option<Arc<str>> {
        self.name
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_name(&self, name: Arc<str>) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }

    /// The value of a static, if it was made already.
    pub(crate) fn made<T: Send + Sync + 'static>(&self, key: usize) -> Option<Arc<T>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let slot: &Slot<T> = slots.get(key)?.as_ref()?.downcast_ref()?;
        slot.made()
    }

    pub(crate) fn slot<T: Send + Sync + 'static>(&self, key: usize) -> Arc<Slot<T>> {
        let mut slots = self.slots();
        if slots.len() <= key {
            slots.resize(key + 1, None);
        }
        let slot = slots[key].get_or_insert_with(|| Arc::new(Slot::<T>::new()));
        let slot = Arc::clone(slot);
        slot.downcast()
            .expect("a key belongs to one static, and a static has one type")
    }

    /// Drops the values there are, in the universe that `place` is in: the last first, one at a time,
    /// so that what is dropped later is still there for what is dropped now.
    fn drop_values(&self, place: &Place) -> bool {
        let mut any = false;
        let count = self.slots().len();
        for key in (0..count).rev() {
            let slot = self.slots()[key].take();
            any |= slot.is_some();
            // Whoever holds the last handle is not to be ended by it: an executor, say.
            place.enter(|| contain("a destructor panicked", || drop(slot)));
        }
        any
    }

    fn slots(&self) -> RwLockWriteGuard<'_, Slots> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The values are dropped in their universe, because destructors look up statics too: in one that
/// goes on under the same number until no destructor has made a value anew. Two statics whose
/// destructors make each other would never come to an end, so there is a last time.
impl Drop for World {
    fn drop(&mut self) {
        // Only guests are left to wait for its clock, which nobody moves any more.
        if let Some(sim) = &self.sim {
            while sim.times.leap(None) {}
        }
        let slots = mem::take(&mut *self.slots());
        let count = slots.len();
        if count == 0 || self.endings == MAX_ENDINGS {
            return;
        }
        let world = Arc::new(Self {
            id: self.id,
            sim: self.sim.take(),
            life: Weak::new(),
            name: Mutex::new(self.name()),
            census: Arc::clone(&self.census),
            panics: Arc::clone(&self.panics),
            extension: mem::take(&mut self.extension),
            executor: Mutex::default(),
            slots: RwLock::new(slots),
            endings: self.endings + 1,
        });
        let place = Place {
            universe: Some(Universe {
                world: Arc::clone(&world),
                life: None,
            }),
            ..Place::default()
        };
        world.drop_values(&place);
        // A vector of nothing is no reason for another ending.
        let mut left = world.slots();
        if left.iter().all(Option::is_none) {
            left.clear();
        }
    }
}
