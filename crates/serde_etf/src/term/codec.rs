//! The serde implementations of `Term`, lossless with this crate's encoder and decoder.
//!
//! serde has no form for atoms, bitstrings, improper lists and pids. They pass under [names](crate::marker) that only
//! this format knows. Other formats get a string for an atom, and bytes for the rest.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeTuple, Serializer};

use super::encode::{self, Unencodable};
use super::{Term, read};
use crate::{encode_into, marker};

/// This crate's encoder gets the whole encoded term; any other serializer gets one value after the other.
impl Serialize for Term {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(marker::TERM, &Content(self))
    }
}

struct Content<'a>(&'a Term);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if marker::takes_encoded_term(&serializer) {
            let mut chunks = serializer.serialize_tuple(0)?;
            return match encode::chunks(self.0, |chunk| chunks.serialize_element(&Bytes(chunk))) {
                Ok(()) => chunks.end(),
                Err(Unencodable::Put(error)) => Err(error),
                Err(Unencodable::Other(error)) => Err(S::Error::custom(error)),
                // Encoded as a name it returns the error for an atom that is too long.
                Err(Unencodable::Atom(name)) => {
                    chunks.serialize_element(&Name(name))?;
                    chunks.end()
                }
            };
        }
        match self.0 {
            Term::Integer(value) => serializer.serialize_i64(*value),
            Term::Float(value) => serializer.serialize_f64(value.value()),
            Term::Atom(name) => match &**name {
                "nil" => serializer.serialize_unit(),
                "true" => serializer.serialize_bool(true),
                "false" => serializer.serialize_bool(false),
                name => serializer.serialize_newtype_struct(marker::ATOM, name),
            },
            Term::Tuple(elements) => {
                let mut tuple = serializer.serialize_tuple(elements.len())?;
                elements
                    .iter()
                    .try_for_each(|element| tuple.serialize_element(element))?;
                tuple.end()
            }
            Term::Map(pairs) => serializer.collect_map(pairs),
            Term::List(elements) => serializer.collect_seq(elements),
            Term::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => serializer.serialize_str(text),
                Err(_) => serializer.serialize_bytes(bytes),
            },
            Term::BigInteger(_) | Term::BitBinary(_) | Term::ImproperList(..) | Term::Opaque(_) => {
                let mut term = Vec::new();
                encode_into(&mut term, self.0).map_err(S::Error::custom)?;
                let name = marker::ENCODED;
                serializer.serialize_newtype_variant(name, 0, "external_term", &Bytes(&term))
            }
        }
    }
}

struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct Name<'a>(&'a str);

impl Serialize for Name<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(marker::ATOM, self.0)
    }
}

impl<'de> Deserialize<'de> for Term {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(marker::TERM, Whole)
    }
}

/// Accepts a whole encoded term from this crate's decoder, or any value from another format.
struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Term;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any term")
    }

    fn visit_bytes<E: de::Error>(self, term: &[u8]) -> Result<Term, E> {
        read::read(term).map_err(E::custom)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Term, D::Error> {
        deserializer.deserialize_any(AnyValue::default())
    }
}

/// Makes a term of any value of serde's data model.
#[derive(Default)]
struct AnyValue {
    /// Whether bytes are an encoded term, in which serde's buffers keep the values that they have no form for.
    is_encoded: bool,
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Term;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any term")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Term, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Term, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Term, E> {
        Ok(value.into())
    }

    fn visit_i128<E>(self, value: i128) -> Result<Term, E> {
        Ok(Term::integer(
            value < 0,
            &value.unsigned_abs().to_le_bytes(),
        ))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Term, E> {
        Ok(Term::integer(false, &value.to_le_bytes()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Term, E> {
        Term::try_from(value).map_err(E::custom)
    }

    fn visit_str<E>(self, text: &str) -> Result<Term, E> {
        Ok(text.into())
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Term, E> {
        match self.is_encoded {
            true => read::read(bytes).map_err(E::custom),
            false => Ok(Term::binary(bytes)),
        }
    }

    fn visit_unit<E>(self) -> Result<Term, E> {
        Ok(Term::nil())
    }

    fn visit_none<E>(self) -> Result<Term, E> {
        Ok(Term::nil())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Term, D::Error> {
        Term::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Term, D::Error> {
        deserializer.deserialize_any(Self { is_encoded: true })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Term, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Term::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Term, A::Error> {
        let mut pairs = BTreeMap::new();
        while let Some((key, value)) = map.next_entry()? {
            pairs.insert(key, value);
        }
        Ok(Term::Map(pairs))
    }
}
