//! What serde hides: where it buffers, and what for.
//!
//! A part of a value that is flattened, internally tagged or untagged is read without a type, kept in a buffer of
//! serde's own, and matched against types later. The buffer has no word for enums: it knows them only as a map
//! from the variant's name to its content, and tuples only as sequences. The bytes do not say which of the two
//! a tuple such as `{:add, 1}` is, so that decoding tries one after the other.

use std::fmt::{self, Write};

use serde::de::value::{BorrowedBytesDeserializer, SeqAccessDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Visitor};

use crate::access::Elements;
use crate::reader::Decoder;
use crate::token::Token;
use crate::{DecodeError, result};

/// What tuples that begin with an atom are taken for in serde's buffers, in the order in which it is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Guess {
    Variants,
    /// `{:ok, …}` and `{:error, …}` are variants of the standard `Result`.
    Results,
    Tuples,
}

impl Decoder<'_> {
    /// Returns whether the tuple that was begun is to pass serde's buffer as a variant.
    pub(super) fn guess_variant<'de>(
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
        self.has_guessed |= is_name;
        Ok(is_name && self.guess != Guess::Tuples)
    }
}

/// A tuple that begins with an atom, as serde's buffer has a variant.
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
        if self.decoder.guess != Guess::Results {
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

/// A term that serde's buffer has no word for, in its encoded form, under a newtype struct within one.
///
/// A `Term` that is read from the buffer takes the outer one off; the inner one tells it from a binary.
pub(super) struct Wordless<'de>(pub(super) &'de [u8]);

impl<'de> Deserializer<'de> for Wordless<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(BorrowedBytesDeserializer::new(self.0))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Returns whether what is read goes into a buffer of serde's own, which says that it expects "any value" or
/// "a type tag `…` or any other value".
pub(super) fn is_buffer<'de>(visitor: &impl Visitor<'de>) -> bool {
    expects(visitor, "any value") || expects(visitor, "a type tag")
}

/// Returns whether a map is read for a struct with a flattened field, which expects "struct …".
pub(super) fn is_of_struct<'de>(visitor: &impl Visitor<'de>) -> bool {
    expects(visitor, "struct ")
}

fn expects(visitor: &dyn Expected, start: &'static str) -> bool {
    let mut rest = Rest(start);
    // Writing ends with an error as soon as the answer is known.
    let _ = write!(rest, "{visitor}");
    rest.0.is_empty()
}

/// What is still to be written of an expected beginning.
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
