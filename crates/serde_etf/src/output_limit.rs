//! The output size at which an encoding stops.
//!
//! The limit belongs to the thread and not to the encoder, because a [`Term`](crate::Term) is encoded beside the
//! encoder, and because serde's interface has no place for it.

use std::cell::Cell;

use crate::EncodeError;

#[derive(Clone, Copy)]
struct State {
    end: usize,
    exceeded: bool,
}

thread_local! {
    static STATE: Cell<State> = const {
        Cell::new(State {
            end: usize::MAX,
            exceeded: false,
        })
    };
}

/// The limit of the encoding that runs on this thread. When dropped, the limit before it applies again.
pub(super) struct OutputLimit {
    before: State,
}

impl OutputLimit {
    /// Stops encodings on this thread at a buffer of `end` bytes.
    pub(super) fn set(end: usize) -> Self {
        let state = State {
            end,
            exceeded: false,
        };
        Self {
            before: STATE.replace(state),
        }
    }

    /// Returns whether an encoding was stopped.
    pub(super) fn is_exceeded(&self) -> bool {
        STATE.get().exceeded
    }
}

impl Drop for OutputLimit {
    fn drop(&mut self) {
        STATE.set(self.before);
    }
}

/// Returns an error if `more` bytes after `out` are beyond the limit.
#[inline]
pub(crate) fn check(out: &[u8], more: usize) -> Result<(), EncodeError> {
    let state = STATE.get();
    if out.len().saturating_add(more) <= state.end {
        return Ok(());
    }
    STATE.set(State {
        exceeded: true,
        ..state
    });
    // A `Serialize` may replace this error; `is_exceeded` still returns true.
    Err(EncodeError::TooLarge)
}
