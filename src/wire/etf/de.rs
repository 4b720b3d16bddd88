//! Bytes into values, borrowed where they can be.
//!
//! The bytes have passed `check`: they are whole and not too deep, so recursion is bounded and the
//! numbers of elements they announce are true.

use serde::de::{self, Error as _, Expected, Visitor};

use super::access::{Elements, List, Pairs, STRUCT_NAME, Variant};
use super::memory::Budget;
use super::token::{Cursor, Token, latin1};
use super::{DecodeError, TERM_TOKEN, error::short};

/// Reads one term after the other.
pub(super) struct Decoder<'de> {
    pub(super) cursor: Cursor<'de>,
    /// What `Term`s, and what serde buffers, may still take.
    budget: Budget,
}

impl<'de> Decoder<'de> {
    #[inline]
    pub(super) fn new(term: &'de [u8], budget: Budget) -> Self {
        Self {
            cursor: Cursor::new(term),
            budget,
        }
    }

    #[inline]
    pub(super) fn token(&mut self) -> Result<Token<'de>, DecodeError> {
        self.cursor.token()
    }

    /// Reads an atom that may be `nil`; anything else stays unread.
    #[inline]
    fn nil(&mut self) -> Result<bool, DecodeError> {
        let before = self.cursor;
        if let Token::Atom("nil") = self.token()? {
            return Ok(true);
        }
        self.cursor = before;
        Ok(false)
    }

    #[inline]
    fn integer<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
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
    fn float<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Float(value) => visitor.visit_f64(value),
            Token::Integer(value) => visitor.visit_f64(value as f64),
            token @ Token::Big {
                negative,
                magnitude,
            } => match wide(magnitude) {
                Some(wide) if negative => visitor.visit_f64(-(wide as f64)),
                Some(wide) => visitor.visit_f64(wide as f64),
                None => Err(mismatch(&token, &visitor)),
            },
            other => Err(mismatch(&other, &visitor)),
        }
    }

    #[inline]
    fn string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            token @ Token::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => Err(mismatch(&token, &visitor)),
            },
            Token::Nil => visitor.visit_borrowed_str(""),
            Token::Charlist(bytes) => visitor.visit_string(latin1(bytes)),
            token @ Token::List(length) => match self.charlist(length)? {
                Some(text) => visitor.visit_string(text),
                None => Err(mismatch(&token, &visitor)),
            },
            other => Err(mismatch(&other, &visitor)),
        }
    }

    /// The text of a list of code points, if it is one.
    fn charlist(&mut self, length: u32) -> Result<Option<String>, DecodeError> {
        let mut text = String::new();
        for _ in 0..length {
            let Token::Integer(point) = self.token()? else {
                return Ok(None);
            };
            let Some(point) = u32::try_from(point).ok().and_then(char::from_u32) else {
                return Ok(None);
            };
            text.push(point);
        }
        Ok(matches!(self.token()?, Token::Nil).then_some(text))
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

    fn list<V: Visitor<'de>>(
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
    fn pairs<V: Visitor<'de>>(
        &mut self,
        length: u32,
        skip_struct_name: bool,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let mut pairs = Pairs {
            decoder: self,
            left: length,
            skip_struct_name,
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
fn mismatch(found: &Token<'_>, wanted: &dyn Expected) -> DecodeError {
    DecodeError::Mismatch(short(format_args!("expected {wanted}, found {found}")))
}

#[inline]
fn visit_integer<'de, V: Visitor<'de>>(value: i64, visitor: V) -> Result<V::Value, DecodeError> {
    match u64::try_from(value) {
        Ok(value) => visitor.visit_u64(value),
        Err(_) => visitor.visit_i64(value),
    }
}

fn visit_big<'de, V: Visitor<'de>>(
    negative: bool,
    magnitude: &[u8],
    visitor: V,
) -> Result<V::Value, DecodeError> {
    let token = Token::Big {
        negative,
        magnitude,
    };
    let Some(wide) = wide(magnitude) else {
        return Err(mismatch(&token, &visitor));
    };
    if negative {
        return match 0_i128.checked_sub_unsigned(wide) {
            Some(value) => visitor.visit_i128(value),
            None => Err(mismatch(&token, &visitor)),
        };
    }
    match (u64::try_from(wide), i128::try_from(wide)) {
        (Ok(value), _) => visitor.visit_u64(value),
        (_, Ok(value)) => visitor.visit_i128(value),
        _ => visitor.visit_u128(wide),
    }
}

fn wide(magnitude: &[u8]) -> Option<u128> {
    let mut bytes = [0; 16];
    bytes.get_mut(..magnitude.len())?.copy_from_slice(magnitude);
    Some(u128::from_le_bytes(bytes))
}

/// The types that are read alike; serde has a method for each.
macro_rules! read {
    ($read:ident: $($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            self.$read(visitor)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut Decoder<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let token = self.token()?;
        self.budget.charge(&token)?;
        match token {
            Token::Integer(value) => visit_integer(value, visitor),
            Token::Big {
                negative,
                magnitude,
            } => visit_big(negative, magnitude, visitor),
            Token::Float(value) => visitor.visit_f64(value),
            Token::Atom("nil") => visitor.visit_unit(),
            Token::Atom("true") => visitor.visit_bool(true),
            Token::Atom("false") => visitor.visit_bool(false),
            Token::Atom(text) => visitor.visit_borrowed_str(text),
            Token::Latin1Atom(text) => visitor.visit_string(latin1(text)),
            Token::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => visitor.visit_borrowed_bytes(bytes),
            },
            token @ (Token::Nil | Token::Charlist(_) | Token::List(_)) => self.list(token, visitor),
            Token::Tuple(arity) => self.elements(arity, visitor),
            Token::Map(length) => self.pairs(length, false, visitor),
            token @ (Token::Bits(..) | Token::Opaque { .. } | Token::OldFun(_)) => {
                Err(mismatch(&token, &visitor))
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Atom("true") => visitor.visit_bool(true),
            Token::Atom("false") => visitor.visit_bool(false),
            other => Err(mismatch(&other, &visitor)),
        }
    }

    read! {
        integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
                 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }
    read! { float: deserialize_f32 deserialize_f64 }
    read! { string: deserialize_char deserialize_str deserialize_string }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Binary(bytes) => visitor.visit_borrowed_bytes(bytes),
            other => Err(mismatch(&other, &visitor)),
        }
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.nil()? {
            true => visitor.visit_none(),
            false => visitor.visit_some(self),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Atom("nil") => visitor.visit_unit(),
            other => Err(mismatch(&other, &visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_unit(visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match name {
            TERM_TOKEN => visitor.visit_borrowed_bytes(self.budget.skip(&mut self.cursor)?),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            token @ (Token::Nil | Token::Charlist(_) | Token::List(_)) => self.list(token, visitor),
            other => Err(mismatch(&other, &visitor)),
        }
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        arity: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Tuple(found) if found as usize == arity => self.elements(found, visitor),
            other => Err(mismatch(&other, &visitor)),
        }
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        arity: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(arity, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Map(length) => self.pairs(length, false, visitor),
            other => Err(mismatch(&other, &visitor)),
        }
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Map(length) => {
                let skip_struct_name = !fields.contains(&STRUCT_NAME);
                self.pairs(length, skip_struct_name, visitor)
            }
            other => Err(mismatch(&other, &visitor)),
        }
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let before = self.cursor;
        let token = self.token()?;
        let elements = match token {
            Token::Atom(_) | Token::Latin1Atom(_) => {
                self.cursor = before;
                0
            }
            Token::Tuple(arity @ 1..) => {
                let mut ahead = self.cursor;
                match ahead.token()? {
                    Token::Atom(_) | Token::Latin1Atom(_) => arity,
                    other => return Err(mismatch(&other, &"an atom")),
                }
            }
            other => return Err(mismatch(&other, &visitor)),
        };
        visitor.visit_enum(Variant {
            decoder: self,
            arity: elements,
        })
    }

    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Atom(text) => visitor.visit_borrowed_str(text),
            Token::Latin1Atom(text) => visitor.visit_string(latin1(text)),
            token @ Token::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => Err(mismatch(&token, &visitor)),
            },
            other => Err(mismatch(&other, &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.cursor.skip()?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}
