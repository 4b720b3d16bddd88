//! A dynamic value for any Erlang term.
//!
//! A [`Term`] decodes from every term and encodes to an equal one; it can be a field of a typed
//! struct. It prints as Elixir's `inspect` would, and parses what it prints.
//!
//! ```
//! use serde_etf::Term;
//!
//! let term: Term = r#"{:ok, %{name: "x", sizes: [1, 2]}}"#.parse()?;
//! assert_eq!(term.as_tuple().map(|t| &t[0]), Some(&Term::atom("ok")));
//! assert_eq!(term.to_string(), r#"{:ok, %{name: "x", sizes: [1, 2]}}"#);
//! # Ok::<(), serde_etf::term::ParseTermError>(())
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

mod build;
mod codec;
mod encode;
mod number;
mod parse;
mod parse_error;
mod print;
mod read;
mod syntax;
mod text;
mod walk;

pub use number::{BigInteger, Float, NotFinite};
pub use parse_error::ParseTermError;

use number::Integer;

/// Any Erlang term.
///
/// The order of terms is total and stable, and close to Erlang's, but not the same: it compares
/// numbers of different kinds by kind and tuples by their elements.
///
/// Encoding and decoding with this crate is lossless. In other serde formats, and in a
/// [flattened, tagged or untagged value](crate#flattened-tagged-and-untagged-values), atoms become strings and tuples
/// become sequences. A decoded `Term` takes up to a hundred times the memory of its encoded form, limited by
/// [`Limits::term_memory`](crate::Limits::term_memory).
///
/// Only dropping recurses: a term of 512 levels can be dropped on a stack of 512 KiB.
#[non_exhaustive]
pub enum Term {
    /// An integer of up to 64 bits.
    Integer(i64),
    /// An integer beyond 64 bits. [`Term::integer`] selects the variant.
    BigInteger(BigInteger),
    /// A float, always finite.
    Float(Float),
    /// An atom: its name, at most 255 characters.
    Atom(Arc<str>),
    /// A pid or reference, or, if [safe mode](crate::Limits::safe) is off, a function or
    /// port.
    Opaque(Opaque),
    /// A tuple.
    Tuple(Vec<Self>),
    /// A map, or a struct, which is a map with the key `:__struct__`.
    Map(BTreeMap<Self, Self>),
    /// A list. Elixir's charlists and keyword lists are lists too.
    List(Vec<Self>),
    /// A list whose tail is not a list: `[1, 2 | 3]`. It has at least one element.
    ImproperList(Vec<Self>, Box<Self>),
    /// A binary. Elixir's strings are binaries of UTF-8.
    Binary(Vec<u8>),
    /// A bitstring that is not whole bytes.
    BitBinary(BitBinary),
}

impl Term {
    /// Creates the atom of this name, such as `ok`, or `Elixir.Version` for a module.
    #[must_use]
    pub fn atom(name: &str) -> Self {
        Self::Atom(name.into())
    }

    /// Creates the atom `nil`.
    #[must_use]
    pub fn nil() -> Self {
        Self::atom("nil")
    }

    /// Creates an integer of any size from its little-endian magnitude.
    #[must_use]
    pub fn integer(negative: bool, magnitude: &[u8]) -> Self {
        Self::from_integer(number::integer(negative, magnitude))
    }

    fn from_integer(integer: Integer) -> Self {
        match integer {
            Integer::Small(value) => Self::Integer(value),
            Integer::Big(value) => Self::BigInteger(value),
        }
    }

    /// Creates a binary.
    #[must_use]
    pub fn binary(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Binary(bytes.into())
    }

    /// Creates a tuple.
    #[must_use]
    pub fn tuple(elements: impl IntoIterator<Item = Self>) -> Self {
        Self::Tuple(elements.into_iter().collect())
    }

    /// Creates a list.
    #[must_use]
    pub fn list(elements: impl IntoIterator<Item = Self>) -> Self {
        Self::List(elements.into_iter().collect())
    }

    /// Creates a map. Of two equal keys the later wins, as in Elixir.
    #[must_use]
    pub fn map(pairs: impl IntoIterator<Item = (Self, Self)>) -> Self {
        Self::Map(pairs.into_iter().collect())
    }

    /// Creates a list with this tail, which may be a list itself: `[1 | [2]]` is `[1, 2]`.
    #[must_use]
    pub fn list_with_tail(elements: impl IntoIterator<Item = Self>, tail: Self) -> Self {
        let mut elements: Vec<_> = elements.into_iter().collect();
        match tail {
            Self::List(more) => {
                elements.extend(more);
                Self::List(elements)
            }
            Self::ImproperList(more, tail) => {
                elements.extend(more);
                Self::ImproperList(elements, tail)
            }
            tail if elements.is_empty() => tail,
            tail => Self::ImproperList(elements, Box::new(tail)),
        }
    }

    /// Creates a bitstring of `bytes` that uses only the upper `used` bits, 1 to 8, of the last one.
    ///
    /// With no bytes, or all 8 bits used, this is a binary. `used` above 8 counts as 8, 0 as 1.
    #[must_use]
    pub fn bits(bytes: impl Into<Vec<u8>>, used: u8) -> Self {
        let mut bytes = bytes.into();
        match (bytes.last_mut(), used) {
            (None, _) | (_, 8..) => Self::Binary(bytes),
            (Some(last), _) => {
                let used = used.max(1);
                *last &= 0xff << (8 - used);
                let bytes = bytes.into();
                Self::BitBinary(BitBinary { bytes, used })
            }
        }
    }

    /// Returns whether this is the atom `nil`.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        self.as_atom() == Some("nil")
    }

    /// Returns the name of an atom.
    #[must_use]
    pub fn as_atom(&self) -> Option<&str> {
        match self {
            Self::Atom(name) => Some(name),
            _ => None,
        }
    }

    /// Returns the value of the atoms `true` and `false`.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.as_atom() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        }
    }

    /// Returns the value of an integer that fits 64 bits.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the value of a float.
    #[must_use]
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(value.value()),
            _ => None,
        }
    }

    /// Returns the bytes of a binary.
    #[must_use]
    pub fn as_binary(&self) -> Option<&[u8]> {
        match self {
            Self::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns the text of a binary that is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_binary()?).ok()
    }

    /// Returns the elements of a tuple.
    #[must_use]
    pub fn as_tuple(&self) -> Option<&[Self]> {
        match self {
            Self::Tuple(elements) => Some(elements),
            _ => None,
        }
    }

    /// Returns the elements of a proper list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// Returns the pairs of a map.
    #[must_use]
    pub fn as_map(&self) -> Option<&BTreeMap<Self, Self>> {
        match self {
            Self::Map(pairs) => Some(pairs),
            _ => None,
        }
    }
}

impl From<i64> for Term {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<i32> for Term {
    fn from(value: i32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u64> for Term {
    fn from(value: u64) -> Self {
        Self::integer(false, &value.to_le_bytes())
    }
}

impl From<bool> for Term {
    fn from(value: bool) -> Self {
        Self::atom(if value { "true" } else { "false" })
    }
}

/// A binary.
impl From<&str> for Term {
    fn from(text: &str) -> Self {
        Self::binary(text)
    }
}

/// A binary.
impl From<String> for Term {
    fn from(text: String) -> Self {
        Self::binary(text)
    }
}

impl From<Vec<Self>> for Term {
    fn from(elements: Vec<Self>) -> Self {
        Self::List(elements)
    }
}

/// Erlang has no infinities and no NaN.
impl TryFrom<f64> for Term {
    type Error = NotFinite;

    fn try_from(value: f64) -> Result<Self, NotFinite> {
        Float::try_from(value).map(Self::Float)
    }
}

/// A bitstring that is not whole bytes. Created by [`Term::bits`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitBinary {
    bytes: Box<[u8]>,
    used: u8,
}

impl BitBinary {
    /// Returns the bytes. The unused bits of the last one are zero.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the number of used upper bits of the last byte, 1 to 7.
    #[must_use]
    pub fn used(&self) -> u8 {
        self.used
    }
}

/// A term that only the node it came from can use, in its encoded form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Opaque {
    bytes: Box<[u8]>,
}

impl Opaque {
    /// Returns the encoded term, without 131.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
