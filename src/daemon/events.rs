//! The events of a daemon, and the stream that delivers them.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use event_listener::Event;

use super::Rejection;
use crate::{Endpoint, ExitReason, HandshakeError, PeerIdentity, PeerInfo, ProxyError};

/// How many events a stream buffers.
const CAPACITY: usize = 1024;

/// An event of a daemon, of one of its listeners, or of one of its connections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DaemonEvent {
    /// A connection was accepted.
    Accepted {
        /// Its id, unique among the connections of this daemon.
        id: u64,
        /// The address of the peer.
        address: Endpoint,
    },
    /// The `init` of a connection's server has succeeded.
    Served {
        /// The id of the connection.
        id: u64,
        /// The peer.
        peer: PeerInfo,
    },
    /// A connection was closed. Published exactly once per accepted connection.
    Closed {
        /// The id of the connection.
        id: u64,
        /// The address of the peer.
        address: Endpoint,
        /// The identity of the peer, if its certificate was verified.
        identity: Option<PeerIdentity>,
        /// The stage that it reached.
        stage: ConnectionStage,
        /// Why it was closed.
        reason: CloseReason,
        /// The time since it was accepted.
        age: Duration,
    },
    /// A listener has failed, and is rebound after a pause. Open connections are not affected; those in
    /// its backlog are lost.
    ListenerFailed {
        /// The address of the listener.
        address: Endpoint,
        /// The system's error.
        error: Arc<io::Error>,
        /// The length of the pause.
        retry_in: Duration,
    },
    /// A listener that had failed was rebound.
    ListenerRebound {
        /// The address of the listener.
        address: Endpoint,
    },
    /// Accepting has paused because the process or the system lacks a resource, such as descriptors. New
    /// connections wait in the system's backlog.
    ///
    /// Published once per listener, however often it retries, until
    /// [`AcceptResumed`](Self::AcceptResumed), or until it [fails](Self::ListenerFailed).
    AcceptPaused {
        /// The address of the listener.
        address: Endpoint,
        /// The system's error.
        error: Arc<io::Error>,
    },
    /// A connection was accepted again after a pause.
    AcceptResumed {
        /// The address of the listener.
        address: Endpoint,
        /// The length of the pause.
        after: Duration,
    },
    /// The daemon was [suspended](crate::Daemon::suspend).
    Suspended,
    /// The daemon was [resumed](crate::Daemon::resume).
    Resumed,
    /// A [drain](crate::Daemon::drain) has begun.
    DrainBegan {
        /// The number of open connections.
        connections: usize,
    },
    /// The daemon has been drained. The last event.
    DrainEnded {
        /// How long it took.
        took: Duration,
        /// The number of connections closed before they were finished.
        cut: usize,
    },
    /// The receiver was too slow: the oldest events were dropped.
    Lagged {
        /// The number of dropped events.
        events: u64,
    },
}

/// The stage that a connection reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionStage {
    /// Its handshake did not complete, or it was rejected.
    Handshake,
    /// Its handshake completed; its server did not start, or exited at once.
    Start,
    /// Its server ran.
    Served,
}

/// Why a connection was closed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// It was rejected.
    #[error("rejected: {0}")]
    Rejected(Rejection),
    /// Its handshake failed.
    #[error("{0}")]
    Handshake(HandshakeFailure),
    /// Its server did not start; holds the supervisor's error.
    #[error("{0}")]
    NotStarted(String),
    /// Its server exited, or its `init` failed.
    #[error("{0}")]
    Server(ExitReason),
    /// The daemon stopped before it had a server.
    #[error("the daemon stopped")]
    DaemonStopped,
}

/// Why a handshake failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// It exceeded the [`handshake_timeout`](crate::DaemonLimits::handshake_timeout).
    #[error("the handshake timed out")]
    TimedOut,
    /// Too many handshakes were pending, and this one was the oldest.
    #[error("evicted: too many handshakes were pending")]
    Evicted,
    /// It did not begin with a valid PROXY header.
    #[error("{0}")]
    Proxy(ProxyError),
    /// The transport returned this error.
    #[error("{0}")]
    Failed(HandshakeError),
    /// The transport panicked.
    #[error("{0}")]
    Panicked(ExitReason),
}

/// The numbers of rejected connections, by [`Rejection`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejectionCounts {
    /// Too many connections.
    pub connections: u64,
    /// Too many connections from the address.
    pub address: u64,
    /// Too many connections with the certificate.
    pub identity: u64,
    /// Rejected by a hook.
    pub hook: u64,
    /// Not from a trusted proxy.
    pub proxy: u64,
}

/// The numbers of failed handshakes, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeCounts {
    /// Timed out.
    pub timed_out: u64,
    /// Evicted for newer ones.
    pub evicted: u64,
    /// The peer's certificate was not trusted.
    pub untrusted: u64,
    /// The peer did not trust the daemon's certificate.
    pub mistrusted: u64,
    /// Closed by the peer.
    pub closed: u64,
    /// All other failures: no PROXY header, no TLS, TLS errors, socket errors, errors of a custom transport.
    pub other: u64,
}

/// A stream of a daemon's events, from its creation on. Made by
/// [`Daemon::events`](crate::Daemon::events).
///
/// It buffers up to 1024 events. A receiver that lags further loses the oldest, and receives
/// [`DaemonEvent::Lagged`].
pub struct DaemonEvents {
    queue: Arc<Queue>,
}

#[derive(Default)]
pub(super) struct Queue {
    buffer: Mutex<Buffer>,
    changed: Event,
}

#[derive(Default)]
struct Buffer {
    events: VecDeque<DaemonEvent>,
    dropped: u64,
    closed: bool,
}

impl DaemonEvents {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// Waits for the next event. Returns `None` once the daemon has exited and all events were returned.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<DaemonEvent> {
        loop {
            let listener = self.queue.changed.listen();
            {
                let mut buffer = self.queue.buffer();
                if buffer.dropped > 0 {
                    let events = std::mem::take(&mut buffer.dropped);
                    return Some(DaemonEvent::Lagged { events });
                }
                if let Some(event) = buffer.events.pop_front() {
                    return Some(event);
                }
                if buffer.closed {
                    return None;
                }
            }
            listener.await;
        }
    }
}

impl fmt::Debug for DaemonEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buffered = self.queue.buffer().events.len();
        f.debug_struct("DaemonEvents")
            .field("buffered", &buffered)
            .finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) fn push(&self, event: DaemonEvent) {
        {
            let mut buffer = self.buffer();
            if buffer.events.len() == CAPACITY {
                buffer.events.pop_front();
                buffer.dropped += 1;
            }
            buffer.events.push_back(event);
        }
        self.changed.notify(usize::MAX);
    }

    pub(super) fn close(&self) {
        self.buffer().closed = true;
        self.changed.notify(usize::MAX);
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
