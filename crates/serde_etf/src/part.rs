//! Where in a value the encoder is, as far as that can be told.
//!
//! serde reads a part of a value that is internally tagged, untagged or flattened from a buffer of its own, which
//! has no 128-bit integers. It does not tell a format that it writes such a part, so that this is told from the
//! way it writes: a tag is a bare `str`, which no field of a struct can be, and an untagged enum is a
//! type that is larger than what it writes.

use std::any::type_name;

/// What kind of part a value belongs to.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Part {
    /// None, or none that can be told.
    Plain,
    /// If the value itself is a 128-bit integer, it is that of an untagged enum.
    Hidden,
    /// All of the value will be buffered.
    Buffered,
    /// Bytes are a chunk of an encoded term.
    Verbatim,
}

impl Part {
    /// The part of a value of this type.
    #[inline]
    pub(super) fn of<T: ?Sized>(self, value: &T) -> Self {
        match self {
            Self::Buffered | Self::Verbatim => self,
            Self::Plain | Self::Hidden if hides(value) => Self::Hidden,
            Self::Plain | Self::Hidden => Self::Plain,
        }
    }

    /// The part of what a value consists of.
    #[inline]
    pub(super) fn inner(self) -> Self {
        match self {
            Self::Buffered | Self::Verbatim => self,
            Self::Plain | Self::Hidden => Self::Plain,
        }
    }
}

/// Returns whether a 128-bit integer would be hidden in a value of this type.
#[inline]
fn hides<T: ?Sized>(value: &T) -> bool {
    align_of_val(value) >= align_of::<u128>()
        && size_of_val(value) > size_of::<u128>()
        && !is_of_std(type_name::<T>())
}

/// Locks and cells are larger than what they write, too.
fn is_of_std(name: &str) -> bool {
    ["core::", "alloc::", "std::"]
        .iter()
        .any(|start| name.starts_with(start))
}
