//! A binary where a list or tuple of bytes is wanted.

use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

use crate::DecodeError;
use crate::reader::mismatch;
use crate::token::Token;

/// The bytes of a binary as elements, for types that take `u8` and nothing else.
pub(super) struct Octets<'de> {
    rest: &'de [u8],
    whole: &'de [u8],
}

impl<'de> Octets<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self {
            rest: bytes,
            whole: bytes,
        }
    }
}

impl<'de> de::SeqAccess<'de> for Octets<'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some((&byte, rest)) = self.rest.split_first() else {
            // Of an empty binary no element tells whether it is wanted.
            return match size_of::<T::Value>() == size_of::<u8>() {
                true => Ok(None),
                false => Err(mismatch(&Token::Binary(self.whole), &"a list")),
            };
        };
        self.rest = rest;
        let octet = Octet {
            byte,
            whole: self.whole,
        };
        seed.deserialize(octet).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Octet<'de> {
    byte: u8,
    whole: &'de [u8],
}

impl<'de> Deserializer<'de> for Octet<'de> {
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
        Err(mismatch(&Token::Binary(self.whole), &"a list"))
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
