//! How many connections count against each limit. Pure.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::IpAddr,
};

/// The numbers of connections: in total, per address prefix, and per certificate fingerprint.
#[derive(Default)]
pub(super) struct ConnectionCounts {
    pub(super) total: usize,
    addresses: HashMap<IpAddr, usize>,
    identities: HashMap<[u8; 32], usize>,
}

impl ConnectionCounts {
    /// Counts a connection under its address prefix. Returns false, and counts nothing, at the limit.
    pub(super) fn add_address(&mut self, prefix: IpAddr, limit: Option<usize>) -> bool {
        add(&mut self.addresses, prefix, limit)
    }

    pub(super) fn remove_address(&mut self, prefix: IpAddr) {
        remove(&mut self.addresses, prefix);
    }

    /// Counts a connection under its certificate. Returns false, and counts nothing, at the limit.
    pub(super) fn add_identity(&mut self, fingerprint: [u8; 32], limit: Option<usize>) -> bool {
        add(&mut self.identities, fingerprint, limit)
    }

    pub(super) fn remove_identity(&mut self, fingerprint: [u8; 32]) {
        remove(&mut self.identities, fingerprint);
    }
}

fn add<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K, limit: Option<usize>) -> bool {
    let count = counts.get(&key).copied().unwrap_or(0);
    if limit.is_some_and(|limit| count >= limit) {
        return false;
    }
    counts.insert(key, count + 1);
    true
}

fn remove<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}
