//! Values into bytes, in one pass and without a tree.

use std::cell::Cell;

use serde::ser::{self, Serialize};

use crate::compound::{List, Map, Names, Tuple};
use crate::part::Part;
use crate::{ATOM_TOKEN, EncodeError, TERM_TOKEN, VERBATIM_TOKEN, result, room, tag, write};

/// The tag and the length before a binary's bytes.
const BINARY_HEAD: usize = 5;

/// Appends one term.
pub(super) struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    door: Cell<Door>,
    part: Part,
}

/// How far a `Term` has come in handing over its encoded bytes, which it does only to a serializer that
/// answers its [`knock`].
#[derive(Clone, Copy, PartialEq)]
enum Door {
    /// Any other value is being written.
    Closed,
    /// The value under [`TERM_TOKEN`] is being written.
    Waiting,
    Knocked,
    /// The next tuple is an encoded term, in chunks of bytes.
    Open,
}

/// Returns whether the serializer is that of a value under [`TERM_TOKEN`] in this format.
///
/// Nothing in serde's interface tells a value which serializer it is given. This one, and no other, answers the
/// same question in two ways.
pub(crate) fn knock<S: ser::Serializer>(serializer: &S) -> bool {
    serializer.is_human_readable() != serializer.is_human_readable()
}

impl<'a> Encoder<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            door: Cell::new(Door::Closed),
            part: Part::Plain,
        }
    }

    /// For a value in a part.
    #[inline]
    pub(super) fn of<T: ?Sized>(out: &'a mut Vec<u8>, value: &T, part: Part) -> Self {
        Self {
            out,
            door: Cell::new(Door::Closed),
            part: part.of(value),
        }
    }

    /// For what a value consists of.
    #[inline]
    fn inner(self) -> (&'a mut Vec<u8>, Part) {
        (self.out, self.part.inner())
    }

    #[inline]
    fn may_be_wide(&self) -> Result<(), EncodeError> {
        match self.part {
            Part::Plain | Part::Verbatim => Ok(()),
            Part::Hidden | Part::Buffered => Err(EncodeError::Wide),
        }
    }

    /// Writes a string as an atom.
    pub(super) fn name<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), EncodeError> {
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
                write::atom(self.out, &String::from_utf8_lossy(&name))
            }
        }
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
}

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
        self.may_be_wide()?;
        write::integer(self.out, value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result<(), EncodeError> {
        self.may_be_wide()?;
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
        if self.part == Part::Verbatim {
            room::check(self.out, value.len())?;
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
        let (out, part) = self.inner();
        value.serialize(Encoder::of(out, value, part))
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
            ATOM_TOKEN => {}
            TERM_TOKEN => {
                self.door.set(Door::Waiting);
                return value.serialize(self);
            }
            _ => {
                let (out, part) = self.inner();
                return value.serialize(Encoder::of(out, value, part));
            }
        }
        self.name(value)
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
        let (out, part) = self.inner();
        write::tuple(out, 2)?;
        write::atom(out, result::encoded(name, variant))?;
        value.serialize(Encoder::of(out, value, part))
    }

    #[inline]
    fn serialize_seq(self, _length: Option<usize>) -> Result<List<'a>, EncodeError> {
        let (out, part) = self.inner();
        Ok(List::new(out, part))
    }

    #[inline]
    fn serialize_tuple(self, arity: usize) -> Result<Tuple<'a>, EncodeError> {
        if self.door.get() == Door::Open {
            return Ok(Tuple::verbatim(self.out));
        }
        let (out, part) = self.inner();
        write::tuple(out, arity)?;
        Ok(Tuple::new(out, arity, part))
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        arity: usize,
    ) -> Result<Tuple<'a>, EncodeError> {
        let (out, part) = self.inner();
        write::tuple(out, arity)?;
        Ok(Tuple::new(out, arity, part))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        elements: usize,
    ) -> Result<Tuple<'a>, EncodeError> {
        let (out, part) = self.inner();
        write::tuple(out, elements + 1)?;
        write::atom(out, variant)?;
        Ok(Tuple::new(out, elements, part))
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Map<'a>, EncodeError> {
        let (out, part) = self.inner();
        let names = match length {
            Some(_) => Names::Binaries,
            None => Names::Unknown,
        };
        Ok(Map::new(out, part, names))
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Map<'a>, EncodeError> {
        let (out, part) = self.inner();
        Ok(Map::new(out, part, Names::Atoms))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Map<'a>, EncodeError> {
        let (out, part) = self.inner();
        write::tuple(out, 2)?;
        write::atom(out, variant)?;
        Ok(Map::new(out, part, Names::Atoms))
    }

    fn is_human_readable(&self) -> bool {
        match self.door.get() {
            Door::Waiting => self.door.set(Door::Knocked),
            Door::Knocked => {
                self.door.set(Door::Open);
                return true;
            }
            Door::Closed | Door::Open => {}
        }
        false
    }
}
