//! The unread rest of a term, and what is read alike for many types.

use serde::de::{Error as _, Expected, Visitor};

use crate::access::{Elements, Keys, List, Next, Pairs};
use crate::guess::Guess;
use crate::memory::Budget;
use crate::number::{visit_big, visit_integer};
use crate::token::{Cursor, Token};
use crate::{DecodeError, error::short};

/// Reads one term after the other.
pub(super) struct Decoder<'de> {
    pub(super) cursor: Cursor<'de>,
    /// What `Term`s, and what serde buffers, may still take.
    pub(super) budget: Budget,
    /// What a tuple that begins with an atom is taken for where serde buffers it.
    pub(super) guess: Guess,
    /// Whether such a tuple has been read.
    pub(super) has_guessed: bool,
    /// Whether the next key is one of a struct with a flattened field, and may be no name.
    pub(super) any_key: bool,
}

impl<'de> Decoder<'de> {
    #[inline]
    pub(super) fn new(term: &'de [u8], budget: Budget, guess: Guess) -> Self {
        Self {
            cursor: Cursor::new(term),
            budget,
            guess,
            has_guessed: false,
            any_key: false,
        }
    }

    #[inline]
    pub(super) fn token(&mut self) -> Result<Token<'de>, DecodeError> {
        self.cursor.token()
    }

    /// Reads an atom that may be `nil`; anything else stays unread.
    #[inline]
    pub(super) fn nil(&mut self) -> Result<bool, DecodeError> {
        let before = self.cursor;
        if let Token::Atom("nil") = self.token()? {
            return Ok(true);
        }
        self.cursor = before;
        Ok(false)
    }

    #[inline]
    pub(super) fn integer<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Integer(value) => visit_integer(value, visitor),
            Token::Big {
                negative,
                magnitude,
            } => visit_big(negative, magnitude, visitor),
            other => Err(mismatch(&other, &visitor)),
        }
    }

    #[inline]
    pub(super) fn string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let token = self.token()?;
        match token {
            Token::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => Err(mismatch(&token, &visitor)),
            },
            Token::Nil => visitor.visit_borrowed_str(""),
            Token::Charlist(_) | Token::List(_) => {
                let point = |point| u32::try_from(point).ok().and_then(char::from_u32);
                match self.integers(token, point)? {
                    Some(text) => visitor.visit_string(text),
                    None => Err(mismatch(&token, &visitor)),
                }
            }
            other => Err(mismatch(&other, &visitor)),
        }
    }

    /// Collects the integers of a proper list, if it has nothing else and all of them convert.
    pub(super) fn integers<T, C: Default + Extend<T>>(
        &mut self,
        list: Token<'de>,
        convert: impl Fn(i64) -> Option<T>,
    ) -> Result<Option<C>, DecodeError> {
        let mut collected = C::default();
        let mut list = List {
            decoder: self,
            part: list,
        };
        loop {
            let integer = match list.more() {
                Ok(Some(Next::Byte(byte))) => byte.into(),
                Ok(Some(Next::Term)) => match list.decoder.token()? {
                    Token::Integer(value) => value,
                    _ => return Ok(None),
                },
                Ok(None) => return Ok(Some(collected)),
                // It has a tail.
                Err(_) => return Ok(None),
            };
            match convert(integer) {
                Some(value) => collected.extend([value]),
                None => return Ok(None),
            }
        }
    }

    #[inline]
    pub(super) fn elements<V: Visitor<'de>>(
        &mut self,
        arity: u32,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let mut elements = Elements {
            decoder: self,
            left: arity,
        };
        let value = visitor.visit_seq(&mut elements)?;
        complete(elements.left)?;
        Ok(value)
    }

    pub(super) fn list<V: Visitor<'de>>(
        &mut self,
        token: Token<'de>,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let mut list = List {
            decoder: self,
            part: token,
        };
        let value = visitor.visit_seq(&mut list)?;
        match list.more()? {
            None => Ok(value),
            Some(_) => Err(DecodeError::custom("more elements than the type takes")),
        }
    }

    #[inline]
    pub(super) fn pairs<V: Visitor<'de>>(
        &mut self,
        length: u32,
        keys: Keys,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let mut pairs = Pairs {
            decoder: self,
            left: length,
            keys,
        };
        let value = visitor.visit_map(&mut pairs)?;
        complete(pairs.left)?;
        Ok(value)
    }
}

/// Some visitors stop early; what follows must not be read in their elements' place.
#[inline]
fn complete(left: u32) -> Result<(), DecodeError> {
    match left {
        0 => Ok(()),
        _ => Err(DecodeError::custom("more elements than the type takes")),
    }
}

#[cold]
pub(super) fn mismatch(found: &Token<'_>, wanted: &dyn Expected) -> DecodeError {
    DecodeError::Mismatch(short(format_args!("expected {wanted}, found {found}")))
}
