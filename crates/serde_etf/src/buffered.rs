//! Values that serde decodes from a buffer of its own.
//!
//! serde reads a flattened, internally tagged or untagged value without a type, keeps it in a buffer, and decodes
//! types from that later. The buffer has no form for enums, which it expects as a map from the variant's name to its
//! content, and holds tuples as sequences. The bytes do not tell which of the two a tuple such as `{:add, 1}`
//! is, so decoding tries one after the other ([`TupleAs`](crate::decoder::TupleAs)).

use std::fmt::{self, Write};

use serde::de::value::{BorrowedBytesDeserializer, SeqAccessDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Visitor};

use crate::de_compound::Elements;
use crate::decoder::{Decoder, TupleAs};
use crate::token::Token;
use crate::{DecodeError, result};

impl Decoder<'_> {
    /// Returns whether the tuple whose head was read is given to serde's buffer as a variant.
    pub(super) fn is_variant<'de>(
        &mut self,
        arity: u32,
        visitor: &impl Visitor<'de>,
    ) -> Result<bool, DecodeError> {
        if arity == 0 || !is_buffer(visitor) {
            return Ok(false);
        }
        let mut ahead = self.cursor;
        let is_name = match ahead.token()? {
            Token::Atom(name) => !matches!(name, "nil" | "true" | "false"),
            Token::Latin1Atom(_) => true,
            _ => false,
        };
        self.is_ambiguous |= is_name;
        Ok(is_name && self.tuple_as != TupleAs::Tuple)
    }
}

/// A tuple that begins with an atom, in the form that serde's buffer expects of a variant.
pub(super) struct VariantMap<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    arity: u32,
    is_named: bool,
}

impl<'a, 'de> VariantMap<'a, 'de> {
    pub(super) fn new(decoder: &'a mut Decoder<'de>, arity: u32) -> Self {
        Self {
            decoder,
            arity,
            is_named: false,
        }
    }
}

impl<'de> de::MapAccess<'de> for VariantMap<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        if self.is_named {
            return Ok(None);
        }
        self.is_named = true;
        if self.decoder.tuple_as != TupleAs::Result {
            return seed.deserialize(&mut *self.decoder).map(Some);
        }
        let name = result::decoded(self.decoder.token()?);
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        if self.arity == 2 {
            return seed.deserialize(&mut *self.decoder);
        }
        seed.deserialize(SeqAccessDeserializer::new(Elements {
            decoder: &mut *self.decoder,
            left: self.arity - 1,
        }))
    }
}

/// A term that serde's buffer has no form for, passed in its encoded form.
///
/// It is wrapped in two newtype structs. A `Term` that is decoded from the buffer removes the outer one, and the
/// inner one distinguishes it from a binary.
pub(super) struct EncodedTerm<'de>(pub(super) &'de [u8]);

impl<'de> Deserializer<'de> for EncodedTerm<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(BorrowedBytesDeserializer::new(self.0))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Returns whether the visitor fills serde's buffer: it expects "any value", or "a type tag `…` or any other value".
pub(super) fn is_buffer<'de>(visitor: &impl Visitor<'de>) -> bool {
    expects(visitor, "any value") || expects(visitor, "a type tag")
}

/// Returns whether the visitor of a map is that of a struct with a flattened field: it expects "struct …".
pub(super) fn is_flattening<'de>(visitor: &impl Visitor<'de>) -> bool {
    expects(visitor, "struct ")
}

fn expects(visitor: &dyn Expected, start: &'static str) -> bool {
    let mut rest = Rest(start);
    // Writing stops with an error as soon as the answer is known.
    let _ = write!(rest, "{visitor}");
    rest.0.is_empty()
}

/// The rest of an expected beginning that has not been written yet.
struct Rest(&'static str);

impl Write for Rest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let common = text.len().min(self.0.len());
        match text.get(..common) == self.0.get(..common) && !self.0.is_empty() {
            true => {
                self.0 = &self.0[common..];
                Ok(())
            }
            false => Err(fmt::Error),
        }
    }
}
