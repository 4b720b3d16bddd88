//! The counters of a link: written by its task, read by handles.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// The counters of a link.
#[derive(Debug)]
pub(crate) struct LinkStats {
    opened_at: Instant,
    read: AtomicU64,
    written: AtomicU64,
    packets: AtomicU64,
    /// The time of the last read, in microseconds since the link was opened.
    last_read: AtomicU64,
    served: AtomicBool,
    flushed: AtomicBool,
}

impl LinkStats {
    pub(super) fn new(opened_at: Instant) -> Self {
        Self {
            opened_at,
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            last_read: AtomicU64::new(0),
            served: AtomicBool::new(false),
            flushed: AtomicBool::new(false),
        }
    }

    pub(super) fn count_read(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn count_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn count_packet(&self) {
        self.packets.fetch_add(1, Relaxed);
    }

    /// Sets the time of the last read. The caller passes it, because the link does not read the clock.
    pub(crate) fn set_last_read(&self, at: Instant) {
        let micros = at.saturating_duration_since(self.opened_at).as_micros();
        self.last_read
            .store(u64::try_from(micros).unwrap_or(u64::MAX), Relaxed);
    }

    /// Notes that the `init` of the connection's server has succeeded.
    pub(crate) fn set_served(&self) {
        self.served.store(true, Relaxed);
    }

    /// Returns whether the `init` of the connection's server has succeeded.
    pub(crate) fn was_served(&self) -> bool {
        self.served.load(Relaxed)
    }

    /// Notes that the system has accepted all packets; the link is about to be closed.
    pub(crate) fn set_flushed(&self) {
        self.flushed.store(true, Relaxed);
    }

    /// Returns whether the system had accepted all packets when the link was closed.
    pub(crate) fn was_flushed(&self) -> bool {
        self.flushed.load(Relaxed)
    }

    /// Returns when the link was opened.
    pub(crate) fn opened_at(&self) -> Instant {
        self.opened_at
    }

    /// Returns the time of the last read; if there was none, of the opening.
    pub(crate) fn last_read(&self) -> Instant {
        self.opened_at + Duration::from_micros(self.last_read.load(Relaxed))
    }

    /// Returns the number of bytes that were read.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Returns the number of bytes written to the stream.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Returns the number of packets received.
    pub(crate) fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }
}
