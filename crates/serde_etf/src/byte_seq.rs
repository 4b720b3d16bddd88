//! A binary decoded as a list or tuple of bytes.

use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

use crate::DecodeError;
use crate::token::Token;

/// The bytes of a binary as elements, for element types that accept `u8` only.
pub(super) struct ByteSeq<'de> {
    rest: &'de [u8],
    whole: &'de [u8],
}

impl<'de> ByteSeq<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self {
            rest: bytes,
            whole: bytes,
        }
    }
}

impl<'de> de::SeqAccess<'de> for ByteSeq<'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some((&byte, rest)) = self.rest.split_first() else {
            // With no element to decode, only the size tells whether the type is a byte.
            return match size_of::<T::Value>() == size_of::<u8>() {
                true => Ok(None),
                false => Err(Token::Binary(self.whole).mismatch(&"a list")),
            };
        };
        self.rest = rest;
        let element = Byte {
            byte,
            whole: self.whole,
        };
        seed.deserialize(element).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Byte<'de> {
    byte: u8,
    whole: &'de [u8],
}

impl<'de> Deserializer<'de> for Byte<'de> {
    type Error = DecodeError;

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u8(self.byte)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(Token::Binary(self.whole).mismatch(&"a list"))
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
