//! Warnings caused by peers, at a limited rate.

use std::{
    future::pending,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use event_listener::Event;
use futures_lite::FutureExt as _;

use super::{CloseReason, HandshakeFailure};
use crate::{
    HandshakeError,
    task::{self, Clock},
    throttle::Throttle,
};

/// The interval of the summaries that follow the first warning of a kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// Limits the rate of a daemon's warnings: the first of each kind is logged at once, then a summary every
/// ten seconds.
pub(super) struct Warnings {
    throttle: Mutex<Throttle<&'static str>>,
    clock: Clock,
    /// Notified when a warning was suppressed.
    suppressed: Event,
}

impl Warnings {
    pub(super) fn new() -> Self {
        Self {
            throttle: Mutex::new(Throttle::new(INTERVAL)),
            clock: Clock::current(),
            suppressed: Event::new(),
        }
    }

    /// Returns whether a warning of this kind is to be logged now. If not, it is counted.
    pub(super) fn admits(&self, kind: &'static str) -> bool {
        let admitted = self.throttle().admits(kind, self.clock.now());
        if !admitted {
            self.suppressed.notify(usize::MAX);
        }
        admitted
    }

    /// Logs summaries when they are due, until dropped.
    pub(super) async fn summarize<T>(&self) -> T {
        loop {
            let suppressed = self.suppressed.listen();
            let next = self.throttle().next_summary();
            let time = async {
                match next {
                    Some(next) => {
                        task::sleep(next.saturating_duration_since(task::now())).await;
                    }
                    None => pending().await,
                }
            };
            let first = async {
                match next {
                    // Later warnings do not make it due earlier.
                    Some(_) => pending().await,
                    None => suppressed.await,
                }
            };
            time.or(first).await;
            let summaries = self.throttle().summaries(task::now());
            log(summaries);
        }
    }

    /// Logs what was suppressed since the last summaries.
    pub(super) fn flush(&self) {
        let summaries = self.throttle().all_summaries(self.clock.now());
        log(summaries);
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle<&'static str>> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(summaries: Vec<(&'static str, u64)>) {
    for (kind, suppressed) in summaries {
        tracing::warn!(target: "erps", kind, suppressed, "similar warnings suppressed within ten seconds");
    }
}

impl CloseReason {
    /// Returns whether the peer closed the connection before its handshake was complete, as health checks and
    /// port scans do.
    pub(super) fn is_probe(&self) -> bool {
        use HandshakeError::{Closed, Refused};
        match self {
            Self::Handshake(HandshakeFailure::Failed(Closed)) => true,
            // The TLS alerts close_notify and user_canceled.
            Self::Handshake(HandshakeFailure::Failed(Refused(alert))) => {
                matches!(alert.code(), 0 | 90)
            }
            _ => false,
        }
    }

    /// Returns the kind that warnings are limited by.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Rejected(_) => "rejected",
            Self::Handshake(HandshakeFailure::TimedOut) => "handshake timed out",
            Self::Handshake(HandshakeFailure::Evicted) => "too many pending handshakes",
            Self::Handshake(HandshakeFailure::Proxy(_)) => "no PROXY header",
            Self::Handshake(HandshakeFailure::Failed(error)) => error.kind().0,
            Self::Handshake(HandshakeFailure::Panicked(_)) => "transport panicked",
            Self::NotStarted(_) => "server not started",
            Self::Server(_) => "server failed to start",
            Self::DaemonStopped => "daemon stopped",
        }
    }
}
