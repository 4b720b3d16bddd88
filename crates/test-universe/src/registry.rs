//! Names for what is running, other names in every universe.

use std::{
    any,
    borrow::Borrow,
    collections::HashMap,
    fmt,
    hash::Hash,
    panic::Location,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::{
    context,
    inherit::enlist_owned,
    resident::{AllowError, Resident},
    resources,
    sharded::Sharded,
    universe::{Universe, WeakUniverse},
};

/// A static in which tasks find each other by name; each universe has names of its own.
///
/// The model is Elixir's `Registry`. What is registered stays as long as its [`Registration`]
/// is held, so that who owns the name is who holds the guard.
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

/// What names can be: everything that can be compared, hashed, printed, and sent.
pub trait Key: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static> Key for K {}

impl<K: Key, V: Send + Sync + 'static> Registry<K, V> {
    /// Makes a registry in which a key has one value at most.
    #[must_use]
    #[track_caller]
    pub const fn unique() -> Self {
        Self::new(true)
    }

    /// Makes a registry in which a key may have many values.
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

    /// Makes it strict, as [`Sharded::strict`] does: in no universe all its methods panic.
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
        let (id, host) = table.insert(key.clone(), value, self.unique)?;
        // Before it is moved: the name stays where it is.
        let entry = enlist_owned(format_args!("the name {key:?}"), Location::caller());
        match (host, context::resident()) {
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
            end: Box::new(move || remove(&table, &key, id)),
            _entry: entry,
        })
    }

    /// The values of a key in the current universe, in the order of registration.
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

    /// The value of a key in the current universe; the first, if it has several.
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

    /// Calls `f` with the values of a key, in the order of registration; not at all, and returns
    /// `None`, if there is none.
    ///
    /// `f` may use the registry. What it changes there does not change the values it was given.
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

    /// What `f` makes of the registrations of the current universe, in their order; it leaves out
    /// those it returns `None` for.
    ///
    /// `f` may use the registry. What it changes there does not change what is selected from.
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

    /// The keys of the current universe, in the order of registration, each once.
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

    /// How many registrations there are in the current universe.
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

    /// Notes that a universe takes in those who register a key outside of all. Returns who has
    /// registered it: as many as there are, and how each can be moved.
    pub(crate) fn allow_key(
        &self,
        key: K,
        host: WeakUniverse,
    ) -> Result<Vec<Option<Resident>>, AllowError> {
        let table = self.table.global().ok_or(AllowError::Strict)?;
        let mut entries = table.entries();
        entries.hosts.retain(|_, host| !host.has_ended());
        let universe = entries.hosts.get(&key).map(WeakUniverse::id);
        if let Some(universe) = universe
            && universe != host.id()
        {
            return Err(AllowError::Elsewhere { universe });
        }
        let of_key = entries.by_key.get(&key).map_or(&[][..], Vec::as_slice);
        let residents = of_key.iter().map(|it| it.resident.clone()).collect();
        entries.hosts.insert(key, host);
        Ok(residents)
    }

    /// Takes back what [`allow_key`](Self::allow_key) has noted.
    pub(crate) fn disallow_key(&self, key: &K, host: &Universe) {
        if let Some(table) = self.table.global() {
            let mut entries = table.entries();
            if entries
                .hosts
                .get(key)
                .is_some_and(|it| it.id() == host.id())
            {
                entries.hosts.remove(key);
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

/// A name that is taken. Dropped, it is free again, in the universe it was taken in.
///
/// It keeps neither the universe alive nor what was registered.
#[must_use = "the name is free again when this is dropped"]
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

/// The registrations of one universe. No foreign code but that of keys runs under the lock.
struct Table<K, V>(Mutex<Entries<K, V>>);

struct Entries<K, V> {
    last_id: u64,
    by_key: HashMap<K, Vec<Entry<V>>>,
    /// Which universe takes in those who register a key; of the names of no universe only.
    hosts: HashMap<K, WeakUniverse>,
}

struct Entry<V> {
    id: u64,
    value: Arc<V>,
    /// How the task can be moved that registered it.
    resident: Option<Resident>,
    at: &'static Location<'static>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Entries {
            last_id: 0,
            by_key: HashMap::new(),
            hosts: HashMap::new(),
        }))
    }
}

impl<K: Clone + Eq + Hash + fmt::Debug, V> Table<K, V> {
    /// The number of the entry, and the universe that takes in who made it.
    #[track_caller]
    fn insert(
        &self,
        key: K,
        value: V,
        unique: bool,
    ) -> Result<(u64, Option<Universe>), AlreadyRegistered> {
        let (value, at) = (Arc::new(value), Location::caller());
        let resident = context::resident();
        let mut entries = self.entries();
        if unique && let Some(holder) = entries.by_key.get(&key) {
            let key = format!("{key:?}");
            let at = holder[0].at;
            return Err(AlreadyRegistered { key, at });
        }
        entries.last_id += 1;
        let id = entries.last_id;
        let host = entries.hosts.get(&key).and_then(WeakUniverse::upgrade);
        let of_key = entries.by_key.entry(key).or_default();
        of_key.push(Entry {
            id,
            value,
            resident,
            at,
        });
        drop(entries);
        Ok((id, host))
    }

    fn all(&self) -> Vec<(u64, K, Arc<V>)> {
        let entries = self.entries();
        let all = entries.by_key.iter().flat_map(|(key, of_key)| {
            let one = |it: &Entry<V>| (it.id, key.clone(), Arc::clone(&it.value));
            of_key.iter().map(one)
        });
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|(id, ..)| *id);
        all
    }
}

impl<K, V> Table<K, V> {
    fn entries(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn(key: &dyn fmt::Debug, error: AllowError) {
    tracing::warn!(
        target: "test_universe", ?key, %error, "the task that registered an allowed name was not allowed in",
    );
}

/// Does nothing if the universe has ended.
fn remove<K: Eq + Hash, V>(table: &Weak<Table<K, V>>, key: &K, id: u64) {
    let Some(table) = table.upgrade() else { return };
    let mut entries = table.entries();
    let mut removed = Vec::new();
    if let Some(of_key) = entries.by_key.get_mut(key) {
        removed.extend(of_key.extract_if(.., |it| it.id == id));
        if of_key.is_empty() {
            entries.by_key.remove(key);
        }
    }
    drop(entries);
    drop(removed);
}

/// A unique key that is taken in this universe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is already registered, at {}:{}", .at.file(), .at.line())]
pub struct AlreadyRegistered {
    key: String,
    at: &'static Location<'static>,
}

impl AlreadyRegistered {
    /// Where the one that holds the key was registered.
    #[must_use]
    pub fn at(&self) -> &'static Location<'static> {
        self.at
    }
}
