//! Statics that have a value per universe.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::Universe;

/// A static with one value per [`Universe`], and one for code that is in none.
///
/// Production code reads it as it would read any lazily made static; parallel tests that each
/// run in a universe never see each other's value. A value is made when it is first asked for and
/// dropped with its universe.
///
/// # Example
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use erps::{Sharded, Universe};
///
/// static VISITS: Sharded<AtomicU32> = Sharded::new(|| AtomicU32::new(0));
///
/// VISITS.with(|visits| visits.fetch_add(1, Relaxed));
/// Universe::new().enter(|| assert_eq!(VISITS.get().load(Relaxed), 0));
/// assert_eq!(VISITS.get().load(Relaxed), 1);
/// ```
pub struct Sharded<T: 'static> {
    /// Which static this is; 0 until it is first used in a universe.
    key: AtomicU64,
    init: fn() -> T,
    outside: OnceLock<Arc<T>>,
}

impl<T: Send + Sync + 'static> Sharded<T> {
    /// Makes a static whose values are made by `init`, in the universe that asks.
    #[must_use]
    pub const fn new(init: fn() -> T) -> Self {
        Self {
            key: AtomicU64::new(0),
            init,
            outside: OnceLock::new(),
        }
    }

    /// The value of the current universe.
    ///
    /// The value stays alive as long as it is held, even if its universe ends meanwhile.
    ///
    /// # Panics
    ///
    /// If the function given to [`new`](Self::new) panics. It must not ask for this same value:
    /// that never returns.
    pub fn get(&self) -> Arc<T> {
        let Some(universe) = Universe::current() else {
            return Arc::clone(self.outside.get_or_init(|| Arc::new((self.init)())));
        };
        let shard = universe.shard(self.key());
        let value = shard.get_or_init(|| Arc::new((self.init)()));
        Arc::clone(value)
            .downcast()
            .expect("a key belongs to one static, and a static has one type")
    }

    /// Calls `f` with the value of the current universe.
    ///
    /// # Panics
    ///
    /// As [`get`](Self::get).
    pub fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.get())
    }

    fn key(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let key = self.key.load(Ordering::Relaxed);
        if key != 0 {
            return key;
        }
        let fresh = NEXT.fetch_add(1, Ordering::Relaxed);
        match self
            .key
            .compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => fresh,
            Err(taken) => taken,
        }
    }
}

impl<T> fmt::Debug for Sharded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharded").finish_non_exhaustive()
    }
}
