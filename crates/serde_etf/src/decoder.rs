//! The state of a decoding: the unread bytes, and the context of the value that is read next.

use crate::DecodeError;
use crate::memory::Budget;
use crate::token::{Cursor, Token};

/// Reads one term after the other.
pub(super) struct Decoder<'de> {
    pub(super) cursor: Cursor<'de>,
    /// The memory that `Term`s and serde's buffers may still take.
    pub(super) budget: Budget,
    /// What serde's buffer gets for a tuple that begins with an atom.
    pub(super) tuple_as: TupleAs,
    /// Whether serde's buffer got such a tuple.
    pub(super) is_ambiguous: bool,
    /// Whether the next key is one of a struct with a flattened field, and need not be a string.
    pub(super) any_key: bool,
}

/// What serde's buffer gets for tuples that begin with an atom, in the order in which it is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum TupleAs {
    /// An enum's variant.
    Variant,
    /// An enum's variant; `{:ok, …}` and `{:error, …}` are those of the standard `Result`.
    Result,
    /// A sequence.
    Tuple,
}

impl<'de> Decoder<'de> {
    #[inline]
    pub(super) fn new(term: &'de [u8], budget: Budget, tuple_as: TupleAs) -> Self {
        Self {
            cursor: Cursor::new(term),
            budget,
            tuple_as,
            is_ambiguous: false,
            any_key: false,
        }
    }

    #[inline]
    pub(super) fn token(&mut self) -> Result<Token<'de>, DecodeError> {
        self.cursor.token()
    }
}
