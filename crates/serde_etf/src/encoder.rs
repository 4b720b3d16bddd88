//! The state of an encoding: the output, and the context of the value that is written next.

use std::any::type_name;
use std::cell::Cell;

use serde::ser::{self, Serialize};

use crate::{EncodeError, tag, write};

/// Appends one term to a buffer.
pub(super) struct Encoder<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) context: Context,
    pub(super) handover: Cell<Handover>,
}

/// How the receiver decodes the value, as far as the encoder can tell.
///
/// serde decodes flattened, internally tagged and untagged values from a buffer of its own, which holds no
/// 128-bit integers. It does not tell a format that it writes such a value. A tag is recognised by its type: it
/// is a bare `str`, which a field of a struct cannot be. An untagged enum is recognised by its size: it is larger than
/// the integer that it writes. A type that only writes its value as a smaller integer is taken for one.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Context {
    /// From the term, or in a way that the encoder cannot tell.
    Plain,
    /// From serde's buffer, if the value itself is a 128-bit integer.
    Untagged,
    /// From serde's buffer.
    Buffered,
    /// Bytes are a chunk of an encoded term.
    EncodedTerm,
}

/// The steps in which a `Term` hands over its encoded bytes, which it does only to a serializer that passes
/// [`takes_encoded_term`](crate::marker::takes_encoded_term).
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Handover {
    /// Any other value is being written.
    None,
    /// The value under [`TERM`](crate::marker::TERM) is being written.
    Possible,
    /// It has asked once.
    Asked,
    /// It has asked twice: the next tuple is an encoded term, in chunks of bytes.
    Agreed,
}

impl Context {
    /// The context of a value of this type.
    #[inline]
    fn of<T: ?Sized>(self, value: &T) -> Self {
        match self {
            Self::Buffered | Self::EncodedTerm => self,
            Self::Plain | Self::Untagged if may_be_untagged(value) => Self::Untagged,
            Self::Plain | Self::Untagged => Self::Plain,
        }
    }

    /// The context of the values that a list, tuple or map consists of.
    #[inline]
    pub(super) fn inner(self) -> Self {
        match self {
            Self::Buffered | Self::EncodedTerm => self,
            Self::Plain | Self::Untagged => Self::Plain,
        }
    }
}

/// Returns whether the type could be an untagged enum with a 128-bit integer.
#[inline]
fn may_be_untagged<T: ?Sized>(value: &T) -> bool {
    // Locks and cells of the standard library are larger than what they write, too.
    let is_of_std = |name: &str| {
        let crates = ["core::", "alloc::", "std::"];
        crates.iter().any(|start| name.starts_with(start))
    };
    align_of_val(value) >= align_of::<u128>()
        && size_of_val(value) > size_of::<u128>()
        && !is_of_std(type_name::<T>())
}

impl<'a> Encoder<'a> {
    /// Returns an encoder for a value, whose type determines its context more precisely.
    #[inline]
    pub(super) fn of<T: ?Sized>(out: &'a mut Vec<u8>, value: &T, context: Context) -> Self {
        Self::new(out, context.of(value))
    }

    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>, context: Context) -> Self {
        Self {
            out,
            context,
            handover: Cell::new(Handover::None),
        }
    }

    /// Returns an error if the receiver cannot decode a 128-bit integer here.
    #[inline]
    pub(super) fn check_wide(&self) -> Result<(), EncodeError> {
        match self.context {
            Context::Plain | Context::EncodedTerm => Ok(()),
            Context::Untagged | Context::Buffered => Err(EncodeError::Wide),
        }
    }

    /// Writes a string as an atom.
    pub(super) fn atom<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), EncodeError> {
        // The string is written as the binary it would be, then its head is replaced by an atom's.
        let start = self.out.len();
        let length = self.binary(value)?;
        match u8::try_from(length) {
            Ok(short) => {
                self.out[start] = tag::SMALL_ATOM_UTF8;
                self.out[start + 1] = short;
                self.out.drain(start + 2..start + write::HEAD);
                Ok(())
            }
            Err(_) => {
                let name = self.out.split_off(start + write::HEAD);
                self.out.truncate(start);
                write::atom(self.out, &String::from_utf8_lossy(&name))
            }
        }
    }

    /// Writes a value that must be encoded as a binary, and returns the length of its bytes.
    pub(super) fn binary<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
    ) -> Result<usize, EncodeError> {
        let start = self.out.len();
        value.serialize(Encoder::new(self.out, Context::Plain))?;
        match self.out.get(start) {
            Some(&tag::BINARY) => Ok(self.out.len() - start - write::HEAD),
            _ => Err(ser::Error::custom("not a string or bytes")),
        }
    }
}
