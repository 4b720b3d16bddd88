//! Bytes into values, borrowed where they can be.
//!
//! The bytes have passed `check`: they are whole and not too deep, so recursion is bounded and the
//! numbers of elements they announce are true.

use std::fmt::Display;

use serde::de::{self, DeserializeSeed, Error as _, Expected, Visitor};

use super::token::{Cursor, Token, latin1};
use super::{DecodeError, TERM_TOKEN, tag};

/// Reads one term after the other.
pub(super) struct Decoder<'de> {
    cursor: Cursor<'de>,
}

impl<'de> Decoder<'de> {
    #[inline]
    pub(super) fn new(term: &'de [u8]) -> Self {
        Self {
            cursor: Cursor::new(term),
        }
    }

    #[inline]
    fn token(&mut self) -> Result<Token<'de>, DecodeError> {
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
    fn elements<V: Visitor<'de>>(
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
    DecodeError::Mismatch(format!("expected {wanted}, found {found}"))
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

impl<'de> de::Deserializer<'de> for &mut Decoder<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
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

    #[inline]
    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.integer(visitor)
    }

    #[inline]
    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.integer(visitor)
    }

    #[inline]
    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.integer(visitor)
    }

    #[inline]
    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.integer(visitor)
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.integer(visitor)
    }

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.integer(visitor)
    }

    #[inline]
    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.integer(visitor)
    }

    #[inline]
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.integer(visitor)
    }

    #[inline]
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.integer(visitor)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.integer(visitor)
    }

    #[inline]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.float(visitor)
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.float(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.string(visitor)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.string(visitor)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.string(visitor)
    }

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
            TERM_TOKEN => visitor.visit_borrowed_bytes(self.cursor.skip()?),
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
            Token::Binary(bytes) => visitor.visit_borrowed_bytes(bytes),
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

/// The key under which Elixir keeps the name of a struct.
const STRUCT_NAME: &str = "__struct__";

/// The elements of a tuple.
struct Elements<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: u32,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left as usize)
    }
}

/// The elements of a list: what is left of its current part, `List`, `Charlist` or `Nil`.
///
/// The tail of a part may be a list again; Erlang takes both for one list.
struct List<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    part: Token<'de>,
}

/// Every byte of a packed list as the term it stands for, so that it is decoded like any other.
static SMALL_INTEGERS: [[u8; 2]; 256] = {
    let mut terms = [[tag::SMALL_INTEGER, 0]; 256];
    let mut byte = 0;
    while byte < 256 {
        terms[byte][1] = byte as u8;
        byte += 1;
    }
    terms
};

enum Next {
    Byte(u8),
    Term,
}

impl List<'_, '_> {
    #[inline]
    fn more(&mut self) -> Result<Option<Next>, DecodeError> {
        loop {
            match &mut self.part {
                Token::List(0) => self.part = self.decoder.token()?,
                Token::List(left) => {
                    *left -= 1;
                    return Ok(Some(Next::Term));
                }
                Token::Charlist([]) => self.part = Token::Nil,
                Token::Charlist(bytes) => {
                    let (first, rest) = bytes.split_first().expect("not empty");
                    *bytes = rest;
                    return Ok(Some(Next::Byte(*first)));
                }
                Token::Nil => return Ok(None),
                tail => {
                    let message = format_args!("expected a proper list, found the tail {tail}");
                    return Err(DecodeError::custom(message));
                }
            }
        }
    }
}

impl<'de> de::SeqAccess<'de> for List<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        match self.more()? {
            None => Ok(None),
            Some(Next::Term) => seed.deserialize(&mut *self.decoder).map(Some),
            Some(Next::Byte(byte)) => {
                let term = &SMALL_INTEGERS[usize::from(byte)];
                seed.deserialize(&mut Decoder::new(term)).map(Some)
            }
        }
    }

    fn size_hint(&self) -> Option<usize> {
        match self.part {
            Token::List(left) => Some(left as usize),
            Token::Charlist(bytes) => Some(bytes.len()),
            _ => Some(0),
        }
    }
}

/// The pairs of a map.
struct Pairs<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: u32,
    skip_struct_name: bool,
}

impl<'de> de::MapAccess<'de> for Pairs<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        while self.left > 0 {
            self.left -= 1;
            if self.skip_struct_name {
                let before = self.decoder.cursor;
                if let Token::Atom(STRUCT_NAME) = self.decoder.token()? {
                    self.decoder.cursor.skip()?;
                    continue;
                }
                self.decoder.cursor = before;
            }
            return seed.deserialize(&mut *self.decoder).map(Some);
        }
        Ok(None)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        seed.deserialize(&mut *self.decoder)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left as usize)
    }
}

/// An enum: an atom, or a tuple that begins with one. `arity` is 0 for the bare atom.
struct Variant<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    arity: u32,
}

impl Variant<'_, '_> {
    #[inline]
    fn is_tuple_with(&self, elements: usize) -> Result<(), DecodeError> {
        match self.arity as usize {
            arity if arity == elements + 1 => Ok(()),
            0 => Err(DecodeError::custom("expected a tuple, found a bare atom")),
            arity => Err(DecodeError::custom(format_args!(
                "expected a tuple of {}, found a tuple of {arity}",
                elements + 1
            ))),
        }
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), DecodeError> {
        let variant = seed.deserialize(&mut *self.decoder)?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn unit_variant(self) -> Result<(), DecodeError> {
        match self.arity {
            0 => Ok(()),
            arity => Err(DecodeError::custom(format_args!(
                "expected a bare atom, found a tuple of {arity}"
            ))),
        }
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        self.is_tuple_with(1)?;
        seed.deserialize(self.decoder)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        elements: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.is_tuple_with(elements)?;
        self.decoder.elements(self.arity - 1, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.is_tuple_with(1)?;
        de::Deserializer::deserialize_struct(self.decoder, "", fields, visitor)
    }
}

impl de::Error for DecodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Mismatch(message.to_string())
    }
}
