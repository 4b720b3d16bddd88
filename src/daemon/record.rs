//! The record of one accepted connection.
//!
//! ```text
//! accepted --> ConnectionRecord   its drop publishes the one event that the connection is closed
//!                |
//!              Permit             counts against the limits until the peer is disconnected
//! ```

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{CloseReason, ConnectionStage, DaemonEvent, Rejection, state::State};
use crate::{Endpoint, PeerIdentity, PeerInfo};

/// The record of one accepted connection. When its last holder drops it, the connection is closed.
pub(super) struct ConnectionRecord {
    daemon: Arc<State>,
    id: u64,
    since: Instant,
    progress: Mutex<Progress>,
}

struct Progress {
    address: Endpoint,
    stage: ConnectionStage,
    identity: Option<PeerIdentity>,
    reason: Option<CloseReason>,
    /// The peer has closed the connection without having sent anything.
    is_probe: bool,
}

impl ConnectionRecord {
    pub(super) fn new(daemon: &Arc<State>, address: Endpoint) -> Self {
        daemon.connection_opened();
        let id = daemon.events.accepted(address.clone());
        Self {
            daemon: Arc::clone(daemon),
            id,
            since: daemon.clock.now(),
            progress: Mutex::new(Progress {
                address,
                stage: ConnectionStage::Handshake,
                identity: None,
                reason: None,
                is_probe: false,
            }),
        }
    }

    /// Sets and counts why the connection is closed, before the peer can see it. Only the first call has
    /// an effect.
    pub(super) fn set_reason(&self, reason: CloseReason) {
        let mut progress = self.progress();
        if progress.reason.is_none() {
            self.daemon.events.count_closed(progress.stage, &reason);
            progress.reason = Some(reason);
        }
    }

    /// As [`set_reason`](Self::set_reason), for a connection whose peer has closed it without having sent
    /// or received anything. It counts as a probe unless the peer has presented a certificate.
    pub(super) fn set_reason_unused(&self, reason: CloseReason) {
        {
            let mut progress = self.progress();
            if progress.reason.is_none() && progress.identity.is_none() {
                progress.is_probe = true;
                self.daemon.events.count_probe();
            }
        }
        self.set_reason(reason);
    }

    pub(super) fn reject(&self, why: Rejection) {
        self.set_reason(CloseReason::Rejected(why));
    }

    /// Sets the address that a proxy has announced.
    pub(super) fn set_address(&self, address: &Endpoint) {
        self.progress().address = address.clone();
    }

    /// Notes that the handshake is complete.
    pub(super) fn set_secured(&self, peer: &PeerInfo) {
        let mut progress = self.progress();
        progress.stage = ConnectionStage::Start;
        progress.identity = peer.identity.clone();
    }

    /// Notes that its server's `init` has succeeded. Called after the supervisor's reply and at the
    /// server's exit; the first call publishes the event.
    pub(super) fn set_served(&self, peer: PeerInfo) {
        let before = std::mem::replace(&mut self.progress().stage, ConnectionStage::Served);
        if before == ConnectionStage::Served {
            return;
        }
        let id = self.id;
        self.daemon
            .events
            .publish(&DaemonEvent::Served { id, peer });
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionRecord {
    fn drop(&mut self) {
        let (peer, stage, identity, reason, is_probe) = {
            let mut progress = self.progress();
            let reason = progress.reason.take();
            (
                progress.address.clone(),
                progress.stage,
                progress.identity.take(),
                reason.unwrap_or(CloseReason::DaemonStopped),
                progress.is_probe,
            )
        };
        let is_failure = matches!(reason, CloseReason::Handshake(_))
            || (stage == ConnectionStage::Start && !is_probe);
        if is_failure && !reason.is_probe() && self.daemon.warnings.admits(reason.kind()) {
            tracing::warn!(target: "erps", %peer, ?stage, %reason, "connection closed before it had a server");
        } else {
            tracing::debug!(target: "erps", %peer, ?stage, %reason, "connection closed");
        }
        let now = self.daemon.clock.now();
        self.daemon.events.publish(&DaemonEvent::Closed {
            id: self.id,
            address: peer,
            identity,
            stage,
            reason,
            age: now.saturating_duration_since(self.since),
        });
        self.daemon.connection_closed();
    }
}
