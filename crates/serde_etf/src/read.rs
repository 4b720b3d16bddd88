//! The reads that several serde methods share.

use serde::de::{Error as _, Visitor};

use crate::DecodeError;
use crate::de_compound::{Elements, Keys, List, Next, Pairs};
use crate::decoder::Decoder;
use crate::number::{visit_big, visit_integer};
use crate::token::Token;

impl<'de> Decoder<'de> {
    /// Reads the atom `nil` if it comes next, and returns whether it did.
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
            other => Err(other.mismatch(&visitor)),
        }
    }

    #[inline]
    pub(super) fn string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let token = self.token()?;
        match token {
            Token::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => Err(token.mismatch(&visitor)),
            },
            Token::Nil => visitor.visit_borrowed_str(""),
            Token::Charlist(_) | Token::List(_) => {
                let point = |point| u32::try_from(point).ok().and_then(char::from_u32);
                match self.integers(token, point)? {
                    Some(text) => visitor.visit_string(text),
                    None => Err(token.mismatch(&visitor)),
                }
            }
            other => Err(other.mismatch(&visitor)),
        }
    }

    /// Collects the integers of a proper list; `None` if it has other elements or one that does not convert.
    pub(super) fn integers<T, C: Default + Extend<T>>(
        &mut self,
        list: Token<'de>,
        convert: impl Fn(i64) -> Option<T>,
    ) -> Result<Option<C>, DecodeError> {
        let mut collected = C::default();
        let mut list = List {
            decoder: self,
            rest: list,
        };
        loop {
            let integer = match list.advance() {
                Ok(Some(Next::Byte(byte))) => byte.into(),
                Ok(Some(Next::Term)) => match list.decoder.token()? {
                    Token::Integer(value) => value,
                    _ => return Ok(None),
                },
                Ok(None) => return Ok(Some(collected)),
                // The list is improper.
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
            rest: token,
        };
        let value = visitor.visit_seq(&mut list)?;
        match list.advance()? {
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

/// Returns an error if elements are left, which some visitors leave unread.
#[inline]
fn complete(left: u32) -> Result<(), DecodeError> {
    match left {
        0 => Ok(()),
        _ => Err(DecodeError::custom("more elements than the type takes")),
    }
}
