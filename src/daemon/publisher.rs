//! The counters of a daemon, and the publication of its events.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{
    CloseReason, ConnectionStage, DaemonEvent, DaemonEvents, HandshakeCounts, HandshakeFailure,
    Rejection, RejectionCounts, events::Queue,
};
use crate::{Endpoint, HandshakeError};

/// The counters of past connections in [`DaemonInfo`](super::DaemonInfo).
#[derive(Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) accepted: u64,
    pub(super) rejected: RejectionCounts,
    pub(super) handshakes: HandshakeCounts,
    pub(super) not_started: u64,
    pub(super) probes: u64,
    /// How often accepting paused for lack of resources.
    pub(super) accept_pauses: u64,
    /// Of closed connections.
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
}

impl Counters {
    fn closed(&mut self, stage: ConnectionStage, reason: &CloseReason) {
        self.probes += u64::from(reason.is_probe());
        let (rejected, handshakes) = (&mut self.rejected, &mut self.handshakes);
        let count = match reason {
            CloseReason::Rejected(why) => match why {
                Rejection::Connections => &mut rejected.connections,
                Rejection::Address => &mut rejected.address,
                Rejection::Identity => &mut rejected.identity,
                Rejection::Hook(_) => &mut rejected.hook,
                Rejection::Proxy => &mut rejected.proxy,
            },
            CloseReason::Handshake(failure) => match failure {
                HandshakeFailure::TimedOut => &mut handshakes.timed_out,
                HandshakeFailure::Evicted => &mut handshakes.evicted,
                HandshakeFailure::Failed(HandshakeError::Untrusted(_)) => &mut handshakes.untrusted,
                HandshakeFailure::Failed(HandshakeError::Refused(_)) => &mut handshakes.mistrusted,
                HandshakeFailure::Failed(HandshakeError::Closed) => &mut handshakes.closed,
                HandshakeFailure::Failed(_)
                | HandshakeFailure::Panicked(_)
                | HandshakeFailure::Proxy(_) => &mut handshakes.other,
            },
            CloseReason::NotStarted(_) | CloseReason::Server(_)
                if stage == ConnectionStage::Start =>
            {
                &mut self.not_started
            }
            _ => return,
        };
        *count += 1;
    }

    /// Returns how many were not rejected, and closed before they had a server.
    pub(super) fn failed(&self) -> u64 {
        let it = &self.handshakes;
        let known = it.timed_out + it.evicted + it.untrusted + it.mistrusted;
        known + it.closed + it.other + self.not_started
    }
}

/// Counts events, and publishes them to the daemon's event streams.
#[derive(Default)]
pub(super) struct Publisher {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counters: Counters,
    subscribers: Vec<Weak<Queue>>,
    closed: bool,
}

impl Publisher {
    /// Counts a connection that was just accepted, and returns its id.
    pub(super) fn accepted(&self, address: Endpoint) -> u64 {
        let mut state = self.state();
        state.counters.accepted += 1;
        let id = state.counters.accepted;
        state.publish(&DaemonEvent::Accepted { id, address });
        id
    }

    pub(super) fn publish(&self, event: &DaemonEvent) {
        self.state().publish(event);
    }

    /// Counts and publishes that accepting pauses.
    pub(super) fn accept_paused(&self, address: &Endpoint, error: io::Error) {
        let address = address.clone();
        let error = Arc::new(error);
        let mut state = self.state();
        state.counters.accept_pauses += 1;
        state.publish(&DaemonEvent::AcceptPaused { address, error });
    }

    pub(super) fn count_closed(&self, stage: ConnectionStage, reason: &CloseReason) {
        self.state().counters.closed(stage, reason);
    }

    /// Counts a connection that its peer closed without a handshake and without having sent anything.
    pub(super) fn count_probe(&self) {
        self.state().counters.probes += 1;
    }

    /// Counts the bytes of a closed connection that had a server.
    pub(super) fn count_bytes(&self, received: u64, sent: u64) {
        let mut state = self.state();
        state.counters.bytes_received += received;
        state.counters.bytes_sent += sent;
    }

    pub(super) fn counters(&self) -> Counters {
        self.state().counters
    }

    pub(super) fn subscribe(&self) -> DaemonEvents {
        let queue = Arc::new(Queue::default());
        let mut state = self.state();
        if state.closed {
            queue.close();
        } else {
            state.subscribers.push(Arc::downgrade(&queue));
        }
        DaemonEvents::new(queue)
    }

    /// Closes the streams. The first call may publish a last event.
    pub(super) fn close(&self, last: Option<DaemonEvent>) {
        let mut state = self.state();
        if let Some(last) = last.filter(|_| !state.closed) {
            state.publish(&last);
        }
        state.closed = true;
        for queue in state.subscribers.drain(..).filter_map(|it| it.upgrade()) {
            queue.close();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn publish(&mut self, event: &DaemonEvent) {
        self.subscribers.retain(|subscriber| {
            let queue = subscriber.upgrade();
            queue.map(|queue| queue.push(event.clone())).is_some()
        });
    }
}
