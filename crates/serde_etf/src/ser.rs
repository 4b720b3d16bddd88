//! The serde methods of the encoder: values into bytes, in one pass and without a tree.

use serde::ser::{self, Serialize};

use crate::encoder::{Context, Encoder, Handover};
use crate::ser_compound::{Keys, List, Map, Tuple};
use crate::{EncodeError, marker, output_limit, result, tag, write};

/// The atom `nil`, encoded.
const NIL: &[u8] = &[tag::SMALL_ATOM_UTF8, 3, b'n', b'i', b'l'];

/// Every integer is written by its value, whatever its type.
macro_rules! integers {
    ($($method:ident($integer:ty))*) => {$(
        #[inline]
        fn $method(self, value: $integer) -> Result<(), EncodeError> {
            write::integer(self.out, value.into());
            Ok(())
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
        write::atom(self.out, if value { "true" } else { "false" })
    }

    integers! {
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
    }

    fn serialize_i128(self, value: i128) -> Result<(), EncodeError> {
        self.check_wide()?;
        write::integer(self.out, value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result<(), EncodeError> {
        self.check_wide()?;
        match i128::try_from(value) {
            Ok(value) => write::integer(self.out, value),
            Err(_) => write::big(self.out, false, value),
        }
        Ok(())
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
        write::float(self.out, value);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), EncodeError> {
        write::binary(self.out, value.encode_utf8(&mut [0; 4]).as_bytes())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        write::binary(self.out, value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        if self.context == Context::EncodedTerm {
            output_limit::check(self.out, value.len())?;
            self.out.extend_from_slice(value);
            return Ok(());
        }
        write::binary(self.out, value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), EncodeError> {
        write::atom(self.out, "nil")
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        let start = self.out.len();
        value.serialize(Encoder::of(self.out, value, self.context.inner()))?;
        match &self.out[start..] {
            NIL => Err(EncodeError::SomeNil),
            _ => Ok(()),
        }
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), EncodeError> {
        write::atom(self.out, "nil")
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), EncodeError> {
        write::atom(self.out, "nil")
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        write::atom(self.out, variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        match name {
            marker::ATOM => self.atom(value),
            marker::TERM => {
                self.handover.set(Handover::Possible);
                value.serialize(self)
            }
            _ => value.serialize(Encoder::of(self.out, value, self.context.inner())),
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
        if name == marker::ENCODED {
            let start = self.out.len();
            self.binary(value)?;
            self.out.drain(start..start + write::HEAD);
            return Ok(());
        }
        write::tuple(self.out, 2)?;
        write::atom(self.out, result::encoded(name, variant))?;
        value.serialize(Encoder::of(self.out, value, self.context.inner()))
    }

    #[inline]
    fn serialize_seq(self, _length: Option<usize>) -> Result<List<'a>, EncodeError> {
        Ok(List::new(self.out, self.context.inner()))
    }

    #[inline]
    fn serialize_tuple(self, arity: usize) -> Result<Tuple<'a>, EncodeError> {
        if self.handover.get() == Handover::Agreed {
            return Ok(Tuple::encoded_term(self.out));
        }
        write::tuple(self.out, arity)?;
        Ok(Tuple::new(self.out, arity, self.context.inner()))
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        arity: usize,
    ) -> Result<Tuple<'a>, EncodeError> {
        write::tuple(self.out, arity)?;
        Ok(Tuple::new(self.out, arity, self.context.inner()))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        elements: usize,
    ) -> Result<Tuple<'a>, EncodeError> {
        write::tuple(self.out, elements + 1)?;
        write::atom(self.out, variant)?;
        Ok(Tuple::new(self.out, elements, self.context.inner()))
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Map<'a>, EncodeError> {
        let keys = match length {
            Some(_) => Keys::Map,
            None => Keys::Unknown,
        };
        Ok(Map::new(self.out, self.context.inner(), keys))
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Map<'a>, EncodeError> {
        Ok(Map::new(self.out, self.context.inner(), Keys::Struct))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Map<'a>, EncodeError> {
        write::tuple(self.out, 2)?;
        write::atom(self.out, variant)?;
        Ok(Map::new(self.out, self.context.inner(), Keys::Struct))
    }

    fn is_human_readable(&self) -> bool {
        match self.handover.get() {
            Handover::Possible => self.handover.set(Handover::Asked),
            Handover::Asked => {
                self.handover.set(Handover::Agreed);
                return true;
            }
            Handover::None | Handover::Agreed => {}
        }
        false
    }
}
