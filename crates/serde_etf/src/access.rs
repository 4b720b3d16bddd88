//! The inside of lists, tuples, maps and enums, one element at a time.

use serde::de::{self, DeserializeSeed, Error as _};

use crate::reader::Decoder;
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

/// The elements of a list: what is left of its current part, `List`, `Charlist` or `Nil`.
///
/// The tail of a part may be a list again; Erlang takes both for one list.
pub(super) struct List<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    pub(super) part: Token<'de>,
}

/// Every byte of a packed list as the term it stands for, so that it is decoded like any other.
static SMALL_INTEGERS: [[u8; 2]; 256] = {
    let mut terms = [[tag::SMALL_INTEGER, 0]; 256];
    let mut byte = 0;
    while byte < 256 {
        terms[byte][1] = byte as u8;
        byte += 1;
    }
    terms
};

pub(super) enum Next {
    Byte(u8),
    Term,
}

impl List<'_, '_> {
    #[inline]
    pub(super) fn more(&mut self) -> Result<Option<Next>, DecodeError> {
        loop {
            match &mut self.part {
                Token::List(0) => self.part = self.decoder.token()?,
                Token::List(left) => {
                    *left -= 1;
                    return Ok(Some(Next::Term));
                }
                Token::Charlist([]) => self.part = Token::Nil,
                Token::Charlist(bytes) => {
                    let (first, rest) = bytes.split_first().expect("not empty");
                    *bytes = rest;
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
        match self.more()? {
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
        match self.part {
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

/// Whose keys they are.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Keys {
    /// A map's, or those of a struct that keeps `__struct__`.
    Map,
    Struct,
    /// Those of a struct, and of a map or struct flattened into it.
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
