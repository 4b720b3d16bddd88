//! Lists, tuples and maps, written one element at a time.

use serde::ser::{self, Serialize};

use crate::part::Part;
use crate::ser::Encoder;
use crate::{EncodeError, room, tag, write};

/// A list or map whose length is filled in at its end: serde may not know it before.
struct Counted<'a> {
    out: &'a mut Vec<u8>,
    /// Where its four bytes of length are.
    at: usize,
    written: usize,
    part: Part,
}

impl<'a> Counted<'a> {
    #[inline]
    fn new(out: &'a mut Vec<u8>, tag: u8, part: Part) -> Self {
        out.extend([tag, 0, 0, 0, 0]);
        let at = out.len() - 4;
        Self {
            out,
            at,
            written: 0,
            part,
        }
    }

    #[inline]
    fn term<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        room::check(self.out, 1)?;
        value.serialize(Encoder::of(self.out, value, self.part))
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
    pub(super) fn new(out: &'a mut Vec<u8>, part: Part) -> Self {
        Self {
            elements: Counted::new(out, tag::LIST, part),
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
        if self.elements.written == 0 {
            self.elements.out.truncate(self.elements.at - 1);
            self.elements.out.push(tag::NIL);
            return Ok(());
        }
        self.elements.out.push(tag::NIL);
        self.elements.end()
    }
}

/// A tuple under way.
pub(super) struct Tuple<'a> {
    out: &'a mut Vec<u8>,
    missing: usize,
    part: Part,
}

impl<'a> Tuple<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>, missing: usize, part: Part) -> Self {
        Self { out, missing, part }
    }

    /// For chunks of bytes, written as they are.
    pub(super) fn verbatim(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            missing: 0,
            part: Part::Verbatim,
        }
    }
}

impl ser::SerializeTuple for Tuple<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        room::check(self.out, 1)?;
        if self.part != Part::Verbatim {
            self.missing = self.missing.checked_sub(1).ok_or(EncodeError::Arity)?;
        }
        value.serialize(Encoder::of(self.out, value, self.part))
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
    names: Names,
    /// The part that the values belong to, but for those of a flattened map.
    part: Part,
}

/// What the keys are that serde gives as names.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Names {
    /// Fields of a struct.
    Atoms,
    /// Keys of a map that are strings.
    Binaries,
    /// Either. A struct with a flattened field is written as a map of unknown length, but only serde itself
    /// writes keys that are names and not in a variable of their own.
    Unknown,
}

impl<'a> Map<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>, part: Part, names: Names) -> Self {
        Self {
            pairs: Counted::new(out, tag::MAP, part),
            names,
            part,
        }
    }

    /// Writes a key of what may be a struct with a flattened field.
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        if is_unsized(key) {
            self.names = Names::Atoms;
            self.pairs.part = self.part;
            return Encoder::new(self.pairs.out).name(key);
        }
        let start = self.pairs.out.len();
        self.pairs.term(key)?;
        if self.names == Names::Atoms {
            // It is the key of a flattened map.
            self.pairs.part = Part::Buffered;
            let tag = self.pairs.out.get(start);
            if tag.is_some_and(|tag| tag::COMPOUND.contains(tag)) {
                return Err(EncodeError::Key);
            }
        }
        Ok(())
    }

    /// What was written is the tag of an internally tagged enum; what follows is its content.
    fn tagged(&mut self) {
        self.part = Part::Buffered;
        self.pairs.part = Part::Buffered;
    }
}

impl ser::SerializeMap for Map<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.pairs.written += 1;
        match self.names {
            Names::Binaries => self.pairs.term(key),
            Names::Atoms | Names::Unknown => self.key(key),
        }
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.pairs.term(value)
    }

    #[inline]
    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), EncodeError> {
        self.serialize_key(key)?;
        self.serialize_value(value)?;
        if is_unsized(key) && is_unsized(value) {
            self.tagged();
        }
        Ok(())
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.pairs.end()
    }
}

/// Returns whether this is the text itself, not a variable that holds one.
///
/// So serde writes the names that it derives; a `String` and a `&str` come as a reference to them.
#[inline]
fn is_unsized<T: ?Sized>(_: &T) -> bool {
    size_of::<&T>() > size_of::<&()>()
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
        self.pairs.term(value)?;
        if is_unsized(value) {
            self.tagged();
        }
        Ok(())
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
