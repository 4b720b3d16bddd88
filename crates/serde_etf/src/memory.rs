//! The memory of a decoded `Term`, estimated from its encoded form.

use crate::token::{Cursor, Token};
use crate::{DecodeError, Limits};

/// The size of a `Term` itself, wherever it lies.
pub(crate) const TERM: u64 = size_of::<crate::term::Term>() as u64;

/// The nodes of a `BTreeMap` whose keys and values are terms: eleven pairs, and in an inner node twelve
/// pointers more.
const PAIRS: u64 = 11;
const LEAF: u64 = PAIRS * 2 * TERM + 16;
const INNER: u64 = LEAF + (PAIRS + 1) * 8;

/// An upper bound of the memory per encoded byte. Nested maps of one pair take most: a node for every six bytes.
const MOST_PER_BYTE: usize = 160;

/// The unused rest of [`Limits::term_memory`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    left: u64,
    limit: usize,
    /// Whether the term is so short that it cannot exceed the limit.
    is_enough: bool,
}

impl Budget {
    /// Creates the budget of a term of `length` bytes.
    pub(super) fn new(limits: &Limits, length: usize) -> Self {
        Self {
            left: limits.term_memory as u64,
            limit: limits.term_memory,
            is_enough: length <= limits.term_memory / MOST_PER_BYTE,
        }
    }

    /// Counts the head of a term that serde reads without a type.
    #[inline]
    pub(super) fn charge(&mut self, token: &Token<'_>) -> Result<(), DecodeError> {
        match self.is_enough {
            true => Ok(()),
            false => self.take(TERM + heap(token)),
        }
    }

    /// Skips one whole term, and counts the memory that it would take as a `Term`.
    #[inline]
    pub(super) fn skip<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<&'a [u8], DecodeError> {
        match self.is_enough {
            true => cursor.skip(),
            false => self.count(cursor),
        }
    }

    fn count<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<&'a [u8], DecodeError> {
        let start = *cursor;
        let mut open = Vec::<Open>::new();
        self.take(TERM)?;
        loop {
            let before = *cursor;
            let token = cursor.token()?;
            let is_tail = open
                .last()
                .is_some_and(|list| list.is_list && list.left == 1);
            let children = token.children();
            match token {
                // The tail continues its list.
                Token::List(more) if is_tail => {
                    self.take(TERM * u64::from(more))?;
                    open.pop();
                }
                Token::Charlist(more) if is_tail => self.take(TERM * more.len() as u64)?,
                Token::Opaque { .. } | Token::OldFun(_) => {
                    self.take(allocation(before.until(cursor).len() as u64))?;
                }
                token => self.take(heap(&token))?,
            }
            if is_tail && !matches!(token, Token::Nil | Token::Charlist(_) | Token::List(_)) {
                // The tail of an improper list is boxed.
                self.take(allocation(TERM))?;
            }
            if children > 0 {
                open.push(Open {
                    left: children,
                    is_list: matches!(token, Token::List(_)),
                });
                continue;
            }
            loop {
                let Some(parent) = open.last_mut() else {
                    return Ok(start.until(cursor));
                };
                parent.left -= 1;
                if parent.left > 0 {
                    break;
                }
                open.pop();
            }
        }
    }

    #[inline]
    fn take(&mut self, bytes: u64) -> Result<(), DecodeError> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(DecodeError::TermMemory { limit: self.limit }),
        }
    }
}

/// A container whose elements are being counted.
struct Open {
    /// The number of its terms that were not read yet.
    left: u64,
    is_list: bool,
}

/// The heap memory of a term with this head, without the heap memory of its elements.
fn heap(token: &Token<'_>) -> u64 {
    match *token {
        Token::Integer(_) | Token::Float(_) | Token::Nil => 0,
        Token::Big { magnitude, .. } => allocation(magnitude.len() as u64),
        // The text comes after two reference counters.
        Token::Atom(text) => allocation(16 + text.len() as u64),
        Token::Latin1Atom(text) => allocation(16 + 2 * text.len() as u64),
        Token::Charlist(bytes) => allocation(TERM * bytes.len() as u64),
        Token::List(length) => allocation(TERM * u64::from(length)),
        Token::Tuple(arity) => allocation(TERM * u64::from(arity)),
        Token::Map(pairs) => map(pairs.into()),
        Token::Binary(bytes) | Token::Bits(bytes, _) => allocation(bytes.len() as u64),
        Token::Opaque { .. } | Token::OldFun(_) => 0,
    }
}

/// The nodes of a map built from sorted pairs: all but the last ones are full.
fn map(pairs: u64) -> u64 {
    if pairs == 0 {
        return 0;
    }
    let mut nodes = pairs / (PAIRS + 1) + 1;
    let mut bytes = nodes * allocation(LEAF);
    while nodes > 1 {
        nodes = nodes.div_ceil(PAIRS + 1);
        bytes += nodes * allocation(INNER);
    }
    bytes
}

/// The memory that an allocator takes for so many bytes: a word more, rounded up to 16 bytes.
#[inline]
fn allocation(bytes: u64) -> u64 {
    match bytes {
        0 => 0,
        _ => ((bytes + 8).next_multiple_of(16)).max(32),
    }
}
