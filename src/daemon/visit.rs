//! One accepted connection, from its arrival to its end, whatever happens to it.
//!
//! ```text
//! accepted --> Visit, which makes the one event of its end when its last holder is gone
//!                |
//!              Permit, which counts among the connections until the peer is gone
//! ```

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{AtLimit, ConnectionEnd, ConnectionStage, DaemonEvent, NotAdmitted, shared::Shared};
use crate::{Endpoint, PeerIdentity, PeerInfo, Server};

pub(super) struct Visit<S: Server> {
    shared: Arc<Shared<S>>,
    id: u64,
    since: Instant,
    state: Mutex<State>,
}

struct State {
    address: Endpoint,
    stage: ConnectionStage,
    identity: Option<PeerIdentity>,
    end: Option<ConnectionEnd>,
    /// The peer has sent nothing, and closed the connection.
    is_probe: bool,
}

impl<S: Server> Visit<S> {
    fn new(shared: &Arc<Shared<S>>, address: Endpoint) -> Self {
        shared.come();
        let id = shared.journal.accepted(address.clone());
        Self {
            shared: Arc::clone(shared),
            id,
            since: shared.clock.now(),
            state: Mutex::new(State {
                address,
                stage: ConnectionStage::Handshake,
                identity: None,
                end: None,
                is_probe: false,
            }),
        }
    }

    /// Why it is over, counted before the peer can know. The first to know is believed.
    pub(super) fn end(&self, end: ConnectionEnd) {
        let mut state = self.state();
        if state.end.is_none() {
            self.shared.journal.count_end(state.stage, &end);
            state.end = Some(end);
        }
    }

    /// As [`end`](Self::end), of a connection whose peer has closed it and has neither sent nor been sent
    /// anything. A peer that has shown a certificate is none of those that only look whether the port is open.
    pub(super) fn end_unused(&self, end: ConnectionEnd) {
        {
            let mut state = self.state();
            if state.end.is_none() && state.identity.is_none() {
                state.is_probe = true;
                self.shared.journal.count_probe();
            }
        }
        self.end(end);
    }

    pub(super) fn refuse(&self, why: NotAdmitted) {
        self.end(ConnectionEnd::NotAdmitted(why));
    }

    /// A proxy has said where it comes from.
    pub(super) fn announced(&self, address: &Endpoint) {
        self.state().address = address.clone();
    }

    /// It has got through its handshake.
    pub(super) fn secured(&self, peer: &PeerInfo) {
        let mut state = self.state();
        state.stage = ConnectionStage::Start;
        state.identity = peer.identity.clone();
    }

    /// It has, or had, a server that has got through its `init`. Told by the supervisor's answer or by
    /// the server's end, whichever is first.
    pub(super) fn served(&self, peer: PeerInfo) {
        let before = std::mem::replace(&mut self.state().stage, ConnectionStage::Served);
        if before == ConnectionStage::Served {
            return;
        }
        let id = self.id;
        self.shared
            .journal
            .publish(&DaemonEvent::Served { id, peer });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Server> Drop for Visit<S> {
    fn drop(&mut self) {
        let (peer, stage, identity, end, is_probe) = {
            let mut state = self.state();
            let end = state.end.take().unwrap_or(ConnectionEnd::DaemonEnded);
            let address = state.address.clone();
            (
                address,
                state.stage,
                state.identity.take(),
                end,
                state.is_probe,
            )
        };
        let is_failure = matches!(end, ConnectionEnd::Handshake(_))
            || (stage == ConnectionStage::Start && !is_probe);
        if is_failure && !end.is_probe() && self.shared.warnings.admit(end.kind()) {
            tracing::warn!(target: "erps", %peer, ?stage, reason = %end, "no server for a connection");
        } else {
            tracing::debug!(target: "erps", %peer, ?stage, reason = %end, "a connection is closed");
        }
        let age = self
            .shared
            .clock
            .now()
            .saturating_duration_since(self.since);
        self.shared.journal.publish(&DaemonEvent::Ended {
            id: self.id,
            address: peer,
            identity,
            stage,
            reason: end,
            age,
        });
        self.shared.gone();
    }
}

/// The right to be one of a daemon's connections; given back when dropped.
pub(super) struct Permit<S: Server> {
    /// Given back before the end of the visit is told.
    seat: Option<Seat<S>>,
    visit: Arc<Visit<S>>,
    /// What it is counted under, if it is.
    address: Option<IpAddr>,
    fingerprint: Option<[u8; 32]>,
}

impl<S: Server> Permit<S> {
    /// For a connection that was just accepted. Without a seat it is there to be refused.
    pub(super) fn new(
        shared: &Arc<Shared<S>>,
        address: Endpoint,
        seat: Option<Seat<S>>,
    ) -> (Self, Option<NotAdmitted>) {
        let refusal = seat.is_none().then_some(NotAdmitted::Connections);
        let permit = Self {
            seat,
            visit: Arc::new(Visit::new(shared, address)),
            address: None,
            fingerprint: None,
        };
        (permit, refusal)
    }

    /// Counts it under its address, or gives its seat back and tells why.
    pub(super) fn locate(&mut self, address: &Endpoint) -> Option<NotAdmitted> {
        let shared = &self.visit.shared;
        let limits = shared.limits();
        let prefix = limits.prefix(address)?;
        let mut tallies = shared.tallies();
        if is_at(limits.per_address, tallies.addresses.get(&prefix)) {
            drop(tallies);
            self.seat = None;
            return Some(NotAdmitted::Address);
        }
        *tallies.addresses.entry(prefix).or_default() += 1;
        drop(tallies);
        self.address = Some(prefix);
        None
    }

    pub(super) fn visit(&self) -> &Arc<Visit<S>> {
        &self.visit
    }

    /// Counts it under its certificate, or tells why it may not stay.
    pub(super) fn identify(&mut self, identity: &PeerIdentity) -> Option<NotAdmitted> {
        let shared = &self.visit.shared;
        let (limits, fingerprint) = (shared.limits(), *identity.fingerprint());
        let mut tallies = shared.tallies();
        if is_at(limits.per_identity, tallies.identities.get(&fingerprint)) {
            return Some(NotAdmitted::Identity);
        }
        *tallies.identities.entry(fingerprint).or_default() += 1;
        drop(tallies);
        self.fingerprint = Some(fingerprint);
        None
    }
}

impl<S: Server> Drop for Permit<S> {
    fn drop(&mut self) {
        let shared = &self.visit.shared;
        {
            let mut tallies = shared.tallies();
            if let Some(address) = self.address {
                give_back(&mut tallies.addresses, address);
            }
            if let Some(fingerprint) = self.fingerprint {
                give_back(&mut tallies.identities, fingerprint);
            }
        }
        shared.changed.notify(usize::MAX);
    }
}

/// One of as many as there may be connections; given back when dropped.
pub(super) struct Seat<S: Server>(Arc<Shared<S>>);

impl<S: Server> Seat<S> {
    /// Waits for one, if newcomers are to wait. `None`: there is none, and the newcomer is to be told.
    pub(super) async fn take(shared: &Arc<Shared<S>>) -> Option<Self> {
        loop {
            let changed = shared.changed.listen();
            let limits = shared.limits();
            {
                let mut tallies = shared.tallies();
                if tallies.all < limits.connections {
                    tallies.all += 1;
                    return Some(Self(Arc::clone(shared)));
                }
            }
            if limits.at_limit != AtLimit::Queue {
                return None;
            }
            changed.await;
        }
    }
}

impl<S: Server> Drop for Seat<S> {
    fn drop(&mut self) {
        self.0.tallies().all -= 1;
        self.0.changed.notify(usize::MAX);
    }
}

/// How many permits there are, in all and by what they have in common.
#[derive(Default)]
pub(super) struct Tallies {
    pub(super) all: usize,
    addresses: HashMap<IpAddr, usize>,
    identities: HashMap<[u8; 32], usize>,
}

fn is_at(limit: Option<usize>, count: Option<&usize>) -> bool {
    limit.is_some_and(|limit| count.copied().unwrap_or(0) >= limit)
}

fn give_back<K: Eq + Hash>(tally: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut entry) = tally.entry(key) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}
