//! The registrations of one universe.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    hash::Hash,
    panic::Location,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::{
    context,
    resident::Resident,
    universe::{Universe, WeakUniverse},
};

/// The registrations of one universe. No user code but that of keys runs under the lock.
pub(super) struct Table<K, V>(Mutex<Entries<K, V>>);

pub(super) struct Entries<K, V> {
    last_id: u64,
    pub(super) by_key: HashMap<K, Vec<Entry<V>>>,
    /// The universe that tasks are allowed into which register a key; only in the table outside of all universes.
    pub(super) allowed: HashMap<K, WeakUniverse>,
}

pub(super) struct Entry<V> {
    pub(super) id: u64,
    pub(super) value: Arc<V>,
    /// The handle of the task that registered it.
    pub(super) resident: Option<Resident>,
    at: &'static Location<'static>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Entries {
            last_id: 0,
            by_key: HashMap::new(),
            allowed: HashMap::new(),
        }))
    }
}

impl<K: Clone + Eq + Hash + fmt::Debug, V> Table<K, V> {
    /// Inserts an entry and returns its id, and the universe that its task is allowed into.
    #[track_caller]
    pub(super) fn insert(
        &self,
        key: K,
        value: V,
        unique: bool,
    ) -> Result<(u64, Option<Universe>), AlreadyRegistered> {
        let (value, at) = (Arc::new(value), Location::caller());
        let resident = context::resident();
        let mut entries = self.entries();
        if unique && let Some(registered) = entries.by_key.get(&key) {
            let key = format!("{key:?}");
            let at = registered[0].at;
            return Err(AlreadyRegistered { key, at });
        }
        entries.last_id += 1;
        let id = entries.last_id;
        let allowed = entries.allowed.get(&key).and_then(WeakUniverse::upgrade);
        let of_key = entries.by_key.entry(key).or_default();
        of_key.push(Entry {
            id,
            value,
            resident,
            at,
        });
        drop(entries);
        Ok((id, allowed))
    }

    pub(super) fn all(&self) -> Vec<(u64, K, Arc<V>)> {
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
    pub(super) fn entries(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes an entry, unless the universe has ended.
pub(super) fn remove<K: Eq + Hash, V>(table: &Weak<Table<K, V>>, key: &K, id: u64) {
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

/// The error of registering a unique key that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlreadyRegistered {
    key: String,
    at: &'static Location<'static>,
}

impl AlreadyRegistered {
    /// Returns where the key was registered.
    #[must_use]
    pub fn at(&self) -> &'static Location<'static> {
        self.at
    }
}

impl fmt::Display for AlreadyRegistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, file, line) = (&self.key, self.at.file(), self.at.line());
        write!(f, "{key} is already registered, at {file}:{line}")
    }
}

impl Error for AlreadyRegistered {}
