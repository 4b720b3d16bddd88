//! Statics with a value per universe.

use std::{
    any, fmt,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{context, shard::Shard, strict::NoUniverse};

/// A static with one value per [`Universe`](crate::Universe), and one for code in no universe.
///
/// Production code reads it like any lazily initialized static; parallel tests in universes of their own never see each
/// other's value. A value is initialized on first use. It is dropped with its universe, and in it; the order is not
/// specified.
///
/// Initializers and destructors may use other sharded statics. An initializer that reads its own static deadlocks.
///
/// # Example
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use test_universe::{Sharded, Universe};
///
/// static VISITS: Sharded<AtomicU32> = Sharded::new(|| AtomicU32::new(0));
///
/// VISITS.with(|visits| visits.fetch_add(1, Relaxed));
/// Universe::new().enter(|| assert_eq!(VISITS.get().load(Relaxed), 0));
/// assert_eq!(VISITS.get().load(Relaxed), 1);
/// ```
pub struct Sharded<T: 'static> {
    /// Which static this is; 0 until it is first used in a universe.
    key: AtomicUsize,
    init: fn() -> T,
    outside: Shard<T>,
    strict: bool,
    /// Its description in reports, and where it was created.
    what: fn() -> String,
    made: &'static Location<'static>,
}

impl<T: Send + Sync + 'static> Sharded<T> {
    /// Creates a static whose values are initialized by `init`, in the universe that first uses it.
    #[must_use]
    #[track_caller]
    pub const fn new(init: fn() -> T) -> Self {
        Self::named(init, || format!("Sharded<{}>", any::type_name::<T>()))
    }

    /// Creates the static inside of another type, which `what` describes.
    #[track_caller]
    pub(crate) const fn named(init: fn() -> T, what: fn() -> String) -> Self {
        Self {
            key: AtomicUsize::new(0),
            init,
            outside: Shard::new(),
            strict: false,
            what,
            made: Location::caller(),
        }
    }

    /// Makes the static strict: in no universe it has no value, and using it fails.
    ///
    /// This finds the line at which a universe was not inherited, and the spawns that led there as far as they are known.
    /// Production is in no universe, so make a production static strict in test builds only:
    ///
    /// ```
    /// use test_universe::Sharded;
    ///
    /// static LIMIT: Sharded<u32> = match cfg!(test) {
    ///     true => Sharded::new(|| 10).strict(),
    ///     false => Sharded::new(|| 10),
    /// };
    /// assert_eq!(*LIMIT.get(), 10);
    /// ```
    ///
    /// For tests in a crate's `tests` folder `cfg!(test)` is false, as the crate is built without
    /// it; a feature of the crate that the tests turn on does there.
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.make_strict();
        self
    }

    /// Like `strict`, in place: a constant function cannot move a field.
    pub(crate) const fn make_strict(&mut self) {
        self.strict = true;
    }

    /// Returns the value of the current universe, and initializes it if necessary.
    ///
    /// The value stays alive as long as it is held, even if it is replaced or its universe ends meanwhile.
    ///
    /// # Panics
    ///
    /// If it is [`strict`](Self::strict) and the caller is in no universe, with the text of
    /// [`NoUniverse`]; or if the function given to [`new`](Self::new) panics.
    #[must_use]
    #[track_caller]
    pub fn get(&self) -> Arc<T> {
        match self.try_get() {
            Ok(value) => value,
            Err(error) => error.raise(),
        }
    }

    /// Returns the value of the current universe like [`get`](Self::get), or an error outside of all universes.
    ///
    /// # Errors
    ///
    /// If it is [`strict`](Self::strict) and the caller is in no universe.
    ///
    /// # Panics
    ///
    /// If the function given to [`new`](Self::new) panics.
    #[track_caller]
    pub fn try_get(&self) -> Result<Arc<T>, NoUniverse> {
        let made = context::with_universe(|universe| universe?.inner.value(self.key()));
        match made {
            Some(value) => Ok(value),
            None => self.in_shard(|shard| shard.get_or_init(self.init)),
        }
    }

    /// Calls `f` with the value of the current universe.
    ///
    /// # Panics
    ///
    /// As [`get`](Self::get).
    #[track_caller]
    pub fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.get())
    }

    /// Replaces the value of the current universe.
    ///
    /// Holders of the former value keep it. A concurrent [`get`](Self::get) in the same universe returns either of them.
    ///
    /// # Panics
    ///
    /// If it is [`strict`](Self::strict) and the caller is in no universe.
    #[track_caller]
    pub fn set(&self, value: T) {
        if let Err(error) = self.in_shard(|shard| shard.set(Some(value))) {
            error.raise();
        }
    }

    /// Replaces the value of the current universe and returns the former one, which is initialized first if necessary.
    ///
    /// No value is lost in concurrent calls: each call returns another former value.
    ///
    /// # Panics
    ///
    /// As [`get`](Self::get).
    #[track_caller]
    pub fn replace(&self, value: T) -> Arc<T> {
        match self.in_shard(|shard| shard.replace(value, self.init)) {
            Ok(former) => former,
            Err(error) => error.raise(),
        }
    }

    /// Drops the value of the current universe. The next use initializes it again.
    ///
    /// # Panics
    ///
    /// If it is [`strict`](Self::strict) and the caller is in no universe.
    #[track_caller]
    pub fn clear(&self) {
        if let Err(error) = self.in_shard(|shard| shard.set(None)) {
            error.raise();
        }
    }

    /// The value of code in no universe, also if the caller is in one; `None` if the static is strict.
    pub(crate) fn global(&self) -> Option<Arc<T>> {
        (!self.strict).then(|| self.outside.get_or_init(self.init))
    }

    #[track_caller]
    fn in_shard<R>(&self, f: impl FnOnce(&Shard<T>) -> R) -> Result<R, NoUniverse> {
        let asked = Location::caller();
        context::with_universe(|universe| match universe {
            Some(universe) => Ok(f(&universe.inner.shard(self.key()))),
            None if self.strict => Err(NoUniverse::new((self.what)(), self.made, asked)),
            None => Ok(f(&self.outside)),
        })
    }

    fn key(&self) -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
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
