//! The check of a whole term before it is decoded.
//!
//! A checked term is complete and within the limits, so that the typed decoder may recurse over it. The check does not
//! recurse, allocates nothing for announced lengths, and takes time proportional to the input.

use crate::limits::{ELEMENT, NUMBER, PACKED};
use crate::token::{Cursor, Token};
use crate::{DecodeError, Limits, tag};

/// Checks the term at the start of `bytes` and returns its length.
pub(super) fn scan(bytes: &[u8], limits: &Limits) -> Result<usize, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let mut open = Stack::<Open, 8>::new();
    let mut keys = Stack::<Span, 16>::new();
    let mut budget = (limits.elements as u64).saturating_mul(ELEMENT);
    loop {
        let start = bytes.len() - cursor.remaining();
        let token = cursor.token()?;
        if limits.safe {
            refuse_executable(&token)?;
        }
        budget = budget
            .checked_sub(weight(&token))
            .ok_or(DecodeError::Elements {
                limit: limits.elements,
            })?;
        let children = token.children();
        if children > 0 {
            // Every child takes a byte at least.
            if children > cursor.remaining() as u64 {
                return Err(DecodeError::Truncated);
            }
            if open.len() >= limits.depth {
                return Err(DecodeError::Depth {
                    limit: limits.depth,
                });
            }
            open.push(Open {
                left: children,
                is_map: matches!(token, Token::Map(_)),
                start,
                first_key: keys.len(),
            });
            continue;
        }

        // The term is complete, and with it every open term whose last child it is.
        let end = bytes.len() - cursor.remaining();
        let mut start = start;
        loop {
            let Some(parent) = open.last_mut() else {
                return Ok(end);
            };
            parent.left -= 1;
            let parent = *parent;
            // An odd number is left after a key, an even one after its value.
            if parent.is_map && parent.left % 2 == 1 {
                keys.push(Span { start, end });
            }
            if parent.left > 0 {
                break;
            }
            if parent.is_map {
                distinct(bytes, keys.since(parent.first_key))?;
                keys.truncate(parent.first_key);
            }
            start = parent.start;
            open.truncate(open.len() - 1);
        }
    }
}

/// The weight of a term, without that of its elements.
#[inline]
fn weight(token: &Token<'_>) -> u64 {
    match *token {
        Token::Integer(_) | Token::Float(_) => NUMBER,
        Token::Charlist(bytes) => ELEMENT + PACKED * bytes.len() as u64,
        // Its keys are compared.
        Token::Map(pairs) => ELEMENT * (1 + u64::from(pairs)),
        _ => ELEMENT,
    }
}

fn refuse_executable(token: &Token<'_>) -> Result<(), DecodeError> {
    match *token {
        Token::OldFun(_) => Err(DecodeError::Executable { tag: tag::FUN }),
        Token::Opaque {
            tag: tag @ (tag::EXPORT | tag::NEW_FUN | tag::PORT | tag::NEW_PORT | tag::V4_PORT),
        } => Err(DecodeError::Executable { tag }),
        _ => Ok(()),
    }
}

/// Returns an error if two keys of a map are the same bytes.
///
/// Large maps are sorted and not hashed, so that no choice of keys makes it slow.
fn distinct(bytes: &[u8], keys: &mut [Span]) -> Result<(), DecodeError> {
    let text = |key: &Span| &bytes[key.start..key.end];
    let twice = if keys.len() <= 16 {
        (1..keys.len()).any(|i| keys[..i].iter().any(|key| text(key) == text(&keys[i])))
    } else {
        keys.sort_unstable_by(|a, b| text(a).cmp(text(b)));
        keys.windows(2).any(|pair| text(&pair[0]) == text(&pair[1]))
    };
    match twice {
        true => Err(DecodeError::DuplicateKey),
        false => Ok(()),
    }
}

/// A term whose children are being checked.
#[derive(Clone, Copy, Default)]
struct Open {
    left: u64,
    is_map: bool,
    start: usize,
    /// The position of this map's first key among the keys of all open maps.
    first_key: usize,
}

/// The position of a key in the input.
#[derive(Clone, Copy, Default)]
struct Span {
    start: usize,
    end: usize,
}

/// A stack that allocates only when it holds more than `N` values.
struct Stack<T, const N: usize> {
    inline: [T; N],
    used: usize,
    /// All values, as soon as there are more than `N`.
    heap: Vec<T>,
}

impl<T: Copy + Default, const N: usize> Stack<T, N> {
    fn new() -> Self {
        Self {
            inline: [T::default(); N],
            used: 0,
            heap: Vec::new(),
        }
    }

    #[inline]
    fn len(&self) -> usize {
        match self.heap.is_empty() {
            true => self.used,
            false => self.heap.len(),
        }
    }

    #[inline]
    fn push(&mut self, value: T) {
        if self.heap.is_empty() {
            if let Some(free) = self.inline.get_mut(self.used) {
                *free = value;
                self.used += 1;
                return;
            }
            self.heap.extend_from_slice(&self.inline);
            self.used = 0;
        }
        self.heap.push(value);
    }

    #[inline]
    fn since(&mut self, first: usize) -> &mut [T] {
        match self.heap.is_empty() {
            true => &mut self.inline[first..self.used],
            false => &mut self.heap[first..],
        }
    }

    #[inline]
    fn last_mut(&mut self) -> Option<&mut T> {
        self.since(0).last_mut()
    }

    #[inline]
    fn truncate(&mut self, length: usize) {
        match self.heap.is_empty() {
            true => self.used = length,
            false => self.heap.truncate(length),
        }
    }
}
