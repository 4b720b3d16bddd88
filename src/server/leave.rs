//! How the connection of a server takes leave of its peer.
//!
//! ```text
//! asked --> all that the peer sends is taken --> nothing more is read --> all calls answered --> over
//!                    until a given time             but the rest of
//!                                                 a packet that has begun
//! ```
//!
//! The wire knows no farewell, and a packet that a client of the original does not expect may cost it
//! the reply that arrives together with it. So the peer is told by the end of the stream, after its
//! last reply. Whatever was on its way when all this began arrives while everything is taken.

use std::time::Instant;

#[derive(Debug, Default)]
pub(super) enum Leave {
    #[default]
    Unasked,
    /// All is taken until then.
    Listening(Instant),
    /// What was read in that time is taken.
    Finishing,
    /// The rest of a packet that had begun is read.
    Completing,
    /// It has been, perhaps with more.
    Completed,
    /// Nothing more is read.
    Deaf,
}

impl Leave {
    /// Notes until when it is to listen.
    pub(super) fn ask(&mut self, until: Option<Instant>) {
        if let (Self::Unasked | Self::Listening(_), Some(until)) = (&self, until) {
            *self = Self::Listening(until);
        }
    }

    /// When the time of listening is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Listening(until) => Some(*until),
            _ => None,
        }
    }

    /// The time of listening is over.
    pub(super) fn stop_listening(&mut self) {
        *self = Self::Finishing;
    }

    /// A whole packet was taken out of what was read.
    pub(super) fn took_packet(&mut self) {
        if matches!(self, Self::Completing) {
            *self = Self::Completed;
        }
    }

    /// No whole packet is left of what was read. Tells whether more may be read.
    pub(super) fn may_read(&mut self, is_midway: bool) -> bool {
        match self {
            Self::Finishing if is_midway => *self = Self::Completing,
            Self::Finishing | Self::Completed => *self = Self::Deaf,
            Self::Unasked | Self::Listening(_) | Self::Completing | Self::Deaf => {}
        }
        !self.is_deaf()
    }

    /// Whether the peer has been heard to its end.
    pub(super) fn is_deaf(&self) -> bool {
        matches!(self, Self::Deaf)
    }
}
