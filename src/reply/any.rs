//! A reply whose type depends on the call.

use std::{any::Any, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::{
    Message, Term,
    wire::etf::{self, DecodeError, EncodeError},
};

/// A reply whose type depends on the call: the [`Protocol::Reply`](crate::Protocol::Reply) of a protocol whose calls
/// have reply types of their own.
///
/// The server sets the type with [`ReplyTo::typed`](crate::ReplyTo::typed), the client with
/// [`Request`](crate::Request) or [`Caller::call_as`](crate::Caller::call_as).
pub struct AnyReply(Inner);

enum Inner {
    /// From a server in this process.
    Value {
        value: Box<dyn Any + Send>,
        encode: fn(&(dyn Any + Send)) -> Result<Vec<u8>, EncodeError>,
    },
    /// From a peer.
    Term(Term),
}

impl AnyReply {
    /// Wraps a reply.
    pub fn new<T: Message>(value: T) -> Self {
        Self(Inner::Value {
            value: Box::new(value),
            encode: encode::<T>,
        })
    }

    /// Returns the reply as this type.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the reply is of a type that is encoded differently, or the term of a peer is not of this type.
    pub fn decode<T: Message>(self) -> Result<T, DecodeError> {
        let bytes = match self.0 {
            Inner::Value { value, encode } => match value.downcast() {
                Ok(value) => return Ok(*value),
                Err(value) => encode(&*value),
            },
            Inner::Term(term) => etf::to_vec(&term),
        };
        etf::from_slice(&bytes.map_err(de::Error::custom)?)
    }

    /// Returns the value if it was wrapped as this type.
    pub(super) fn into_value<T: 'static>(self) -> Option<T> {
        match self.0 {
            Inner::Value { value, .. } => value.downcast().ok().map(|value| *value),
            Inner::Term(_) => None,
        }
    }
}

fn encode<T: Message>(value: &(dyn Any + Send)) -> Result<Vec<u8>, EncodeError> {
    let value = value.downcast_ref::<T>();
    etf::to_vec(value.expect("it was wrapped as this type"))
}

impl Serialize for AnyReply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Inner::Term(term) => term.serialize(serializer),
            Inner::Value { value, encode } => {
                let bytes = encode(&**value).map_err(ser::Error::custom)?;
                let term: Term = etf::from_slice(&bytes).map_err(ser::Error::custom)?;
                term.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for AnyReply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Term::deserialize(deserializer).map(|term| Self(Inner::Term(term)))
    }
}

impl fmt::Debug for AnyReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Value { .. } => f.debug_struct("AnyReply").finish_non_exhaustive(),
            Inner::Term(term) => f.debug_tuple("AnyReply").field(term).finish(),
        }
    }
}
