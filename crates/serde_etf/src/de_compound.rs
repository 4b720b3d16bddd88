//! Lists, tuples and maps, read one element at a time.

use serde::de::{self, DeserializeSeed, Error as _};

use crate::decoder::Decoder;
use crate::token::{Cursor, Token};
use crate::{DecodeError, tag};

/// The key under which Elixir keeps the name of a struct.
pub(super) const STRUCT_NAME: &str = "__struct__";

/// The elements of a tuple.
pub(super) struct Elements<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    pub(super) left: u32,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left as usize)
    }
}

/// The elements of a list.
///
/// The tail of an encoded list may be a list again, which continues it.
pub(super) struct List<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    /// The unread rest of the current encoded list: `List`, `Charlist` or `Nil`.
    pub(super) rest: Token<'de>,
}

/// The term of every byte of a packed list, so that it is decoded like any other.
static SMALL_INTEGERS: [[u8; 2]; 256] = {
    let mut terms = [[tag::SMALL_INTEGER, 0]; 256];
    let mut byte = 0;
    while byte < 256 {
        terms[byte][1] = byte as u8;
        byte += 1;
    }
    terms
};

/// The next element of a list.
pub(super) enum Next {
    /// One that was packed.
    Byte(u8),
    /// One that is to be read.
    Term,
}

impl List<'_, '_> {
    /// Moves on to the next element, if there is one.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<Option<Next>, DecodeError> {
        loop {
            match &mut self.rest {
                Token::List(0) => self.rest = self.decoder.token()?,
                Token::List(left) => {
                    *left -= 1;
                    return Ok(Some(Next::Term));
                }
                Token::Charlist([]) => self.rest = Token::Nil,
                Token::Charlist(bytes) => {
                    let (first, others) = bytes.split_first().expect("not empty");
                    *bytes = others;
                    return Ok(Some(Next::Byte(*first)));
                }
                Token::Nil => return Ok(None),
                tail => {
                    let message = format_args!("expected a proper list, found the tail {tail}");
                    return Err(DecodeError::custom(message));
                }
            }
        }
    }
}

impl<'de> de::SeqAccess<'de> for List<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        match self.advance()? {
            None => Ok(None),
            Some(Next::Term) => seed.deserialize(&mut *self.decoder).map(Some),
            Some(Next::Byte(byte)) => {
                let after = self.decoder.cursor;
                self.decoder.cursor = Cursor::new(&SMALL_INTEGERS[usize::from(byte)]);
                let element = seed.deserialize(&mut *self.decoder)?;
                self.decoder.cursor = after;
                Ok(Some(element))
            }
        }
    }

    fn size_hint(&self) -> Option<usize> {
        match self.rest {
            Token::List(left) => Some(left as usize),
            Token::Charlist(bytes) => Some(bytes.len()),
            _ => Some(0),
        }
    }
}

/// The pairs of a map.
pub(super) struct Pairs<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    pub(super) left: u32,
    pub(super) keys: Keys,
}

/// The type whose keys are read.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Keys {
    /// A map, or a struct with a field `__struct__`.
    Map,
    /// A struct.
    Struct,
    /// A struct with a flattened field.
    Flattened,
}

impl<'de> de::MapAccess<'de> for Pairs<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        while self.left > 0 {
            self.left -= 1;
            if self.keys != Keys::Map {
                let before = self.decoder.cursor;
                if let Token::Atom(STRUCT_NAME) = self.decoder.token()? {
                    self.decoder.cursor.skip()?;
                    continue;
                }
                self.decoder.cursor = before;
            }
            self.decoder.any_key = self.keys == Keys::Flattened;
            let key = seed.deserialize(&mut *self.decoder);
            self.decoder.any_key = false;
            return key.map(Some);
        }
        Ok(None)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        seed.deserialize(&mut *self.decoder)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left as usize)
    }
}
