//! Why encoding and decoding fail, in texts of bounded length.

use std::fmt::{self, Display, Write};

use serde::de::{self, Expected, Unexpected, value};
use serde::ser;

/// Why a value is not encoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// An atom has at most 255 characters.
    #[error("an atom of more than 255 characters: {0:.32}…")]
    AtomTooLong(String),
    /// Erlang has neither infinities nor NaN.
    #[error("the float {0} has no counterpart in Erlang")]
    NotFinite(f64),
    /// The format counts bytes and elements in 32 bits.
    #[error("more than 4294967295 bytes or elements")]
    TooLarge,
    /// A `Serialize` wrote more or fewer elements than it had announced.
    #[error("a tuple with more or fewer elements than announced")]
    Arity,
    /// A 128-bit integer is where serde could not decode it again: in an enum that is internally tagged or
    /// untagged, or in a flattened map.
    #[error(
        "a 128-bit integer in a tagged, untagged or flattened part, which serde cannot decode again: use a \
         `Term`, a string or a 64-bit integer there"
    )]
    Wide,
    /// A key of a flattened map is a tuple, list or map, which serde could not decode again.
    #[error(
        "a key of a flattened map that is a tuple, list or map, which serde cannot decode again: use a string, a \
         number or a unit variant, or do not flatten the map"
    )]
    Key,
    /// A compression level is 0 to 9.
    #[error("compression level {0} is above 9")]
    Level(u8),
    /// The value's own `Serialize` failed.
    #[error("{0}")]
    Custom(String),
}

/// Why a payload is not decoded.
///
/// [`Executable`](Self::Executable) is an attack or a gross mistake; all others are a peer that
/// speaks another protocol, or an older version of this one, or exceeds a limit. No text is longer
/// than 256 bytes, and none quotes a string or binary of the payload.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The term is a function or a port, or has one in it.
    #[error("executable term (tag {tag}) refused")]
    Executable {
        /// The format's tag for what was found.
        tag: u8,
    },
    /// The payload does not begin with 131.
    #[error("term format {0} instead of 131")]
    Version(u8),
    /// The payload ends before the term does.
    #[error("truncated term")]
    Truncated,
    /// No term begins with this byte.
    #[error("unknown term tag {0}")]
    UnknownTag(u8),
    /// The term nests more deeply than [`Limits::depth`](crate::Limits::depth).
    #[error("term deeper than {limit} levels")]
    Depth {
        /// The limit.
        limit: usize,
    },
    /// The term consists of more terms than [`Limits::elements`](crate::Limits::elements).
    #[error("term of more than {limit} elements")]
    Elements {
        /// The limit.
        limit: usize,
    },
    /// The compressed term is larger than [`Limits::inflated`](crate::Limits::inflated).
    #[error("compressed term of more than {limit} bytes")]
    Inflated {
        /// The limit.
        limit: usize,
    },
    /// The compressed term inflates by more than [`Limits::ratio`](crate::Limits::ratio).
    #[error("compressed term that inflates to more than {limit} times its size")]
    Ratio {
        /// The limit.
        limit: usize,
    },
    /// The decoded terms would take more than [`Limits::term_memory`](crate::Limits::term_memory).
    #[error("term that takes more than {limit} bytes of memory")]
    TermMemory {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The compressed term is damaged, or not as large as announced.
    #[error("damaged compressed term")]
    Compressed,
    /// An atom is not UTF-8, or has more than 255 characters.
    #[error("malformed atom")]
    Atom,
    /// An integer's sign is neither 0 nor 1.
    #[error("malformed integer")]
    Integer,
    /// A float is malformed, infinite or not a number.
    #[error("malformed float")]
    Float,
    /// A bitstring uses other than 1 to 8 bits of its last byte.
    #[error("malformed bitstring")]
    Bits,
    /// A map has a key twice.
    #[error("duplicate key in a map")]
    DuplicateKey,
    /// The term is well formed, but not what the type wants.
    #[error("{0}")]
    Mismatch(String),
}

impl DecodeError {
    /// Returns whether the peer sent what could run code: reason enough to end the server.
    #[must_use]
    pub fn is_executable(&self) -> bool {
        matches!(self, Self::Executable { .. })
    }
}

impl ser::Error for EncodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Custom(short(message))
    }
}

impl de::Error for DecodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Mismatch(short(message))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = Quiet(found);
        Self::custom(format_args!("invalid type: {found}, expected {expected}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = Quiet(found);
        Self::custom(format_args!("invalid value: {found}, expected {expected}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let field = Name(field).to_string();
        Self::custom(value::Error::unknown_field(&field, expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let variant = Name(variant).to_string();
        Self::custom(value::Error::unknown_variant(&variant, expected))
    }
}

/// A name out of a payload, cut after 64 characters.
pub(super) struct Name<'a>(pub(super) &'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(64) {
            Some((end, _)) => write!(f, "{}…", &self.0[..end]),
            None => f.write_str(self.0),
        }
    }
}

/// What serde found, without the text of strings.
struct Quiet<'a>(Unexpected<'a>);

impl Display for Quiet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Str(text) => write!(f, "a string of {} bytes", text.len()),
            Unexpected::Bytes(bytes) => write!(f, "a binary of {} bytes", bytes.len()),
            Unexpected::Char(_) => f.write_str("a character"),
            Unexpected::Other(text) => Name(text).fmt(f),
            other => other.fmt(f),
        }
    }
}

/// How long the text of an error may be, in bytes.
const MAX_TEXT: usize = 256;

/// Writes a message that a peer may have made long. What is cut off is not even formatted.
pub(super) fn short(message: impl Display) -> String {
    let mut short = Short {
        text: String::new(),
        full: false,
    };
    // An error is the end of the room, or a `Display` that fails: what there is by then is kept.
    let _ = write!(short, "{message}");
    short.text
}

struct Short {
    text: String,
    full: bool,
}

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const CUT: &str = "…";

        if self.full {
            return Err(fmt::Error);
        }
        let room = MAX_TEXT - CUT.len() - self.text.len();
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|&end| text.is_char_boundary(end));
        self.text.push_str(&text[..end.unwrap_or(0)]);
        self.text.push_str(CUT);
        self.full = true;
        Err(fmt::Error)
    }
}
