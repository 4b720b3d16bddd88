//! The counters of a daemon, and the queues of its event streams.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{
    ConnectionEnd, ConnectionStage, DaemonEvent, DaemonEvents, HandshakeCounts, HandshakeFailure,
    NotAdmitted, NotAdmittedCounts, events::Queue,
};
use crate::{Endpoint, HandshakeError};

#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) not_admitted: NotAdmittedCounts,
    pub(super) handshakes: HandshakeCounts,
    pub(super) not_started: u64,
    pub(super) probes: u64,
    /// How often there was a shortage.
    pub(super) accept_pauses: u64,
    /// Of connections that are over.
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
}

impl Counts {
    fn ended(&mut self, stage: ConnectionStage, end: &ConnectionEnd) {
        self.probes += u64::from(end.is_probe());
        let (refused, handshakes) = (&mut self.not_admitted, &mut self.handshakes);
        let count = match end {
            ConnectionEnd::NotAdmitted(why) => match why {
                NotAdmitted::Connections => &mut refused.connections,
                NotAdmitted::Address => &mut refused.address,
                NotAdmitted::Identity => &mut refused.identity,
                NotAdmitted::Hook(_) => &mut refused.hook,
                NotAdmitted::Proxy => &mut refused.proxy,
            },
            ConnectionEnd::Handshake(failure) => match failure {
                HandshakeFailure::TimedOut => &mut handshakes.timed_out,
                HandshakeFailure::Evicted => &mut handshakes.evicted,
                HandshakeFailure::Failed(HandshakeError::Untrusted(_)) => &mut handshakes.untrusted,
                HandshakeFailure::Failed(HandshakeError::Refused(_)) => &mut handshakes.mistrusted,
                HandshakeFailure::Failed(HandshakeError::Closed) => &mut handshakes.closed,
                HandshakeFailure::Failed(_)
                | HandshakeFailure::Panicked(_)
                | HandshakeFailure::Proxy(_) => &mut handshakes.other,
            },
            ConnectionEnd::NotStarted(_) | ConnectionEnd::Server(_)
                if stage == ConnectionStage::Start =>
            {
                &mut self.not_started
            }
            _ => return,
        };
        *count += 1;
    }

    /// How many never got a server, though they were let in.
    pub(super) fn failed(&self) -> u64 {
        let it = &self.handshakes;
        let known = it.timed_out + it.evicted + it.untrusted + it.mistrusted;
        known + it.closed + it.other + self.not_started
    }
}

/// Counts events, and passes them to the daemon's event streams.
#[derive(Default)]
pub(super) struct Journal {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counts: Counts,
    watchers: Vec<Weak<Queue>>,
    closed: bool,
}

impl Journal {
    /// Gives a number to a connection that was just accepted.
    pub(super) fn accepted(&self, address: Endpoint) -> u64 {
        let mut state = self.state();
        state.counts.accepted += 1;
        let id = state.counts.accepted;
        state.publish(&DaemonEvent::Accepted { id, address });
        id
    }

    pub(super) fn publish(&self, event: &DaemonEvent) {
        self.state().publish(event);
    }

    /// Nobody can be accepted for now.
    pub(super) fn accept_paused(&self, address: &Endpoint, error: io::Error) {
        let address = address.clone();
        let error = Arc::new(error);
        let mut state = self.state();
        state.counts.accept_pauses += 1;
        state.publish(&DaemonEvent::AcceptPaused { address, error });
    }

    pub(super) fn count_end(&self, stage: ConnectionStage, end: &ConnectionEnd) {
        self.state().counts.ended(stage, end);
    }

    /// A peer has closed its connection, without a handshake, and without having sent anything.
    pub(super) fn count_probe(&self) {
        self.state().counts.probes += 1;
    }

    /// A connection with a server is over.
    pub(super) fn count_bytes(&self, received: u64, sent: u64) {
        let mut state = self.state();
        state.counts.bytes_received += received;
        state.counts.bytes_sent += sent;
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts
    }

    pub(super) fn watch(&self) -> DaemonEvents {
        let queue = Arc::new(Queue::default());
        let mut state = self.state();
        if state.closed {
            queue.close();
        } else {
            state.watchers.push(Arc::downgrade(&queue));
        }
        DaemonEvents::new(queue)
    }

    /// There will be nothing more, but this if it is the first to end it.
    pub(super) fn close(&self, last: Option<DaemonEvent>) {
        let mut state = self.state();
        if let Some(last) = last.filter(|_| !state.closed) {
            state.publish(&last);
        }
        state.closed = true;
        for queue in state.watchers.drain(..).filter_map(|it| it.upgrade()) {
            queue.close();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn publish(&mut self, event: &DaemonEvent) {
        self.watchers.retain(|watcher| {
            let queue = watcher.upgrade();
            queue.map(|queue| queue.push(event.clone())).is_some()
        });
    }
}
