//! A lazily initialized value that can be replaced: what one universe has of a static.

use std::{
    mem,
    sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// A lazily initialized value that can be replaced.
///
/// No user code runs under the lock: a value is initialized in its cell, and dropped outside of both, so that
/// initializers and destructors may use other shards. A cell that is replaced while it is initialized still gets its
/// value, for the threads that wait for it.
pub(crate) struct Shard<T>(RwLock<Option<Cell<T>>>);

type Cell<T> = Arc<OnceLock<Arc<T>>>;

impl<T> Shard<T> {
    pub(crate) const fn new() -> Self {
        Self(RwLock::new(None))
    }

    /// Returns the value if it is initialized.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        self.read().as_ref()?.get().cloned()
    }

    pub(crate) fn get_or_init(&self, init: fn() -> T) -> Arc<T> {
        match self.get() {
            Some(value) => value,
            None => Self::init(&self.cell(), init),
        }
    }

    /// Replaces or removes the value.
    pub(crate) fn set(&self, value: Option<T>) {
        let cell = value.map(|value| Cell::new(Arc::new(value).into()));
        let former = mem::replace(&mut *self.write(), cell);
        drop(former);
    }

    /// Replaces the value and returns the former one, which is initialized first if necessary.
    pub(crate) fn replace(&self, value: T, init: fn() -> T) -> Arc<T> {
        let fresh = Cell::new(Arc::new(value).into());
        loop {
            let cell = self.cell();
            let former = Self::init(&cell, init);
            let mut now = self.write();
            // If another thread was faster, its value is the former one now.
            if now.as_ref().is_some_and(|now| Arc::ptr_eq(now, &cell)) {
                *now = Some(fresh);
                return former;
            }
        }
    }

    fn init(cell: &Cell<T>, init: fn() -> T) -> Arc<T> {
        Arc::clone(cell.get_or_init(|| Arc::new(init())))
    }

    fn cell(&self) -> Cell<T> {
        if let Some(cell) = &*self.read() {
            return Arc::clone(cell);
        }
        Arc::clone(self.write().get_or_insert_default())
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Cell<T>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Cell<T>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
