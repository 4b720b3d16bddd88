//! Tokens: the heads of encoded terms.
//!
//! A term is a token, followed by as many terms as the token [has children](Token::children). The
//! check, the typed decoder and the dynamic `Term` all read tokens; only this module reads tags.

use std::fmt;

use serde::de::Expected;

use crate::error::{Name, short};
use crate::{DecodeError, tag};

/// The most characters that Erlang allows in an atom.
pub(super) const MAX_ATOM_CHARS: usize = 255;

/// The head of one term. Its text and numbers are valid.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token<'a> {
    Integer(i64),
    /// An integer beyond 64 bits; the last byte of the little-endian magnitude is not zero.
    Big {
        negative: bool,
        magnitude: &'a [u8],
    },
    Float(f64),
    Atom(&'a str),
    /// An atom in Latin-1 that is not ASCII.
    Latin1Atom(&'a [u8]),
    Nil,
    /// A list of small integers, packed.
    Charlist(&'a [u8]),
    /// The number of elements, which a tail follows.
    List(u32),
    Tuple(u32),
    /// The number of keys, each of which its value follows.
    Map(u32),
    Binary(&'a [u8]),
    /// The last byte uses only the given number of its upper bits, 1 to 8.
    Bits(&'a [u8], u8),
    /// A pid, reference, port or function, which only the node that it came from can use.
    Opaque {
        tag: u8,
    },
    /// A function as nodes before OTP 23 wrote it, with the number of terms that follow.
    OldFun(u32),
}

impl Token<'_> {
    /// The number of terms that follow before this one is complete.
    #[inline]
    pub(crate) fn children(&self) -> u64 {
        match *self {
            Self::List(n) => u64::from(n) + 1,
            Self::Map(n) => u64::from(n) * 2,
            Self::Tuple(n) | Self::OldFun(n) => u64::from(n),
            _ => 0,
        }
    }
}

impl Token<'_> {
    /// Returns the error for a token that the type does not take.
    #[cold]
    pub(super) fn mismatch(&self, wanted: &dyn Expected) -> DecodeError {
        DecodeError::Mismatch(short(format_args!("expected {wanted}, found {self}")))
    }
}

/// For error messages: names and numbers, but no text.
impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Integer(value) => write!(f, "integer `{value}`"),
            Self::Big {
                negative,
                magnitude,
            } if magnitude.len() <= 64 => {
                f.write_str(if negative {
                    "integer `-0x"
                } else {
                    "integer `0x"
                })?;
                magnitude
                    .iter()
                    .rev()
                    .try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("`")
            }
            Self::Big { magnitude, .. } => write!(f, "an integer of {} bytes", magnitude.len()),
            Self::Float(value) => write!(f, "float `{value:?}`"),
            Self::Atom(text) => write!(f, "atom `{}`", Name(text)),
            Self::Latin1Atom(text) => write!(f, "atom `{}`", Name(&latin1(text))),
            Self::Nil => f.write_str("an empty list"),
            Self::Charlist(_) | Self::List(_) => f.write_str("a list"),
            Self::Tuple(arity) => write!(f, "a tuple of {arity}"),
            Self::Map(_) => f.write_str("a map"),
            Self::Binary(bytes) => write!(f, "a binary of {} bytes", bytes.len()),
            Self::Bits(..) => f.write_str("a bitstring"),
            Self::Opaque { .. } | Self::OldFun(_) => f.write_str("a pid, reference or function"),
        }
    }
}

/// The unread rest of encoded terms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Reads the head of the next term.
    #[inline]
    pub(crate) fn token(&mut self) -> Result<Token<'a>, DecodeError> {
        Ok(match self.u8()? {
            tag::SMALL_INTEGER => Token::Integer(self.u8()?.into()),
            tag::INTEGER => Token::Integer(i32::from_be_bytes(self.array()?).into()),
            tag::SMALL_BIG => {
                let length = self.u8()?.into();
                self.big(length)?
            }
            tag::LARGE_BIG => {
                let length = self.u32()?;
                self.big(length)?
            }
            tag::NEW_FLOAT => finite(f64::from_be_bytes(self.array()?))?,
            tag::FLOAT => finite(float_text(self.take(31)?)?)?,
            tag @ (tag::SMALL_ATOM_UTF8 | tag::ATOM_UTF8 | tag::SMALL_ATOM | tag::ATOM) => {
                self.atom(tag)?
            }
            tag::SMALL_TUPLE => Token::Tuple(self.u8()?.into()),
            tag::LARGE_TUPLE => Token::Tuple(self.u32()?),
            tag::NIL => Token::Nil,
            tag::STRING => {
                let length = self.u16()?.into();
                Token::Charlist(self.take(length)?)
            }
            tag::LIST => Token::List(self.u32()?),
            tag::BINARY => {
                let length = self.u32()?;
                Token::Binary(self.take(length as usize)?)
            }
            tag::BIT_BINARY => self.bits()?,
            tag::MAP => Token::Map(self.u32()?),
            tag => self.rare(tag)?,
        })
    }

    /// Skips one term of any depth, and returns its bytes.
    pub(crate) fn skip(&mut self) -> Result<&'a [u8], DecodeError> {
        let whole = *self;
        let mut pending = 1_u64;
        while pending > 0 {
            pending = (pending - 1).saturating_add(self.token()?.children());
        }
        Ok(whole.until(self))
    }

    /// Returns the bytes between this cursor and a later one.
    #[inline]
    pub(super) fn until(&self, later: &Self) -> &'a [u8] {
        &self.rest[..self.rest.len() - later.rest.len()]
    }

    #[cold]
    fn rare(&mut self, tag: u8) -> Result<Token<'a>, DecodeError> {
        match tag {
            tag::PID => self.node_and(9)?,
            tag::NEW_PID => self.node_and(12)?,
            tag::REFERENCE | tag::PORT => self.node_and(5)?,
            tag::NEW_PORT => self.node_and(8)?,
            tag::V4_PORT => self.node_and(12)?,
            tag::NEW_REFERENCE => {
                let words = usize::from(self.u16()?);
                self.node_and(1 + 4 * words)?;
            }
            tag::NEWER_REFERENCE => {
                let words = usize::from(self.u16()?);
                self.node_and(4 + 4 * words)?;
            }
            tag::EXPORT => {
                self.any_atom()?;
                self.any_atom()?;
                self.integer()?;
            }
            tag::NEW_FUN => {
                // The size counts its own four bytes.
                let size = self.u32()? as usize;
                self.take(size.checked_sub(4).ok_or(DecodeError::Truncated)?)?;
            }
            tag::FUN => {
                let free = self.u32()?;
                match self.u8()? {
                    tag::PID => self.node_and(9)?,
                    tag::NEW_PID => self.node_and(12)?,
                    other => return Err(DecodeError::UnknownTag(other)),
                }
                self.any_atom()?;
                self.integer()?;
                self.integer()?;
                return Ok(Token::OldFun(free));
            }
            _ => return Err(DecodeError::UnknownTag(tag)),
        }
        Ok(Token::Opaque { tag })
    }

    fn node_and(&mut self, length: usize) -> Result<(), DecodeError> {
        self.any_atom()?;
        self.take(length)?;
        Ok(())
    }

    fn any_atom(&mut self) -> Result<Token<'a>, DecodeError> {
        let tag = self.u8()?;
        self.atom(tag)
    }

    fn integer(&mut self) -> Result<(), DecodeError> {
        match self.u8()? {
            tag::SMALL_INTEGER => self.take(1)?,
            tag::INTEGER => self.take(4)?,
            other => return Err(DecodeError::UnknownTag(other)),
        };
        Ok(())
    }

    #[inline]
    fn atom(&mut self, tag: u8) -> Result<Token<'a>, DecodeError> {
        let length = match tag {
            tag::SMALL_ATOM_UTF8 | tag::SMALL_ATOM => self.u8()?.into(),
            tag::ATOM_UTF8 | tag::ATOM => self.u16()?.into(),
            other => return Err(DecodeError::UnknownTag(other)),
        };
        let bytes = self.take(length)?;
        if matches!(tag, tag::SMALL_ATOM | tag::ATOM) && !bytes.is_ascii() {
            return match length {
                0..=MAX_ATOM_CHARS => Ok(Token::Latin1Atom(bytes)),
                _ => Err(DecodeError::Atom),
            };
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if length <= MAX_ATOM_CHARS || text.chars().count() <= MAX_ATOM_CHARS => {
                Ok(Token::Atom(text))
            }
            _ => Err(DecodeError::Atom),
        }
    }

    fn big(&mut self, length: u32) -> Result<Token<'a>, DecodeError> {
        let negative = match self.u8()? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::Integer),
        };
        let bytes = self.take(length as usize)?;
        let used = bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |i| i + 1);
        let magnitude = &bytes[..used];
        Ok(match small(negative, magnitude) {
            Some(value) => Token::Integer(value),
            None => Token::Big {
                negative,
                magnitude,
            },
        })
    }

    fn bits(&mut self) -> Result<Token<'a>, DecodeError> {
        let length = self.u32()? as usize;
        let used = self.u8()?;
        let bytes = self.take(length)?;
        match (length, used) {
            (0, 0) => Ok(Token::Binary(bytes)),
            (1.., 8) => Ok(Token::Binary(bytes)),
            (1.., 1..8) => Ok(Token::Bits(bytes, used)),
            _ => Err(DecodeError::Bits),
        }
    }

    #[inline]
    fn u8(&mut self) -> Result<u8, DecodeError> {
        let (&first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    #[inline]
    fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    #[inline]
    fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Returns the text of Latin-1 bytes, each of which is a code point.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Returns the integer if it fits an `i64`, which [`Token::Integer`] and `Term` hold without allocating.
pub(crate) fn small(negative: bool, magnitude: &[u8]) -> Option<i64> {
    let mut bytes = [0; 8];
    bytes.get_mut(..magnitude.len())?.copy_from_slice(magnitude);
    let value = u64::from_le_bytes(bytes);
    match negative {
        false => i64::try_from(value).ok(),
        true => 0_i64.checked_sub_unsigned(value),
    }
}

/// Returns an error for an infinity or NaN, which Erlang refuses too.
#[inline]
fn finite<'a>(value: f64) -> Result<Token<'a>, DecodeError> {
    match value.is_finite() {
        true => Ok(Token::Float(value)),
        false => Err(DecodeError::Float),
    }
}

/// Reads the form of releases before R15: `%.20e`, padded with zero bytes.
fn float_text(padded: &[u8]) -> Result<f64, DecodeError> {
    let end = padded
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(padded.len());
    std::str::from_utf8(&padded[..end])
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(DecodeError::Float)
}
