//! Erlang's External Term Format, to and from anything serde knows.
//!
//! ```text
//! value --to_vec--> 131 term            payload --check--> Checked --decode--> value
//!                                                             |
//!                                                             +--pair--> Element, Element
//! ```
//!
//! Decoding takes two steps. [`check`] walks the whole term once, without recursion, and holds it to
//! [`Limits`]; only what passed can be decoded, by recursion over a depth that is known by then.
//! There is no tree in between: the typed decoder reads the bytes, and the encoder writes them.
//!
//! | Rust | Erlang |
//! |---|---|
//! | `bool` | `true`, `false` |
//! | `()`, unit struct, `Option::None` | `nil` |
//! | integers up to 128 bits | integer |
//! | `f32`, `f64` | float; an integer is accepted |
//! | `String`, `&str`, `char` | binary; a `String` accepts a charlist |
//! | `serde_bytes` | binary |
//! | `Vec<T>` | list |
//! | tuple, tuple struct | tuple |
//! | newtype struct | what it wraps |
//! | struct | map with atom keys; `__struct__` is ignored, binary keys are accepted |
//! | map | map; string keys are binaries |
//! | unit variant | atom |
//! | newtype or tuple variant | `{:variant, a}`, `{:variant, a, b}` |
//! | struct variant | `{:variant, %{…}}` |
//! | [`Term`](crate::Term) | any term |
//!
//! # Example
//!
//! ```
//! use erps::wire::etf;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Deserialize, Serialize)]
//! #[serde(rename_all = "snake_case")]
//! enum Call {
//!     Ping,
//!     Sleep(u64),
//! }
//!
//! let bytes = etf::to_vec(&Call::Sleep(500))?; // {:sleep, 500}
//! assert_eq!(etf::from_slice::<Call>(&bytes)?, Call::Sleep(500));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use memory::Budget;

mod access;
mod compound;
mod de;
mod error;
mod limits;
mod memory;
mod pair;
pub(crate) mod room;
mod scan;
mod ser;
pub(crate) mod tag;
mod token;
pub(crate) mod write;
mod zip;

pub use error::{DecodeError, EncodeError};
pub use limits::Limits;
pub use pair::{cost, first_of_pair, second_of_pair};
pub use zip::compress;

pub(crate) use ser::knock;
pub(crate) use token::{Cursor, Token, latin1, small};

/// Under this newtype struct our encoder writes a string as an atom.
pub(crate) const ATOM_TOKEN: &str = "$erps::Atom";
/// Under this newtype variant our encoder writes bytes as the encoded term they are.
pub(crate) const VERBATIM_TOKEN: &str = "$erps::Verbatim";
/// For this newtype struct our decoder hands over the bytes of a whole encoded term, and our encoder takes
/// them from a serializer that answers [`knock`].
pub(crate) const TERM_TOKEN: &str = "$erps::Term";

/// Encodes a value, with the leading 131 of a payload.
///
/// # Errors
///
/// Those of [`encode_into`].
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(64);
    out.push(tag::VERSION);
    encode_into(&mut out, value)?;
    Ok(out)
}

/// Appends a value to `out` as a term, without the leading 131.
///
/// On an error, `out` is as it was. A `Serialize` that writes a map key twice makes a term that
/// every receiver refuses; none that serde derives does, and neither does [`Term`](crate::Term).
///
/// # Errors
///
/// - [`EncodeError::AtomTooLong`]: a variant or field name has more than 255 characters.
/// - [`EncodeError::NotFinite`]: Erlang has no such float.
/// - [`EncodeError::TooLarge`]: a length does not fit the format.
/// - [`EncodeError::Arity`]: a `Serialize` announces one tuple and writes another.
/// - [`EncodeError::Custom`]: a `Serialize` fails for a reason of its own.
pub fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    encode_within(out, value, usize::MAX).map(|_| ())
}

/// As [`encode_into`], but stops when `out` would have more than `end` bytes. Returns whether the value was encoded;
/// if not, `out` is as it was.
pub(crate) fn encode_within<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    value: &T,
    end: usize,
) -> Result<bool, EncodeError> {
    let before = out.len();
    let limit = room::Limit::set(end);
    let encoded = value.serialize(ser::Encoder::new(out));
    let is_exceeded = limit.is_exceeded() || out.len() > end;
    if is_exceeded || encoded.is_err() {
        out.truncate(before);
    }
    match is_exceeded {
        true => Ok(false),
        false => encoded.map(|()| true),
    }
}

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

/// Verifies a payload: 131, perhaps compression, and one whole term within the limits.
///
/// Bytes after the term are ignored, as erps 0.7 does. A map that has a key twice is refused; keys are
/// compared by their bytes, so `1` and `1.0` differ, as they do in Erlang. Every node writes
/// equal keys in equal bytes; a peer that does not can only lose values of its own.
///
/// # Errors
///
/// - [`DecodeError::Executable`]: a function or port in safe mode.
/// - [`DecodeError::Depth`], [`DecodeError::Elements`], [`DecodeError::Inflated`],
///   [`DecodeError::Ratio`]: over a limit.
/// - any other: the payload is not a term.
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
    let budget = Budget::new(limits);
    Ok(Checked { term, budget })
}

/// A whole term that passed [`check`].
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
    /// - [`DecodeError::Mismatch`]: the term is none of the type's.
    /// - [`DecodeError::TermMemory`]: the `Term`s in the value are over that limit.
    pub fn decode<'de, T: Deserialize<'de>>(&'de self) -> Result<T, DecodeError> {
        self.as_element().decode()
    }

    /// The two elements, if the term is a pair.
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

    /// The whole term.
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
    /// The term as it came, without 131.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.term
    }

    /// Decodes the term, which the value may borrow from.
    ///
    /// # Errors
    ///
    /// - [`DecodeError::Mismatch`]: the term is none of the type's.
    /// - [`DecodeError::TermMemory`]: the `Term`s in the value are over that limit.
    pub fn decode<T: Deserialize<'a>>(&self) -> Result<T, DecodeError> {
        T::deserialize(&mut de::Decoder::new(self.term, self.budget))
    }
}
