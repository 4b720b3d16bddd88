//! Lists, tuples and maps, written one element at a time.

use serde::ser::{self, Serialize};

use super::ser::Encoder;
use super::{EncodeError, room, tag, write};

/// A list or map whose length is filled in at its end: serde may not know it before.
struct Counted<'a> {
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
        room::check(self.out, 1)?;
        value.serialize(Encoder::new(self.out))
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        let length = write::count(self.written)?.to_be_bytes();
        self.out[self.at..self.at + 4].copy_from_slice(&length);
        Ok(())
    }
}

/// A list under way.
pub(super) struct List<'a> {
    elements: Counted<'a>,
}

impl<'a> List<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            elements: Counted::new(out, tag::LIST),
        }
    }
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

impl<'a> Tuple<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>, missing: usize) -> Self {
        Self { out, missing }
    }
}

impl ser::SerializeTuple for Tuple<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        room::check(self.out, 1)?;
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

impl<'a> Map<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            pairs: Counted::new(out, tag::MAP),
        }
    }
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
        write::atom(self.pairs.out, name)?;
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
