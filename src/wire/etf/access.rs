//! The inside of lists, tuples, maps and enums, one element at a time.

use serde::de::{self, DeserializeSeed, Error as _, Visitor};

use super::de::Decoder;
use super::token::{Cursor, Token};
use super::{DecodeError, tag};

/// The key under which Elixir keeps the name of a struct.
pub(super) const STRUCT_NAME: &str = "__struct__";

/// The elements of a tuple.
pub(super) struct Elements<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    pub(super) left: u32,
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
pub(super) struct List<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    pub(super) part: Token<'de>,
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

pub(super) enum Next {
    Byte(u8),
    Term,
}

impl List<'_, '_> {
    #[inline]
    pub(super) fn more(&mut self) -> Result<Option<Next>, DecodeError> {
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
                let after = self.decoder.cursor;
                self.decoder.cursor = Cursor::new(&SMALL_INTEGERS[usize::from(byte)]);
                let element = seed.deserialize(&mut *self.decoder)?;
                self.decoder.cursor = after;
                Ok(Some(element))
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
pub(super) struct Pairs<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    pub(super) left: u32,
    pub(super) skip_struct_name: bool,
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
pub(super) struct Variant<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    pub(super) arity: u32,
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
