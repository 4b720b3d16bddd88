//! A place for one value that is made when it is first asked for, and may be replaced.

use std::{
    mem,
    sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// No foreign code runs under the lock: a value is made in its cell and dropped outside of both, so
/// that making or dropping one may use this slot's like. A cell that was taken out meanwhile still
/// gets its value, for those who wait for it.
pub(crate) struct Slot<T>(RwLock<Option<Cell<T>>>);

type Cell<T> = Arc<OnceLock<Arc<T>>>;

impl<T> Slot<T> {
    pub(crate) const fn new() -> Self {
        Self(RwLock::new(None))
    }

    /// The value, if there is one.
    pub(crate) fn made(&self) -> Option<Arc<T>> {
        self.read().as_ref()?.get().cloned()
    }

    pub(crate) fn get_or_make(&self, make: fn() -> T) -> Arc<T> {
        match self.made() {
            Some(value) => value,
            None => Self::fill(&self.cell(), make),
        }
    }

    /// Puts another value in, or none.
    pub(crate) fn set(&self, value: Option<T>) {
        let cell = value.map(|value| Cell::new(Arc::new(value).into()));
        let former = mem::replace(&mut *self.write(), cell);
        drop(former);
    }

    /// Puts another value in, and returns the one that it takes the place of.
    pub(crate) fn replace(&self, value: T, make: fn() -> T) -> Arc<T> {
        let fresh = Cell::new(Arc::new(value).into());
        loop {
            let cell = self.cell();
            let former = Self::fill(&cell, make);
            let mut now = self.write();
            // Whoever was faster has put in what is the former one now.
            if now.as_ref().is_some_and(|now| Arc::ptr_eq(now, &cell)) {
                *now = Some(fresh);
                return former;
            }
        }
    }

    fn fill(cell: &Cell<T>, make: fn() -> T) -> Arc<T> {
        Arc::clone(cell.get_or_init(|| Arc::new(make())))
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
