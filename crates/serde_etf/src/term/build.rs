//! Terms put together from their parts, inner ones first, without recursion.

use std::collections::BTreeMap;
use std::mem;

use super::Term;

/// The containers that are not complete yet, the innermost last.
#[derive(Default)]
pub(super) struct Builder {
    open: Vec<Open>,
}

struct Open {
    shape: Shape,
    /// How many terms are missing.
    left: u64,
    elements: Vec<Term>,
    pairs: Vec<(Term, Term)>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shape {
    Tuple,
    List,
    /// The last term is the tail, which may be a list.
    Cons,
    Map,
}

/// A map has a key twice.
pub(super) struct DuplicateKey;

impl Builder {
    /// Begins a container of so many terms, one at least. `room` is how many of them to reserve.
    pub(super) fn open(&mut self, shape: Shape, terms: u64, room: usize) {
        let mut open = Open {
            shape,
            left: terms,
            elements: Vec::new(),
            pairs: Vec::new(),
        };
        match shape {
            Shape::Map => open.pairs.reserve_exact(room / 2),
            Shape::Tuple | Shape::List => open.elements.reserve_exact(room),
            Shape::Cons => open.elements.reserve_exact(room.saturating_sub(1)),
        }
        self.open.push(open);
    }

    /// Adds a term to the innermost container. Returns the whole, if that completes it.
    pub(super) fn add(&mut self, mut term: Term) -> Result<Option<Term>, DuplicateKey> {
        while let Some(open) = self.open.last_mut() {
            open.left -= 1;
            if open.left == 0 {
                term = self.close(Some(term))?;
                continue;
            }
            // An odd number is missing after a key.
            if open.shape == Shape::Map && open.left % 2 == 1 {
                open.elements.push(term);
            } else if open.shape == Shape::Map {
                let key = open.elements.pop().expect("a value comes after its key");
                open.pairs.push((key, term));
            } else {
                open.elements.push(term);
            }
            return Ok(None);
        }
        Ok(Some(term))
    }

    /// Returns whether the tail of a list comes next.
    pub(super) fn at_tail(&self) -> bool {
        self.open
            .last()
            .is_some_and(|open| open.shape == Shape::Cons && open.left == 1)
    }

    /// Goes on with the list whose tail comes next: so many terms more, the last of them the tail.
    pub(super) fn extend(&mut self, terms: u64, room: usize) {
        if let Some(open) = self.open.last_mut() {
            open.left = terms;
            open.elements.reserve(room.saturating_sub(1));
        }
    }

    /// Closes the list whose tail comes next, with no tail.
    pub(super) fn close_list(&mut self) -> Result<Option<Term>, DuplicateKey> {
        let list = self.close(None)?;
        self.add(list)
    }

    fn close(&mut self, last: Option<Term>) -> Result<Term, DuplicateKey> {
        let mut open = self.open.pop().expect("the caller has seen it");
        match (open.shape, last) {
            (Shape::Map, Some(value)) => {
                let key = open.elements.pop().expect("a value comes after its key");
                open.pairs.push((key, value));
                let pairs = open.pairs.len();
                // Built from all pairs at once, so that its nodes are full.
                let map = BTreeMap::from_iter(mem::take(&mut open.pairs));
                match map.len() == pairs {
                    true => Ok(Term::Map(map)),
                    false => Err(DuplicateKey),
                }
            }
            (Shape::Tuple, Some(last)) => {
                open.elements.push(last);
                Ok(Term::Tuple(open.elements))
            }
            (Shape::Cons, Some(tail)) => Ok(Term::list_with_tail(fitted(open.elements), tail)),
            (_, last) => {
                open.elements.extend(last);
                Ok(Term::List(fitted(open.elements)))
            }
        }
    }
}

/// A list that grew part by part may have reserved twice what it holds.
fn fitted(mut elements: Vec<Term>) -> Vec<Term> {
    if elements.capacity() > elements.len() {
        elements.shrink_to_fit();
    }
    elements
}
