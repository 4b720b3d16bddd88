//! The drain of a server's connection.
//!
//! ```text
//! Idle --> Reading ----------> Finishing --+--> Completing --> Completed --+--> Closed
//!          until a given time    what was  |    the rest of an             |    nothing more is read;
//!                                read is   |    incomplete packet          |    drained when all calls
//!                                handled   +-------------------------------+    are answered
//! ```
//!
//! The protocol has no goodbye packet, and an unexpected packet may cost a client of the original the
//! reply that arrives together with it. So the peer only sees the end of the stream, after its last
//! reply. Packets in transit when the drain begins arrive in the reading phase.

use std::time::Instant;

/// The phase of a drain.
#[derive(Debug, Default)]
pub(super) enum DrainPhase {
    /// No drain has begun.
    #[default]
    Idle,
    /// Packets are read until this time.
    Reading(Instant),
    /// What was read by then is handled.
    Finishing,
    /// The rest of an incomplete packet is read.
    Completing,
    /// It was read, perhaps with more.
    Completed,
    /// Nothing more is read.
    Closed,
}

impl DrainPhase {
    /// Begins the drain, or changes its deadline.
    pub(super) fn begin(&mut self, until: Option<Instant>) {
        if let (Self::Idle | Self::Reading(_), Some(until)) = (&self, until) {
            *self = Self::Reading(until);
        }
    }

    /// Returns the end of the reading phase.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Reading(until) => Some(*until),
            _ => None,
        }
    }

    /// Ends the reading phase.
    pub(super) fn stop_reading(&mut self) {
        *self = Self::Finishing;
    }

    /// Notes that a complete packet was taken out of the read buffer.
    pub(super) fn took_packet(&mut self) {
        if matches!(self, Self::Completing) {
            *self = Self::Completed;
        }
    }

    /// Called when the read buffer holds no complete packet. Returns whether more may be read.
    pub(super) fn may_read(&mut self, has_partial_packet: bool) -> bool {
        match self {
            Self::Finishing if has_partial_packet => *self = Self::Completing,
            Self::Finishing | Self::Completed => *self = Self::Closed,
            Self::Idle | Self::Reading(_) | Self::Completing | Self::Closed => {}
        }
        !self.is_closed()
    }

    /// Returns whether nothing more is read.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}
