//! The serde methods of the decoder: bytes into values, borrowed where possible.
//!
//! The bytes have passed `check`, so recursion is bounded and announced lengths are true.

use std::mem;

use serde::de::{self, Visitor};

use crate::buffered::{EncodedTerm, VariantMap, is_buffer, is_flattening};
use crate::byte_seq::ByteSeq;
use crate::de_compound::{Keys, STRUCT_NAME};
use crate::de_enum::Variant;
use crate::decoder::Decoder;
use crate::number::{nearest_f32, nearest_f64, visit_big, visit_integer};
use crate::token::{Token, latin1};
use crate::{DecodeError, marker, result};

/// Implements serde methods by one shared read.
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
        let before = self.cursor;
        let token = self.token()?;
        self.budget.charge(&token)?;
        match token {
            Token::Integer(value) => visit_integer(value, visitor),
            // serde's buffer has no form for these. It keeps the encoded term, which a `Term` can read.
            Token::Big { .. } | Token::Bits(..) | Token::Opaque { .. } | Token::OldFun(_)
                if is_buffer(&visitor) =>
            {
                self.cursor = before;
                let term = self.cursor.skip()?;
                visitor.visit_newtype_struct(EncodedTerm(term))
            }
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
            Token::Tuple(arity) => match self.is_variant(arity, &visitor)? {
                true => visitor.visit_map(VariantMap::new(self, arity)),
                false => self.elements(arity, visitor),
            },
            Token::Map(length) => self.pairs(length, Keys::Map, visitor),
            token @ (Token::Bits(..) | Token::Opaque { .. } | Token::OldFun(_)) => {
                Err(token.mismatch(&visitor))
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Atom("true") => visitor.visit_bool(true),
            Token::Atom("false") => visitor.visit_bool(false),
            other => Err(other.mismatch(&visitor)),
        }
    }

    read! {
        integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
                 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }
    read! { string: deserialize_char deserialize_str deserialize_string }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let token = self.token()?;
        let value = match token {
            Token::Float(value) => value,
            Token::Integer(value) => value as f64,
            Token::Big {
                negative,
                magnitude,
            } => nearest_f64(negative, magnitude),
            other => return Err(other.mismatch(&visitor)),
        };
        match value.is_finite() {
            true => visitor.visit_f64(value),
            false => Err(token.mismatch(&visitor)),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let token = self.token()?;
        let value = match token {
            Token::Float(value) => value as f32,
            Token::Integer(value) => value as f32,
            Token::Big {
                negative,
                magnitude,
            } => nearest_f32(negative, magnitude),
            other => return Err(other.mismatch(&visitor)),
        };
        match value.is_finite() {
            true => visitor.visit_f32(value),
            false => Err(token.mismatch(&visitor)),
        }
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Binary(bytes) => visitor.visit_borrowed_bytes(bytes),
            Token::Nil => visitor.visit_borrowed_bytes(&[]),
            Token::Charlist(bytes) => visitor.visit_borrowed_bytes(bytes),
            token @ Token::List(_) => match self.integers(token, |byte| u8::try_from(byte).ok())? {
                Some(bytes) => visitor.visit_byte_buf(bytes),
                None => Err(token.mismatch(&visitor)),
            },
            other => Err(other.mismatch(&visitor)),
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
            other => Err(other.mismatch(&visitor)),
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
            marker::TERM => visitor.visit_borrowed_bytes(self.budget.skip(&mut self.cursor)?),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            token @ (Token::Nil | Token::Charlist(_) | Token::List(_)) => self.list(token, visitor),
            Token::Binary(bytes) => visitor.visit_seq(ByteSeq::new(bytes)),
            other => Err(other.mismatch(&visitor)),
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
            Token::Binary(bytes) if bytes.len() == arity && arity > 0 => {
                visitor.visit_seq(ByteSeq::new(bytes))
            }
            other => Err(other.mismatch(&visitor)),
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
            Token::Map(length) if is_flattening(&visitor) => {
                self.pairs(length, Keys::Flattened, visitor)
            }
            Token::Map(length) => self.pairs(length, Keys::Map, visitor),
            other => Err(other.mismatch(&visitor)),
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
                let keys = match fields.contains(&STRUCT_NAME) {
                    true => Keys::Map,
                    false => Keys::Struct,
                };
                self.pairs(length, keys, visitor)
            }
            other => Err(other.mismatch(&visitor)),
        }
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
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
                    other => return Err(other.mismatch(&"an atom")),
                }
            }
            other => return Err(other.mismatch(&visitor)),
        };
        visitor.visit_enum(Variant {
            decoder: self,
            arity: elements,
            is_result: result::is(name, variants),
        })
    }

    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let any_key = mem::take(&mut self.any_key);
        match self.token()? {
            // A key that a flattened map may have.
            Token::Integer(value) if any_key => visit_integer(value, visitor),
            Token::Float(value) if any_key => visitor.visit_f64(value),
            Token::Atom("true") if any_key => visitor.visit_bool(true),
            Token::Atom("false") if any_key => visitor.visit_bool(false),
            Token::Atom(text) => visitor.visit_borrowed_str(text),
            Token::Latin1Atom(text) => visitor.visit_string(latin1(text)),
            token @ Token::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => Err(token.mismatch(&visitor)),
            },
            other => Err(other.mismatch(&visitor)),
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
