//! `Term` in serde's terms, with nothing lost between our own encoder and decoder.
//!
//! What serde has no word for (atoms, bitstrings, improper lists, pids) passes under names that only
//! our own format knows. Any other format sees a string for an atom, and bytes for the rest.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeTuple, Serializer};

use super::{Float, Opaque, Term};
use crate::wire::etf::{self, Cursor, DecodeError, Token};

impl Serialize for Term {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(value.value()),
            Self::Atom(name) => match &**name {
                "nil" => serializer.serialize_unit(),
                "true" => serializer.serialize_bool(true),
                "false" => serializer.serialize_bool(false),
                name => serializer.serialize_newtype_struct(etf::ATOM_TOKEN, name),
            },
            Self::Tuple(elements) => {
                let mut tuple = serializer.serialize_tuple(elements.len())?;
                elements
                    .iter()
                    .try_for_each(|element| tuple.serialize_element(element))?;
                tuple.end()
            }
            Self::Map(pairs) => serializer.collect_map(pairs),
            Self::List(elements) => serializer.collect_seq(elements),
            Self::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => serializer.serialize_str(text),
                Err(_) => serializer.serialize_bytes(bytes),
            },
            Self::BigInteger(value) => {
                let magnitude = value.magnitude();
                let mut term = Vec::with_capacity(magnitude.len() + 6);
                match u8::try_from(magnitude.len()) {
                    Ok(length) => term.extend([etf::tag::SMALL_BIG, length]),
                    Err(_) => with_length::<S>(&mut term, etf::tag::LARGE_BIG, magnitude.len())?,
                }
                term.push(value.is_negative().into());
                term.extend_from_slice(magnitude);
                verbatim(serializer, &term)
            }
            Self::BitBinary(bits) => {
                let mut term = Vec::with_capacity(bits.bytes.len() + 6);
                with_length::<S>(&mut term, etf::tag::BIT_BINARY, bits.bytes.len())?;
                term.push(bits.used);
                term.extend_from_slice(&bits.bytes);
                verbatim(serializer, &term)
            }
            Self::ImproperList(elements, tail) => {
                let mut term = Vec::new();
                with_length::<S>(&mut term, etf::tag::LIST, elements.len())?;
                for element in elements.iter().chain([&**tail]) {
                    etf::encode_into(&mut term, element).map_err(S::Error::custom)?;
                }
                verbatim(serializer, &term)
            }
            Self::Opaque(opaque) => verbatim(serializer, &opaque.bytes),
        }
    }
}

fn with_length<S: Serializer>(term: &mut Vec<u8>, tag: u8, length: usize) -> Result<(), S::Error> {
    let length = u32::try_from(length).map_err(S::Error::custom)?;
    term.push(tag);
    term.extend(length.to_be_bytes());
    Ok(())
}

fn verbatim<S: Serializer>(serializer: S, term: &[u8]) -> Result<S::Ok, S::Error> {
    struct Bytes<'a>(&'a [u8]);

    impl Serialize for Bytes<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }

    serializer.serialize_newtype_variant(etf::VERBATIM_TOKEN, 0, "external_term", &Bytes(term))
}

impl<'de> Deserialize<'de> for Term {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(etf::TERM_TOKEN, Whole)
    }
}

/// Takes a whole encoded term from our decoder, or whatever another format has.
struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Term;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any term")
    }

    fn visit_bytes<E: de::Error>(self, term: &[u8]) -> Result<Term, E> {
        read(&mut Cursor::new(term)).map_err(E::custom)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Term, D::Error> {
        deserializer.deserialize_any(Foreign)
    }
}

/// Reads a term that has passed `check`, which bounds the recursion.
fn read(cursor: &mut Cursor<'_>) -> Result<Term, DecodeError> {
    let before = *cursor;
    Ok(match cursor.token()? {
        Token::Integer(value) => Term::Integer(value),
        Token::Big {
            negative,
            magnitude,
        } => Term::integer(negative, magnitude),
        Token::Float(value) => Term::Float(Float::try_from(value).map_err(DecodeError::custom)?),
        Token::Atom(name) => Term::atom(name),
        Token::Latin1Atom(name) => Term::Atom(etf::latin1(name).into()),
        Token::Nil => Term::List(Vec::new()),
        Token::Charlist(bytes) => Term::list(bytes.iter().map(|&byte| Term::Integer(byte.into()))),
        Token::List(length) => {
            let elements = read_many(cursor, length)?;
            Term::list_with_tail(elements, read(cursor)?)
        }
        Token::Tuple(arity) => Term::Tuple(read_many(cursor, arity)?),
        Token::Map(length) => {
            let mut pairs = BTreeMap::new();
            for _ in 0..length {
                if pairs.insert(read(cursor)?, read(cursor)?).is_some() {
                    return Err(DecodeError::DuplicateKey);
                }
            }
            Term::Map(pairs)
        }
        Token::Binary(bytes) => Term::binary(bytes),
        Token::Bits(bytes, used) => Term::bits(bytes, used),
        Token::Opaque { .. } | Token::OldFun(_) => {
            *cursor = before;
            Term::Opaque(Opaque {
                bytes: cursor.skip()?.into(),
            })
        }
    })
}

fn read_many(cursor: &mut Cursor<'_>, length: u32) -> Result<Vec<Term>, DecodeError> {
    (0..length).map(|_| read(cursor)).collect()
}

/// Makes a term of what serde's own data model has.
struct Foreign;

impl<'de> Visitor<'de> for Foreign {
    type Value = Term;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
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

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Term, E> {
        Ok(Term::binary(bytes))
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
        Term::deserialize(deserializer)
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
