//! Erlang's External Term Format for [serde].
//!
//! ```text
//! value --to_vec--> 131 term            payload --check--> Checked --decode--> value
//!                                                             |
//!                                                             +--pair--> Element, Element
//! ```
//!
//! A payload is decoded in two steps. [`check`] reads the whole term once, without recursion, and checks it against
//! [`Limits`]. Decoding then recurses to a known depth. There is no tree in between: the typed decoder reads the
//! bytes, and the encoder writes them. [`from_slice`] does both steps with the default limits.
//!
//! # Mapping
//!
//! | Rust | Erlang |
//! |---|---|
//! | `bool` | `true`, `false` |
//! | `()`, unit struct, `Option::None` | `nil` |
//! | integers up to 128 bits | integer |
//! | `f32`, `f64` | float; an integer of any size is accepted and rounded to the nearest float; out of range is an error |
//! | `String`, `&str`, `char` | binary; a `String` accepts a charlist |
//! | `serde_bytes` | binary; a list of bytes is accepted |
//! | `Vec<T>` | list; a `Vec<u8>` accepts a binary |
//! | tuple, tuple struct, array | tuple; an array of bytes accepts a binary |
//! | newtype struct | its content |
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
//! # Flattened, tagged and untagged values
//!
//! serde decodes these from a buffer of its own, which loses some information. Values do not round-trip in these cases:
//!
//! - *128-bit integers*, even small ones: use a [`Term`], a string or 64 bits. In an internally tagged enum or struct,
//!   in a flattened map and directly in an untagged enum the encoder rejects them ([`EncodeError::Wide`]). It also rejects
//!   them in a type that is larger than the 128-bit integer that it writes, such as one with `#[serde(into = "u128")]` and
//!   more fields, because that looks like an untagged enum. In a flattened struct, and deeper in an untagged enum, the
//!   encoder does not detect them, and the decoder rejects them. Everywhere else they are supported.
//! - *Tuples that begin with a unit variant*, if the same value also has variants with content, or a `Result`. Such a
//!   tuple and `{:variant, a}` are the same term: all of them in one value are decoded as tuples, or all as variants.
//! - `Some(())`, `Some(None)` *and other values of a* `Some` *that are* `nil`: the encoder rejects them
//!   ([`EncodeError::SomeNil`]), because they would be decoded as `None`.
//! - *Variants named* `nil`, `true` or `false`.
//! - *Types with a compact form*, such as `IpAddr`: their `Deserialize` expects text there. Write them as text with
//!   `#[serde(with)]`.
//! - *Atoms and tuples in a* [`Term`]: they become strings, lists or maps.
//! - *Bytes from another encoder*: a binary is not accepted for a `Vec<u8>`, nor a list for `serde_bytes`.
//!
//! # Example
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use serde_etf as etf;
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

mod buffered;
mod byte_seq;
mod de;
mod de_compound;
mod de_enum;
mod decode;
mod decoder;
mod encode;
mod encoder;
mod error;
mod limits;
mod marker;
mod memory;
mod number;
mod output_limit;
mod pair;
mod read;
mod result;
mod scan;
mod ser;
mod ser_compound;
mod tag;
pub mod term;
mod token;
mod write;
mod zip;

pub use decode::{Checked, Element, check, from_slice};
pub use encode::{encode_into, encode_within, to_vec};
pub use error::{DecodeError, EncodeError};
pub use limits::Limits;
pub use pair::{cost, first_of_pair, second_of_pair};
pub use term::Term;
pub use zip::compress;

/// The code in the README, compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
