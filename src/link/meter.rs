//! What has gone over a link: written by its task, read by anybody.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

#[derive(Debug)]
pub(crate) struct Meter {
    since: Instant,
    read: AtomicU64,
    written: AtomicU64,
    packets: AtomicU64,
    /// When something was read last, in microseconds since the link was made.
    heard: AtomicU64,
    met: AtomicBool,
    parted: AtomicBool,
}

impl Meter {
    pub(super) fn new(since: Instant) -> Self {
        Self {
            since,
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            met: AtomicBool::new(false),
            parted: AtomicBool::new(false),
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

    /// Something was read at this time. The link itself reads no clock for it.
    pub(crate) fn heard(&self, at: Instant) {
        let micros = at.saturating_duration_since(self.since).as_micros();
        self.heard
            .store(u64::try_from(micros).unwrap_or(u64::MAX), Relaxed);
    }

    /// The server of this connection has got through its `init`.
    pub(crate) fn meet(&self) {
        self.met.store(true, Relaxed);
    }

    /// Whether the peer has had a server.
    pub(crate) fn has_met(&self) -> bool {
        self.met.load(Relaxed)
    }

    /// All that was to be sent has been taken by the system; the link is about to be closed.
    pub(crate) fn part(&self) {
        self.parted.store(true, Relaxed);
    }

    /// Whether the peer has been sent all there was for it.
    pub(crate) fn has_parted(&self) -> bool {
        self.parted.load(Relaxed)
    }

    /// When the link was made.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// When something was read last; if nothing ever was, when the link was made.
    pub(crate) fn heard_at(&self) -> Instant {
        self.since + Duration::from_micros(self.heard.load(Relaxed))
    }

    /// How many bytes were read.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// How many bytes the stream has taken.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// How many packets were received.
    pub(crate) fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }
}
