//! The errors of encoding and decoding, whose texts are bounded in length.

use std::error::Error;
use std::fmt::{self, Display, Write};

use serde::de::{self, Expected, Unexpected, value};
use serde::ser;

/// Why a value could not be encoded.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EncodeError {
    /// An atom has more than 255 characters.
    AtomTooLong(String),
    /// A float is infinite or not a number, which Erlang's floats cannot be.
    NotFinite(f64),
    /// A length does not fit the 32 bits that the format has for it.
    TooLarge,
    /// A `Serialize` wrote more or fewer elements of a tuple than it had announced.
    Arity,
    /// A 128-bit integer is in a tagged or untagged enum or in a flattened map, from which serde cannot decode it.
    ///
    /// Two other cases look the same to the encoder: a struct with a bare `str` as a field (it looks like the tag of an
    /// enum), and a type that writes only the integer but is larger than it (it looks like an untagged enum). In the first
    /// case a hand-written `Serialize` can pass a reference to the `str` instead.
    Wide,
    /// A key of a flattened map is a tuple, list or map, which serde cannot decode.
    Key,
    /// The value of an `Option::Some` is `nil`, as `Some(())` and `Some(None)` are: it would be decoded as `None`.
    SomeNil,
    /// A compression level is above 9.
    Level(u8),
    /// The value's own `Serialize` failed.
    Custom(String),
}

impl Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtomTooLong(name) => {
                write!(f, "an atom of more than 255 characters: {name:.32}…")
            }
            Self::NotFinite(value) => write!(f, "the float {value} has no counterpart in Erlang"),
            Self::TooLarge => f.write_str("more than 4294967295 bytes or elements"),
            Self::Arity => f.write_str("a tuple with more or fewer elements than announced"),
            Self::Wide => write!(
                f,
                "a 128-bit integer in a tagged or untagged enum or a flattened map, from which serde cannot decode \
                 it: {WIDE_ADVICE}"
            ),
            Self::Key => f.write_str(
                "a key of a flattened map is a tuple, list or map, which serde cannot decode: use a string, a number \
                 or a unit variant, or do not flatten the map",
            ),
            Self::SomeNil => f.write_str(
                "the value of a `Some` is `nil`, which is decoded as `None`: use an enum with named variants instead",
            ),
            Self::Level(level) => write!(f, "compression level {level} is above 9"),
            Self::Custom(message) => f.write_str(message),
        }
    }
}

impl Error for EncodeError {}

/// The error of serde's buffers for a 128-bit integer, after its type.
const WIDE_UNSUPPORTED: &str = "128 is not supported";
const WIDE_ADVICE: &str = "use a `Term`, a string or a 64-bit integer there";

/// Why a payload could not be decoded.
///
/// [`Executable`](Self::Executable) is an attack or a serious mistake of the peer. All other errors mean that the peer
/// uses another protocol or version, or exceeds a limit. The text of an error has at most 256 bytes, and quotes no string
/// or binary of the payload.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The term is or contains a function or a port.
    Executable {
        /// The format's tag of the function or port.
        tag: u8,
    },
    /// The payload does not begin with 131.
    Version(u8),
    /// The payload ends before the term does.
    Truncated,
    /// No term begins with this byte.
    UnknownTag(u8),
    /// The term nests more deeply than [`Limits::depth`](crate::Limits::depth).
    Depth {
        /// The limit, in levels.
        limit: usize,
    },
    /// The term consists of more terms than [`Limits::elements`](crate::Limits::elements).
    Elements {
        /// The limit.
        limit: usize,
    },
    /// The compressed term is larger than [`Limits::inflated`](crate::Limits::inflated).
    Inflated {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The compressed term inflates by more than [`Limits::ratio`](crate::Limits::ratio).
    Ratio {
        /// The limit.
        limit: usize,
    },
    /// The decoded terms would take more than [`Limits::term_memory`](crate::Limits::term_memory).
    TermMemory {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The compressed term is damaged, or its size is not the announced one.
    Compressed,
    /// An atom is not UTF-8, or has more than 255 characters.
    Atom,
    /// An integer's sign is neither 0 nor 1.
    Integer,
    /// A float is malformed, infinite or not a number.
    Float,
    /// A bitstring uses other than 1 to 8 bits of its last byte.
    Bits,
    /// A map has a key twice.
    DuplicateKey,
    /// The term is well formed, but the type does not accept it.
    Mismatch(String),
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Executable { tag } => write!(f, "executable term (tag {tag}) refused"),
            Self::Version(byte) => write!(f, "term format {byte} instead of 131"),
            Self::Truncated => f.write_str("truncated term"),
            Self::UnknownTag(tag) => write!(f, "unknown term tag {tag}"),
            Self::Depth { limit } => write!(f, "term deeper than {limit} levels"),
            Self::Elements { limit } => write!(f, "term of more than {limit} elements"),
            Self::Inflated { limit } => write!(f, "compressed term of more than {limit} bytes"),
            Self::Ratio { limit } => write!(
                f,
                "compressed term that inflates to more than {limit} times its size"
            ),
            Self::TermMemory { limit } => {
                write!(f, "term that takes more than {limit} bytes of memory")
            }
            Self::Compressed => f.write_str("damaged compressed term"),
            Self::Atom => f.write_str("malformed atom"),
            Self::Integer => f.write_str("malformed integer"),
            Self::Float => f.write_str("malformed float"),
            Self::Bits => f.write_str("malformed bitstring"),
            Self::DuplicateKey => f.write_str("duplicate key in a map"),
            Self::Mismatch(message) => f.write_str(message),
        }
    }
}

impl Error for DecodeError {}

impl DecodeError {
    /// Returns whether the peer sent a function or port, after which a server should close the connection.
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
        let mut message = short(message);
        if let Some(WIDE_UNSUPPORTED) = message.strip_prefix(['i', 'u']) {
            message = format!(
                "a 128-bit integer in a flattened, tagged or untagged value, from which serde cannot decode it: \
                 {WIDE_ADVICE}"
            );
        }
        Self::Mismatch(message)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = Redacted(found);
        Self::custom(format_args!("invalid type: {found}, expected {expected}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = Redacted(found);
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

/// A name from a payload, cut after 64 characters.
pub(super) struct Name<'a>(pub(super) &'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(64) {
            Some((end, _)) => write!(f, "{}…", &self.0[..end]),
            None => f.write_str(self.0),
        }
    }
}

/// An unexpected value, without the text of strings.
struct Redacted<'a>(Unexpected<'a>);

impl Display for Redacted<'_> {
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

/// The longest text of an error, in bytes.
const MAX_TEXT: usize = 256;

/// Formats a message up to [`MAX_TEXT`], and no further: a peer chooses its length.
pub(super) fn short(message: impl Display) -> String {
    let mut short = Short {
        text: String::new(),
        full: false,
    };
    // An error means that the text is full or that a `Display` failed. What was written is kept.
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
        let free = MAX_TEXT - CUT.len() - self.text.len();
        if text.len() <= free {
            self.text.push_str(text);
            return Ok(());
        }
        let end = (0..=free).rev().find(|&end| text.is_char_boundary(end));
        self.text.push_str(&text[..end.unwrap_or(0)]);
        self.text.push_str(CUT);
        self.full = true;
        Err(fmt::Error)
    }
}
