//! The entry points of decoding: a payload is checked as a whole, then decoded.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::decoder::{Decoder, TupleAs};
use crate::memory::Budget;
use crate::token::{Cursor, Token};
use crate::{DecodeError, Limits, scan, tag, zip};

/// Decodes a payload under the default [`Limits`].
///
/// For a value that borrows from its payload, see [`Checked::decode`].
///
/// # Errors
///
/// Those of [`check`] and of [`Checked::decode`].
pub fn from_slice<T: DeserializeOwned>(payload: &[u8]) -> Result<T, DecodeError> {
    check(payload, &Limits::default())?.decode()
}

/// Checks that a payload is the version byte 131 and one complete term within the limits, which may be compressed.
///
/// Bytes after the term are ignored. A map with a duplicate key is rejected. Keys are compared by their encoded bytes,
/// so `1` and `1.0` differ, as they do in Erlang. Erlang nodes encode equal keys to equal bytes; from a peer that does
/// not, decoding into a map may keep only one of the values.
///
/// # Errors
///
/// - [`DecodeError::Executable`]: a function or port in safe mode.
/// - [`DecodeError::Depth`], [`DecodeError::Elements`], [`DecodeError::Inflated`],
///   [`DecodeError::Ratio`]: over a limit.
/// - any other: the payload is malformed.
pub fn check<'a>(payload: &'a [u8], limits: &Limits) -> Result<Checked<'a>, DecodeError> {
    let body = match payload {
        [] => return Err(DecodeError::Truncated),
        [tag::VERSION, body @ ..] => body,
        [other, ..] => return Err(DecodeError::Version(*other)),
    };
    let term = match body {
        [tag::COMPRESSED, packed @ ..] => {
            let mut plain = zip::inflate(packed, limits)?;
            plain.truncate(scan::scan(&plain, limits)?);
            Cow::Owned(plain)
        }
        _ => Cow::Borrowed(&body[..scan::scan(body, limits)?]),
    };
    let budget = Budget::new(limits, term.len());
    Ok(Checked { term, budget })
}

/// A complete term that has passed [`check`].
#[derive(Clone, Debug)]
pub struct Checked<'a> {
    term: Cow<'a, [u8]>,
    budget: Budget,
}

impl Checked<'_> {
    /// Decodes the term, which the value may borrow from.
    ///
    /// # Errors
    ///
    /// - [`DecodeError::Mismatch`]: the type does not accept the term.
    /// - [`DecodeError::TermMemory`]: the `Term`s in the value are over that limit.
    pub fn decode<'de, T: Deserialize<'de>>(&'de self) -> Result<T, DecodeError> {
        self.as_element().decode()
    }

    /// Returns the two elements if the term is a tuple of two.
    #[must_use]
    pub fn pair(&self) -> Option<(Element<'_>, Element<'_>)> {
        let mut cursor = Cursor::new(&self.term);
        let Ok(Token::Tuple(2)) = cursor.token() else {
            return None;
        };
        let first = cursor.skip().ok()?;
        let second = cursor.skip().ok()?;
        let element = |term| Element {
            term,
            budget: self.budget,
        };
        Some((element(first), element(second)))
    }

    /// Returns the whole term.
    #[must_use]
    pub fn as_element(&self) -> Element<'_> {
        Element {
            term: &self.term,
            budget: self.budget,
        }
    }
}

/// A term within a [`Checked`] one.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    term: &'a [u8],
    budget: Budget,
}

impl<'a> Element<'a> {
    /// Returns the encoded term, without 131.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.term
    }

    /// Copies the term, so that it can be decoded elsewhere, within the limits of the whole.
    #[must_use]
    pub fn to_checked(&self) -> Checked<'static> {
        Checked {
            term: Cow::Owned(self.term.to_vec()),
            budget: self.budget,
        }
    }

    /// Decodes the term, which the value may borrow from.
    ///
    /// # Errors
    ///
    /// - [`DecodeError::Mismatch`]: the type does not accept the term.
    /// - [`DecodeError::TermMemory`]: the `Term`s in the value are over that limit.
    pub fn decode<T: Deserialize<'a>>(&self) -> Result<T, DecodeError> {
        let mut decoder = Decoder::new(self.term, self.budget, TupleAs::Variant);
        match T::deserialize(&mut decoder) {
            Err(error) if decoder.is_ambiguous => self.retry(error),
            decoded => decoded,
        }
    }

    /// Decodes the term again with the other readings of a tuple that begins with an atom.
    #[cold]
    fn retry<T: Deserialize<'a>>(&self, first: DecodeError) -> Result<T, DecodeError> {
        [TupleAs::Result, TupleAs::Tuple]
            .into_iter()
            .find_map(|tuple_as| {
                let mut decoder = Decoder::new(self.term, self.budget, tuple_as);
                T::deserialize(&mut decoder).ok()
            })
            .ok_or(first)
    }
}
