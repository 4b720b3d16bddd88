//! The members of the groups of one universe.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Server, ServerRef};

/// The groups of one universe. No user code but that of the names runs under the lock.
pub(super) struct Table<K, S: Server>(Mutex<Members<K, S>>);

struct Members<K, S: Server> {
    /// The members of each group, by the id of their task.
    groups: HashMap<K, BTreeMap<u64, ServerRef<S>>>,
    /// The groups of each server that has joined one and has not exited: its exit is watched.
    joined: HashMap<u64, HashSet<K>>,
}

impl<K, S> Table<K, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    S: Server,
{
    pub(super) fn new() -> Self {
        Self(Mutex::new(Members {
            groups: HashMap::new(),
            joined: HashMap::new(),
        }))
    }

    /// Returns false if the server is a member already.
    pub(super) fn join(self: Arc<Self>, name: &K, server: &ServerRef<S>) -> bool {
        let id = server.task().id();
        let is_watched = {
            let mut members = self.members_of_all();
            let of_name = members.groups.entry(name.clone()).or_default();
            if of_name.contains_key(&id) {
                return false;
            }
            of_name.insert(id, server.clone());
            let is_watched = members.joined.contains_key(&id);
            members.joined.entry(id).or_default().insert(name.clone());
            is_watched
        };
        if !is_watched {
            let table = Arc::downgrade(&self);
            // Called now if the server has exited already.
            server.task().on_exit(move |_| {
                if let Some(table) = table.upgrade() {
                    table.exited(id);
                }
            });
        }
        true
    }

    /// Returns false if the server is not a member.
    pub(super) fn leave(&self, name: &K, id: u64) -> bool {
        let mut members = self.members_of_all();
        if let Some(names) = members.joined.get_mut(&id) {
            names.remove(name);
        }
        let removed = members.remove(name, id);
        drop(members);
        removed.is_some()
    }

    pub(super) fn members(&self, name: &K, except: Option<u64>) -> Vec<ServerRef<S>> {
        let members = self.members_of_all();
        let of_name = members.groups.get(name).into_iter().flatten();
        let of_name = of_name.filter(|(id, _)| Some(**id) != except);
        of_name.map(|(_, server)| server.clone()).collect()
    }

    pub(super) fn names(&self) -> Vec<K> {
        self.members_of_all().groups.keys().cloned().collect()
    }

    /// Removes a server from all its groups.
    fn exited(&self, id: u64) {
        let mut members = self.members_of_all();
        let names = members.joined.remove(&id).unwrap_or_default();
        let removed: Vec<_> = names.iter().map(|it| members.remove(it, id)).collect();
        drop(members);
        drop(removed);
    }

    fn members_of_all(&self) -> MutexGuard<'_, Members<K, S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, S: Server> Members<K, S> {
    /// Removes a member of a group, and the group if it was the last.
    fn remove(&mut self, name: &K, id: u64) -> Option<ServerRef<S>> {
        let of_name = self.groups.get_mut(name)?;
        let removed = of_name.remove(&id);
        if of_name.is_empty() {
            self.groups.remove(name);
        }
        removed
    }
}
