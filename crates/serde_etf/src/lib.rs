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
//! | `f32`, `f64` | float; an integer of any size is accepted and rounded to the nearest; out of range is an error |
//! | `String`, `&str`, `char` | binary; a `String` accepts a charlist |
//! | `serde_bytes` | binary; a list of bytes is accepted |
//! | `Vec<T>` | list; a `Vec<u8>` accepts a binary |
//! | tuple, tuple struct, array | tuple; an array of bytes accepts a binary |
//! | newtype struct | what it wraps |
//! | struct | map with atom keys; `__struct__` is ignored, binary keys are accepted |
//! | map | map; string keys are binaries |
//! | unit variant | atom |
//! | newtype or tuple variant | `{:variant, a}`, `{:variant, a, b}` |
//! | struct variant | `{:variant, %{…}}` |
//! | `Result` | `{:ok, value}`, `{:error, error}`; a bare `:ok` is accepted for `Ok(())` |
//! | `#[serde(flatten)]` of a struct or enum | its fields, with atoms as keys, beside the others |
//! | `#[serde(flatten)]` of a map | its pairs; keys are strings, numbers, booleans or unit variants |
//! | `#[serde(tag = "t")]` | map with the atom `t` as a key and the variant's name as a binary |
//! | `#[serde(tag = "t", content = "c")]` | map with the atoms `t` and `c` as keys |
//! | `#[serde(untagged)]` | as its content |
//! | [`Term`] | any term |
//!
//! # Flattened, tagged and untagged parts
//!
//! serde reads these from a buffer of its own, in which some things are lost. What is encoded can be decoded, but for:
//!
//! - *128-bit integers*, however small: use a [`Term`], a string, or 64 bits. In an internally tagged enum, in a
//!   flattened map and directly in an untagged enum they are refused when they are encoded
//!   ([`EncodeError::Wide`]). In a flattened struct, and in what an untagged enum contains, they cannot be
//!   told from others, and are refused when they are decoded.
//! - *Tuples that begin with a unit variant*, beside variants with content or a `Result` in the same value.
//!   Such a tuple and `{:variant, a}` are the same term; all in a value are taken for one or the other.
//! - *Variants called* `nil`, `true` or `false`.
//! - *Types with a compact form*, such as `IpAddr`: they expect text there. Write them as text with `#[serde(with)]`.
//! - *Atoms and tuples in a* [`Term`], which turn into strings, lists or maps.
//! - *A binary for a* `Vec<u8>` and a list for `serde_bytes`, from a peer that writes the other one.
//!
//! # Example
//!
//! ```
//! use serde_etf as etf;
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

use guess::Guess;
use memory::Budget;
use part::Part;
use reader::Decoder;

mod access;
mod compound;
mod de;
mod error;
mod guess;
mod limits;
mod memory;
mod number;
mod octets;
mod pair;
mod part;
mod reader;
mod result;
pub(crate) mod room;
mod scan;
mod ser;
pub(crate) mod tag;
pub mod term;
mod token;
mod variant;
pub(crate) mod write;
mod zip;

pub use error::{DecodeError, EncodeError};
pub use limits::Limits;
pub use pair::{cost, first_of_pair, second_of_pair};
pub use term::Term;
pub use zip::compress;

pub(crate) use ser::knock;
pub(crate) use token::{Cursor, Token, latin1, small};

/// Under this newtype struct our encoder writes a string as an atom.
pub(crate) const ATOM_TOKEN: &str = "$serde_etf::Atom";
/// Under this newtype variant our encoder writes bytes as the encoded term they are.
pub(crate) const VERBATIM_TOKEN: &str = "$serde_etf::Verbatim";
/// For this newtype struct our decoder hands over the bytes of a whole encoded term, and our encoder takes
/// them from what answers its own [`knock`].
pub(crate) const TERM_TOKEN: &str = "$serde_etf::Term";

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
/// every receiver refuses; none that serde derives does, and neither does [`Term`].
///
/// # Errors
///
/// - [`EncodeError::AtomTooLong`]: a variant or field name has more than 255 characters.
/// - [`EncodeError::NotFinite`]: Erlang has no such float.
/// - [`EncodeError::TooLarge`]: a length does not fit the format.
/// - [`EncodeError::Wide`], [`EncodeError::Key`]: serde could not decode it again.
/// - [`EncodeError::Arity`]: a `Serialize` announces one tuple and writes another.
/// - [`EncodeError::Custom`]: a `Serialize` fails for a reason of its own.
pub fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    encode_within(out, value, usize::MAX).map(|_| ())
}

/// As [`encode_into`], but stops when `out` would have more than `end` bytes. Returns whether the value was encoded;
/// if not, `out` is unchanged.
///
/// # Errors
///
/// Those of [`encode_into`].
pub fn encode_within<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    value: &T,
    end: usize,
) -> Result<bool, EncodeError> {
    let before = out.len();
    let limit = room::Limit::set(end);
    let encoded = value.serialize(ser::Encoder::of(out, value, Part::Plain));
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
    let budget = Budget::new(limits, term.len());
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
        let mut decoder = Decoder::new(self.term, self.budget, Guess::Variants);
        match T::deserialize(&mut decoder) {
            Err(error) if decoder.has_guessed => self.guess_again(error),
            decoded => decoded,
        }
    }

    /// Decodes the term again, since a tuple may have been taken for what it is not.
    #[cold]
    fn guess_again<T: Deserialize<'a>>(&self, first: DecodeError) -> Result<T, DecodeError> {
        [Guess::Results, Guess::Tuples]
            .into_iter()
            .find_map(|guess| {
                let mut decoder = Decoder::new(self.term, self.budget, guess);
                T::deserialize(&mut decoder).ok()
            })
            .ok_or(first)
    }
}
