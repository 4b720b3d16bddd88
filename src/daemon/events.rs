//! What happens to a daemon's connections, for those who watch and those who count.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use event_listener::Event;

use super::NotAdmitted;
use crate::{Endpoint, ExitReason, HandshakeError, PeerIdentity, PeerInfo, ProxyError};

/// How many events wait for a receiver that is slow.
const CAPACITY: usize = 1024;

/// Something that happened to a daemon, to a listener of its, or to one of its connections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DaemonEvent {
    /// It was accepted.
    Accepted {
        /// Its number, which no other connection of this daemon has.
        id: u64,
        /// Where it comes from.
        address: Endpoint,
    },
    /// It has a server that has got through its `init`.
    Served {
        /// The number of the connection.
        id: u64,
        /// Who is at the other end.
        peer: PeerInfo,
    },
    /// It is over. There is exactly one for each that was accepted.
    Ended {
        /// The number of the connection.
        id: u64,
        /// Where it came from.
        address: Endpoint,
        /// Who was at the other end, if its certificate was checked.
        identity: Option<PeerIdentity>,
        /// How far it got.
        stage: ConnectionStage,
        /// Why it is over.
        reason: ConnectionEnd,
        /// How long there was a connection.
        age: Duration,
    },
    /// A listener has failed, and is made anew after a pause. The connections that there are go on; those
    /// that wait in its backlog are lost.
    ListenerFailed {
        /// Where it listens.
        address: Endpoint,
        /// What the system says.
        error: Arc<io::Error>,
        /// How long the pause is.
        retry_in: Duration,
    },
    /// A listener that had failed listens again.
    ListenerRestarted {
        /// Where.
        address: Endpoint,
    },
    /// The process or the system is short of something, as of descriptors, so that nobody can be
    /// accepted. Newcomers wait in the system's backlog.
    ///
    /// Each listener tells it once, however often it tries again until
    /// [`AcceptResumed`](Self::AcceptResumed), or until it [fails](Self::ListenerFailed).
    AcceptPaused {
        /// Where it listens.
        address: Endpoint,
        /// What the system says.
        error: Arc<io::Error>,
    },
    /// Somebody could be accepted again.
    AcceptResumed {
        /// Where.
        address: Endpoint,
        /// How long nobody could.
        after: Duration,
    },
    /// It was [suspended](crate::Daemon::suspend).
    Suspended,
    /// It was [resumed](crate::Daemon::resume).
    Resumed,
    /// It is being [drained](crate::Daemon::drain).
    DrainBegan {
        /// How many connections there were.
        connections: usize,
    },
    /// It has been drained: the last event there is.
    DrainEnded {
        /// How long that took.
        took: Duration,
        /// How many servers were made to end before they were done.
        cut: usize,
    },
    /// The receiver was too slow, and so many events were dropped, the oldest.
    Missed {
        /// How many.
        events: u64,
    },
}

/// How far a connection got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionStage {
    /// It did not get through its handshake, or was not let in.
    Handshake,
    /// It got through its handshake; its server did not start, or ended in the same moment.
    Start,
    /// It had a server.
    Served,
}

/// Why a connection is over.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionEnd {
    /// It was not let in.
    #[error("not admitted: {0}")]
    NotAdmitted(NotAdmitted),
    /// Its handshake failed.
    #[error("{0}")]
    Handshake(HandshakeFailure),
    /// No server was started for it: its supervisor says why.
    #[error("{0}")]
    NotStarted(String),
    /// Its server ended, or did not get through its `init`.
    #[error("{0}")]
    Server(ExitReason),
    /// The daemon ended before it had a server.
    #[error("the daemon ended")]
    DaemonEnded,
}

/// Why a handshake failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// It took too long.
    #[error("the handshake took too long")]
    TimedOut,
    /// Too many were pending, and this one had taken longest.
    #[error("too many handshakes were pending")]
    Evicted,
    /// It did not begin with what a proxy is to say of it.
    #[error("{0}")]
    Proxy(ProxyError),
    /// The transport says why.
    #[error("{0}")]
    Failed(HandshakeError),
    /// The transport panicked.
    #[error("{0}")]
    Panicked(ExitReason),
}

/// How many connections were not let in, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotAdmittedCounts {
    /// There were too many.
    pub connections: u64,
    /// There were too many from their address.
    pub address: u64,
    /// There were too many with their certificate.
    pub identity: u64,
    /// A hook said so.
    pub hook: u64,
    /// They did not come from a proxy that is trusted.
    pub proxy: u64,
}

/// How many handshakes failed, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeCounts {
    /// They took too long.
    pub timed_out: u64,
    /// They made way for others.
    pub evicted: u64,
    /// The peer is not trusted.
    pub untrusted: u64,
    /// The peer does not trust this end.
    pub mistrusted: u64,
    /// The peer went away.
    pub closed: u64,
    /// All else: no PROXY header, no TLS, broken TLS, a socket that failed, a reason of the transport's own.
    pub other: u64,
}

/// The events of a daemon, from when this was made. Made by [`Daemon::events`](crate::Daemon::events).
///
/// Up to 1024 of them wait. A receiver that is slower than that loses the oldest, and is told how many.
pub struct DaemonEvents {
    queue: Arc<Queue>,
}

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Event,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<DaemonEvent>,
    missed: u64,
    closed: bool,
}

impl DaemonEvents {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// The next event. `None` once the daemon has ended and all was told.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<DaemonEvent> {
        loop {
            let listener = self.queue.changed.listen();
            {
                let mut waiting = self.queue.waiting();
                if waiting.missed > 0 {
                    let events = std::mem::take(&mut waiting.missed);
                    return Some(DaemonEvent::Missed { events });
                }
                if let Some(event) = waiting.events.pop_front() {
                    return Some(event);
                }
                if waiting.closed {
                    return None;
                }
            }
            listener.await;
        }
    }
}

impl fmt::Debug for DaemonEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.queue.waiting().events.len();
        f.debug_struct("DaemonEvents")
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) fn push(&self, event: DaemonEvent) {
        {
            let mut waiting = self.waiting();
            if waiting.events.len() == CAPACITY {
                waiting.events.pop_front();
                waiting.missed += 1;
            }
            waiting.events.push_back(event);
        }
        self.changed.notify(usize::MAX);
    }

    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify(usize::MAX);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
