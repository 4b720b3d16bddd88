//! Lists, tuples and maps, written one element at a time.

use serde::ser::{self, Serialize};

use crate::encoder::{Context, Encoder};
use crate::{EncodeError, output_limit, tag, write};

/// A list or map whose length is filled in at its end, because serde may not know it before.
struct Counted<'a> {
    out: &'a mut Vec<u8>,
    /// The position of its four length bytes.
    at: usize,
    written: usize,
    context: Context,
}

impl<'a> Counted<'a> {
    #[inline]
    fn new(out: &'a mut Vec<u8>, tag: u8, context: Context) -> Self {
        out.extend([tag, 0, 0, 0, 0]);
        let at = out.len() - 4;
        Self {
            out,
            at,
            written: 0,
            context,
        }
    }

    #[inline]
    fn term<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        output_limit::check(self.out, 1)?;
        value.serialize(Encoder::of(self.out, value, self.context))
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        let length = write::count(self.written)?.to_be_bytes();
        self.out[self.at..self.at + 4].copy_from_slice(&length);
        Ok(())
    }
}

/// A list that is being written.
pub(super) struct List<'a> {
    elements: Counted<'a>,
}

impl<'a> List<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>, context: Context) -> Self {
        Self {
            elements: Counted::new(out, tag::LIST, context),
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

/// A tuple that is being written.
pub(super) struct Tuple<'a> {
    out: &'a mut Vec<u8>,
    missing: usize,
    context: Context,
}

impl<'a> Tuple<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>, missing: usize, context: Context) -> Self {
        Self {
            out,
            missing,
            context,
        }
    }

    /// Takes an encoded term in chunks of bytes, which are written as they are.
    pub(super) fn encoded_term(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            missing: 0,
            context: Context::EncodedTerm,
        }
    }
}

impl ser::SerializeTuple for Tuple<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        output_limit::check(self.out, 1)?;
        if self.context != Context::EncodedTerm {
            self.missing = self.missing.checked_sub(1).ok_or(EncodeError::Arity)?;
        }
        value.serialize(Encoder::of(self.out, value, self.context))
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

/// A map that is being written.
pub(super) struct Map<'a> {
    pairs: Counted<'a>,
    keys: Keys,
    /// The context of all values but those of a flattened map.
    context: Context,
}

/// Whether keys that are strings are fields, which are written as atoms.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Keys {
    /// They are fields of a struct.
    Struct,
    /// They are keys of a map, which are binaries.
    Map,
    /// Either. A struct with a flattened field is written as a map of unknown length; its own fields are
    /// recognised by their type, a bare `str`.
    Unknown,
}

impl<'a> Map<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>, context: Context, keys: Keys) -> Self {
        Self {
            pairs: Counted::new(out, tag::MAP, context),
            keys,
            context,
        }
    }

    /// Writes a key of a map of unknown length.
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        if is_unsized(key) {
            self.keys = Keys::Struct;
            self.pairs.context = self.context;
            return Encoder::new(self.pairs.out, Context::Plain).atom(key);
        }
        let start = self.pairs.out.len();
        self.pairs.term(key)?;
        if self.keys == Keys::Struct {
            // The key of a flattened map.
            self.pairs.context = Context::Buffered;
            let tag = self.pairs.out.get(start);
            if tag.is_some_and(|tag| tag::COMPOUND.contains(tag)) {
                return Err(EncodeError::Key);
            }
        }
        Ok(())
    }

    /// After the tag of an internally tagged enum, all values are decoded from serde's buffer.
    ///
    /// The tag of a struct is treated alike: a variant that wraps a struct of its own name writes the same.
    #[inline]
    fn after_tag(&mut self) {
        self.context = Context::Buffered;
        self.pairs.context = Context::Buffered;
    }
}

impl ser::SerializeMap for Map<'_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.pairs.written += 1;
        match self.keys {
            Keys::Map => self.pairs.term(key),
            Keys::Struct | Keys::Unknown => self.key(key),
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
            self.after_tag();
        }
        Ok(())
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.pairs.end()
    }
}

/// Returns whether the value is a bare `str`.
///
/// serde's derive writes field names and tags so; a field of type `String` or `&str` comes as a reference to one.
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
            self.after_tag();
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
