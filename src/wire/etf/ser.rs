//! Values into bytes, in one pass and without a tree.

use std::fmt::Display;

use serde::ser::{self, Serialize};

use super::token::MAX_ATOM_CHARS;
use super::{ATOM_TOKEN, EncodeError, VERBATIM_TOKEN, tag};

/// The tag and the length before a binary's bytes.
const BINARY_HEAD: usize = 5;

/// Appends one term.
pub(super) struct Encoder<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Encoder<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    #[inline]
    fn integer(self, value: i128) -> Result<(), EncodeError> {
        match (u8::try_from(value), i32::try_from(value)) {
            (Ok(small), _) => self.out.extend([tag::SMALL_INTEGER, small]),
            (_, Ok(medium)) => {
                let [a, b, c, d] = medium.to_be_bytes();
                self.out.extend([tag::INTEGER, a, b, c, d]);
            }
            _ => self.big(value < 0, value.unsigned_abs()),
        }
        Ok(())
    }

    fn big(self, negative: bool, magnitude: u128) {
        let used = (128 - magnitude.leading_zeros() as usize).div_ceil(8);
        self.out
            .extend([tag::SMALL_BIG, used as u8, negative.into()]);
        self.out.extend_from_slice(&magnitude.to_le_bytes()[..used]);
    }

    #[inline]
    fn atom(self, name: &str) -> Result<(), EncodeError> {
        match u8::try_from(name.len()) {
            Ok(length) => self.out.extend([tag::SMALL_ATOM_UTF8, length]),
            // At most 255 characters of four bytes: the length fits.
            Err(_) if name.chars().take(MAX_ATOM_CHARS + 1).count() <= MAX_ATOM_CHARS => {
                let [high, low] = (name.len() as u16).to_be_bytes();
                self.out.extend([tag::ATOM_UTF8, high, low]);
            }
            Err(_) => return Err(EncodeError::AtomTooLong(name.chars().take(64).collect())),
        }
        self.out.extend_from_slice(name.as_bytes());
        Ok(())
    }

    #[inline]
    fn binary(self, bytes: &[u8]) -> Result<(), EncodeError> {
        let [a, b, c, d] = count(bytes.len())?.to_be_bytes();
        self.out.reserve(5 + bytes.len());
        self.out.extend([tag::BINARY, a, b, c, d]);
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what must come out as a binary, and returns its length.
    fn binary_of<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<usize, EncodeError> {
        let start = self.out.len();
        value.serialize(Encoder::new(self.out))?;
        match self.out.get(start) {
            Some(&tag::BINARY) => Ok(self.out.len() - start - BINARY_HEAD),
            _ => Err(ser::Error::custom("not a string or bytes")),
        }
    }

    #[inline]
    fn tuple(self, arity: usize) -> Result<Tuple<'a>, EncodeError> {
        match u8::try_from(arity) {
            Ok(small) => self.out.extend([tag::SMALL_TUPLE, small]),
            Err(_) => {
                self.out.push(tag::LARGE_TUPLE);
                self.out.extend(count(arity)?.to_be_bytes());
            }
        }
        Ok(Tuple {
            out: self.out,
            missing: arity,
        })
    }

    /// Begins `{:variant, …}` with so many elements after the name.
    #[inline]
    fn variant(self, name: &str, elements: usize) -> Result<Tuple<'a>, EncodeError> {
        let mut tuple = self.tuple(elements + 1)?;
        tuple.missing -= 1;
        Encoder::new(tuple.out).atom(name)?;
        Ok(tuple)
    }

    #[inline]
    fn map(self) -> Map<'a> {
        Map {
            pairs: Counted::new(self.out, tag::MAP),
        }
    }
}

/// A list or map whose length is filled in at its end: serde may not know it before.
pub(super) struct Counted<'a> {
    out: &'a mut Vec<u8>,
    /// Where its four bytes of length are.
    at: usize,
    written: usize,
}

impl<'a> Counted<'a> {
    #[inline]
    fn new(out: &'a mut Vec<u8>, tag: u8) -> Self {
        out.extend([tag, 0, 0, 0, 0]);
        let at = out.len() - 4;
        Self {
            out,
            at,
            written: 0,
        }
    }

    #[inline]
    fn term<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(Encoder::new(self.out))
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        let length = count(self.written)?.to_be_bytes();
        self.out[self.at..self.at + 4].copy_from_slice(&length);
        Ok(())
    }
}

#[inline]
fn count(length: usize) -> Result<u32, EncodeError> {
    u32::try_from(length).map_err(|_| EncodeError::TooLarge)
}

/// Every integer is written by its value, whatever its type.
macro_rules! integers {
    ($($method:ident($integer:ty))*) => {$(
        #[inline]
        fn $method(self, value: $integer) -> Result<(), EncodeError> {
            self.integer(value.into())
        }
    )*};
}

impl<'a> ser::Serializer for Encoder<'a> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = List<'a>;
    type SerializeTuple = Tuple<'a>;
    type SerializeTupleStruct = Tuple<'a>;
    type SerializeTupleVariant = Tuple<'a>;
    type SerializeMap = Map<'a>;
    type SerializeStruct = Map<'a>;
    type SerializeStructVariant = Map<'a>;

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), EncodeError> {
        self.atom(if value { "true" } else { "false" })
    }

    integers! {
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
    }

    fn serialize_u128(self, value: u128) -> Result<(), EncodeError> {
        match i128::try_from(value) {
            Ok(value) => self.integer(value),
            Err(_) => {
                self.big(false, value);
                Ok(())
            }
        }
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), EncodeError> {
        self.serialize_f64(value.into())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), EncodeError> {
        if !value.is_finite() {
            return Err(EncodeError::NotFinite(value));
        }
        self.out.push(tag::NEW_FLOAT);
        self.out.extend(value.to_be_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), EncodeError> {
        self.binary(value.encode_utf8(&mut [0; 4]).as_bytes())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        self.binary(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        self.binary(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), EncodeError> {
        self.atom("nil")
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.atom("nil")
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), EncodeError> {
        self.atom("nil")
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.atom(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        if name != ATOM_TOKEN {
            return value.serialize(self);
        }
        // The string is written as the binary it would be, and its head made an atom's.
        let start = self.out.len();
        let length = self.binary_of(value)?;
        match u8::try_from(length) {
            Ok(short) => {
                self.out[start] = tag::SMALL_ATOM_UTF8;
                self.out[start + 1] = short;
                self.out.drain(start + 2..start + BINARY_HEAD);
                Ok(())
            }
            Err(_) => {
                let name = self.out.split_off(start + BINARY_HEAD);
                self.out.truncate(start);
                self.atom(&String::from_utf8_lossy(&name))
            }
        }
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        if name == VERBATIM_TOKEN {
            let start = self.out.len();
            self.binary_of(value)?;
            self.out.drain(start..start + BINARY_HEAD);
            return Ok(());
        }
        let tuple = self.variant(variant, 1)?;
        value.serialize(Encoder::new(tuple.out))
    }

    #[inline]
    fn serialize_seq(self, _length: Option<usize>) -> Result<List<'a>, EncodeError> {
        Ok(List {
            elements: Counted::new(self.out, tag::LIST),
        })
    }

    #[inline]
    fn serialize_tuple(self, arity: usize) -> Result<Tuple<'a>, EncodeError> {
        self.tuple(arity)
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        arity: usize,
    ) -> Result<Tuple<'a>, EncodeError> {
        self.tuple(arity)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        elements: usize,
    ) -> Result<Tuple<'a>, EncodeError> {
        self.variant(variant, elements)
    }

    #[inline]
    fn serialize_map(self, _length: Option<usize>) -> Result<Map<'a>, EncodeError> {
        Ok(self.map())
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Map<'a>, EncodeError> {
        Ok(self.map())
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Map<'a>, EncodeError> {
        Ok(Encoder::new(self.variant(variant, 1)?.out).map())
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// A list under way.
pub(super) struct List<'a> {
    elements: Counted<'a>,
}

impl ser::SerializeSeq for List<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.elements.written += 1;
        self.elements.term(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        let Counted { out, at, written } = self.elements;
        if written == 0 {
            out.truncate(at - 1);
            out.push(tag::NIL);
            return Ok(());
        }
        let elements = Counted { out, at, written };
        elements.out.push(tag::NIL);
        elements.end()
    }
}

/// A tuple under way.
pub(super) struct Tuple<'a> {
    out: &'a mut Vec<u8>,
    missing: usize,
}

impl ser::SerializeTuple for Tuple<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.missing = self.missing.checked_sub(1).ok_or(EncodeError::Arity)?;
        value.serialize(Encoder::new(self.out))
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        match self.missing {
            0 => Ok(()),
            _ => Err(EncodeError::Arity),
        }
    }
}

impl ser::SerializeTupleStruct for Tuple<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        ser::SerializeTuple::serialize_element(self, value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        ser::SerializeTuple::end(self)
    }
}

impl ser::SerializeTupleVariant for Tuple<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        ser::SerializeTuple::serialize_element(self, value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        ser::SerializeTuple::end(self)
    }
}

/// A map under way.
pub(super) struct Map<'a> {
    pairs: Counted<'a>,
}

impl ser::SerializeMap for Map<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.pairs.written += 1;
        self.pairs.term(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.pairs.term(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.pairs.end()
    }
}

impl ser::SerializeStruct for Map<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.pairs.written += 1;
        Encoder::new(self.pairs.out).atom(name)?;
        self.pairs.term(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.pairs.end()
    }
}

impl ser::SerializeStructVariant for Map<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        ser::SerializeStruct::serialize_field(self, name, value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.pairs.end()
    }
}

impl ser::Error for EncodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}
