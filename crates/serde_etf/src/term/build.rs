//! Terms built from their elements without recursion.

use std::collections::BTreeMap;
use std::mem;

use super::Term;

/// The containers that are not complete yet, innermost last.
#[derive(Default)]
pub(super) struct Builder {
    open: Vec<Open>,
}

struct Open {
    shape: Shape,
    /// The number of missing terms.
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
    /// Begins a container of `terms` terms, at least one. `reserved` is the number to reserve memory for.
    pub(super) fn open(&mut self, shape: Shape, terms: u64, reserved: usize) {
        let mut open = Open {
            shape,
            left: terms,
            elements: Vec::new(),
            pairs: Vec::new(),
        };
        match shape {
            Shape::Map => open.pairs.reserve_exact(reserved / 2),
            Shape::Tuple | Shape::List => open.elements.reserve_exact(reserved),
            Shape::Cons => open.elements.reserve_exact(reserved.saturating_sub(1)),
        }
        self.open.push(open);
    }

    /// Adds a term to the innermost container. Returns the outermost one when it is complete.
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

    /// Continues the list whose tail comes next by `terms` terms, the last of which is the tail.
    pub(super) fn extend(&mut self, terms: u64, reserved: usize) {
        if let Some(open) = self.open.last_mut() {
            open.left = terms;
            open.elements.reserve(reserved.saturating_sub(1));
        }
    }

    /// Completes the list whose tail comes next, without a tail.
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

/// Returns the list without unused memory, of which it may have as much again.
fn fitted(mut elements: Vec<Term>) -> Vec<Term> {
    if elements.capacity() > elements.len() {
        elements.shrink_to_fit();
    }
    elements
}
