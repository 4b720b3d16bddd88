//! How much an encoding may write before it is stopped.
//!
//! It is a property of the thread and not of the encoder, because a [`Term`](crate::Term) is encoded beside the
//! encoder, and because serde's types have no room for it.

use std::cell::Cell;

use crate::EncodeError;

#[derive(Clone, Copy)]
struct Room {
    end: usize,
    exceeded: bool,
}

const ANY: Room = Room {
    end: usize::MAX,
    exceeded: false,
};

thread_local! {
    static ROOM: Cell<Room> = const { Cell::new(ANY) };
}

/// The limit of the encoding that is under way on this thread. Dropped, the one before it applies again.
pub(super) struct Limit {
    before: Room,
}

impl Limit {
    /// Stops encodings on this thread at a buffer of `end` bytes.
    pub(super) fn set(end: usize) -> Self {
        let room = Room {
            end,
            exceeded: false,
        };
        Self {
            before: ROOM.replace(room),
        }
    }

    /// Whether something was to be written beyond the limit.
    pub(super) fn is_exceeded(&self) -> bool {
        ROOM.get().exceeded
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        ROOM.set(self.before);
    }
}

/// Fails if `out` and `more` bytes are beyond the limit.
#[inline]
pub(crate) fn check(out: &[u8], more: usize) -> Result<(), EncodeError> {
    let room = ROOM.get();
    if out.len().saturating_add(more) <= room.end {
        return Ok(());
    }
    ROOM.set(Room {
        exceeded: true,
        ..room
    });
    // Whoever set the limit asks whether it was exceeded, whatever a `Serialize` makes of this.
    Err(EncodeError::TooLarge)
}
