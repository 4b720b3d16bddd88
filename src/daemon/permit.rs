//! The permit of a connection, which counts it against the daemon's limits.

use std::{net::IpAddr, sync::Arc};

use super::{AtLimit, Rejection, record::ConnectionRecord, state::State};
use crate::{Endpoint, PeerIdentity};

/// The permit of one of a daemon's connections; released when dropped.
pub(super) struct Permit {
    /// Released before the record publishes that the connection is closed.
    slot: Option<Slot>,
    record: Arc<ConnectionRecord>,
    daemon: Arc<State>,
    /// The address prefix that it is counted under.
    address: Option<IpAddr>,
    /// The certificate that it is counted under.
    fingerprint: Option<[u8; 32]>,
}

impl Permit {
    /// For a connection that was just accepted. Without a slot it is rejected.
    pub(super) fn new(
        daemon: &Arc<State>,
        address: Endpoint,
        slot: Option<Slot>,
    ) -> (Self, Option<Rejection>) {
        let rejection = slot.is_none().then_some(Rejection::Connections);
        let permit = Self {
            slot,
            record: Arc::new(ConnectionRecord::new(daemon, address)),
            daemon: Arc::clone(daemon),
            address: None,
            fingerprint: None,
        };
        (permit, rejection)
    }

    pub(super) fn record(&self) -> &Arc<ConnectionRecord> {
        &self.record
    }

    /// Counts it under its address. At the limit its slot is released, and the rejection is returned.
    pub(super) fn count_address(&mut self, address: &Endpoint) -> Option<Rejection> {
        let limits = self.daemon.limits();
        let prefix = limits.prefix(address)?;
        let counted = self.daemon.counts().add_address(prefix, limits.per_address);
        if !counted {
            self.slot = None;
            return Some(Rejection::Address);
        }
        self.address = Some(prefix);
        None
    }

    /// Counts it under its certificate. At the limit the rejection is returned.
    pub(super) fn count_identity(&mut self, identity: &PeerIdentity) -> Option<Rejection> {
        let (limits, fingerprint) = (self.daemon.limits(), *identity.fingerprint());
        let counted = self
            .daemon
            .counts()
            .add_identity(fingerprint, limits.per_identity);
        if !counted {
            return Some(Rejection::Identity);
        }
        self.fingerprint = Some(fingerprint);
        None
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut counts = self.daemon.counts();
            if let Some(address) = self.address {
                counts.remove_address(address);
            }
            if let Some(fingerprint) = self.fingerprint {
                counts.remove_identity(fingerprint);
            }
        }
        self.daemon.changed.notify(usize::MAX);
    }
}

/// One of the connections up to the limit; released when dropped.
pub(super) struct Slot(Arc<State>);

impl Slot {
    /// Waits for a slot with [`AtLimit::Queue`]. Otherwise returns `None` at the limit: the connection is
    /// to be rejected.
    pub(super) async fn take(daemon: &Arc<State>) -> Option<Self> {
        loop {
            let changed = daemon.changed.listen();
            let limits = daemon.limits();
            {
                let mut counts = daemon.counts();
                if counts.total < limits.connections {
                    counts.total += 1;
                    return Some(Self(Arc::clone(daemon)));
                }
            }
            if limits.at_limit != AtLimit::Queue {
                return None;
            }
            changed.await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.counts().total -= 1;
        self.0.changed.notify(usize::MAX);
    }
}
