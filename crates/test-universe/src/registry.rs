//! Registries of names, separate in every universe.

mod table;

use std::{any, borrow::Borrow, fmt, hash::Hash, panic::Location, sync::Arc};

use crate::{
    context,
    inherit::enlist_owned,
    resident::{AllowError, Resident},
    resources,
    sharded::Sharded,
    universe::{Universe, WeakUniverse},
};
pub use table::AlreadyRegistered;
use table::Table;

/// A static in which tasks find each other by name. Each universe has names of its own.
///
/// The model is Elixir's `Registry`. A name stays registered as long as its [`Registration`] is held.
///
/// # Example
///
/// ```
/// use test_universe::{Registry, Universe};
///
/// static SHOPS: Registry<&str, u16> = Registry::unique();
///
/// let corner = SHOPS.register("corner", 4747)?;
/// assert!(SHOPS.register("corner", 4748).is_err());
/// assert_eq!(SHOPS.lookup("corner").first().map(|port| **port), Some(4747));
/// Universe::new().enter(|| assert_eq!(SHOPS.count(), 0));
/// drop(corner);
/// assert_eq!(SHOPS.count(), 0);
/// # Ok::<(), test_universe::AlreadyRegistered>(())
/// ```
pub struct Registry<K: 'static, V: 'static> {
    unique: bool,
    table: Sharded<Table<K, V>>,
}

/// A key of a [`Registry`]: anything that can be compared, hashed, printed and sent.
pub trait Key: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static> Key for K {}

impl<K: Key, V: Send + Sync + 'static> Registry<K, V> {
    /// Creates a registry in which a key has at most one value.
    #[must_use]
    #[track_caller]
    pub const fn unique() -> Self {
        Self::new(true)
    }

    /// Creates a registry in which a key may have many values.
    #[must_use]
    #[track_caller]
    pub const fn duplicate() -> Self {
        Self::new(false)
    }

    #[track_caller]
    const fn new(unique: bool) -> Self {
        let what = || {
            let (key, value) = (any::type_name::<K>(), any::type_name::<V>());
            format!("Registry<{key}, {value}>")
        };
        Self {
            unique,
            table: Sharded::named(Table::default, what),
        }
    }

    /// Makes the registry strict, as [`Sharded::strict`] does: outside of all universes its methods panic.
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.table.make_strict();
        self
    }

    /// Registers a value in the current universe until the returned guard is dropped.
    ///
    /// # Errors
    ///
    /// If keys are unique and this one is taken.
    ///
    /// # Panics
    ///
    /// If the registry is [`strict`](Self::strict) and the caller is in no universe.
    #[track_caller]
    pub fn register(&self, key: K, value: V) -> Result<Registration, AlreadyRegistered> {
        let table = self.table.get();
        let (id, allowed) = table.insert(key.clone(), value, self.unique)?;
        // Before the task is moved: the name stays where it is.
        let entry = enlist_owned(format_args!("the name {key:?}"), Location::caller());
        match (allowed, context::resident()) {
            (Some(universe), Some(resident)) => {
                if let Err(error) = resident.allow(&universe, context::universe_id()) {
                    warn(&key, error);
                }
            }
            (Some(_), None) => warn(&key, AllowError::Immovable),
            (None, _) => {}
        }
        let table = Arc::downgrade(&table);
        Ok(Registration {
            end: Box::new(move || table::remove(&table, &key, id)),
            _entry: entry,
        })
    }

    /// Returns the values of a key in the current universe, in the order of registration.
    ///
    /// # Panics
    ///
    /// If the registry is [`strict`](Self::strict) and the caller is in no universe.
    #[must_use]
    #[track_caller]
    pub fn lookup<Q>(&self, key: &Q) -> Vec<Arc<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let table = self.table.get();
        let entries = table.entries();
        let entries = entries.by_key.get(key).map_or(&[][..], Vec::as_slice);
        entries.iter().map(|it| Arc::clone(&it.value)).collect()
    }

    /// Returns the value of a key in the current universe; the first if it has several.
    ///
    /// # Panics
    ///
    /// If the registry is [`strict`](Self::strict) and the caller is in no universe.
    #[must_use]
    #[track_caller]
    pub fn find<Q>(&self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.lookup(key).into_iter().next()
    }

    /// Calls `f` with the values of a key, in the order of registration. Returns `None`, without calling it, if there is
    /// none.
    ///
    /// `f` may use the registry. A change there does not change its argument.
    ///
    /// # Panics
    ///
    /// If the registry is [`strict`](Self::strict) and the caller is in no universe.
    #[track_caller]
    pub fn dispatch<Q, R>(&self, key: &Q, f: impl FnOnce(&[Arc<V>]) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let values = self.lookup(key);
        (!values.is_empty()).then(|| f(&values))
    }

    /// Returns the results of `f` for the registrations of the current universe, in their order, without those that are
    /// `None`.
    ///
    /// `f` may use the registry. A change there does not change what is selected from.
    ///
    /// # Panics
    ///
    /// If the registry is [`strict`](Self::strict) and the caller is in no universe.
    #[must_use]
    #[track_caller]
    pub fn select<R>(&self, mut f: impl FnMut(&K, &V) -> Option<R>) -> Vec<R> {
        let all = self.table.get().all();
        all.into_iter()
            .filter_map(|(_, key, value)| f(&key, &value))
            .collect()
    }

    /// Returns the keys of the current universe, each once, in the order of registration.
    ///
    /// # Panics
    ///
    /// If the registry is [`strict`](Self::strict) and the caller is in no universe.
    #[must_use]
    #[track_caller]
    pub fn keys(&self) -> Vec<K> {
        let table = self.table.get();
        let entries = table.entries();
        // A key without entries is removed, so that every key has a first one.
        let mut keys: Vec<_> = entries.by_key.iter().map(|(k, e)| (e[0].id, k)).collect();
        keys.sort_unstable_by_key(|(id, _)| *id);
        keys.into_iter().map(|(_, key)| key.clone()).collect()
    }

    /// Returns the number of registrations in the current universe.
    ///
    /// # Panics
    ///
    /// If the registry is [`strict`](Self::strict) and the caller is in no universe.
    #[must_use]
    #[track_caller]
    pub fn count(&self) -> usize {
        let table = self.table.get();
        let entries = table.entries();
        entries.by_key.values().map(Vec::len).sum()
    }

    /// Notes that tasks which register a key outside of all universes are allowed into one. Returns the handles of the tasks
    /// that have registered it.
    pub(crate) fn allow_key(
        &self,
        key: K,
        universe: WeakUniverse,
    ) -> Result<Vec<Option<Resident>>, AllowError> {
        let table = self.table.global().ok_or(AllowError::Strict)?;
        let mut entries = table.entries();
        entries.allowed.retain(|_, universe| !universe.has_ended());
        let other = entries.allowed.get(&key).map(WeakUniverse::id);
        if let Some(other) = other
            && other != universe.id()
        {
            return Err(AllowError::Elsewhere { universe: other });
        }
        let of_key = entries.by_key.get(&key).map_or(&[][..], Vec::as_slice);
        let residents = of_key.iter().map(|it| it.resident.clone()).collect();
        entries.allowed.insert(key, universe);
        Ok(residents)
    }

    /// Reverts [`allow_key`](Self::allow_key).
    pub(crate) fn disallow_key(&self, key: &K, universe: &Universe) {
        if let Some(table) = self.table.global() {
            let mut entries = table.entries();
            let allowed = entries.allowed.get(key);
            if allowed.is_some_and(|it| it.id() == universe.id()) {
                entries.allowed.remove(key);
            }
        }
    }
}

impl<K, V> fmt::Debug for Registry<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("unique", &self.unique)
            .finish_non_exhaustive()
    }
}

/// A registered name. Dropping it unregisters the name in its universe.
///
/// It keeps neither the universe nor the value alive.
#[must_use = "dropping it unregisters the name"]
pub struct Registration {
    end: Box<dyn FnMut() + Send + Sync>,
    _entry: resources::Entry,
}

impl Drop for Registration {
    fn drop(&mut self) {
        (self.end)();
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").finish_non_exhaustive()
    }
}

fn warn(key: &dyn fmt::Debug, error: AllowError) {
    tracing::warn!(
        target: "test_universe", ?key, %error, "the task that registered an allowed name was not allowed in",
    );
}
