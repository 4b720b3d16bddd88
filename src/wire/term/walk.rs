//! Terms copied, compared and hashed, without recursion.

use std::cmp::Ordering;
use std::collections::btree_map;
use std::hash::{Hash, Hasher};
use std::slice;

use super::Term;
use super::build::{Builder, Shape};

/// The terms in a term: of a map each key before its value, of an improper list the tail last.
#[derive(Clone)]
pub(super) enum Children<'a> {
    Elements(slice::Iter<'a, Term>),
    Improper(slice::Iter<'a, Term>, Option<&'a Term>),
    Pairs(btree_map::Iter<'a, Term, Term>, Option<&'a Term>),
}

impl<'a> Children<'a> {
    /// `None` of what has nothing in it.
    pub(super) fn of(term: &'a Term) -> Option<Self> {
        match term {
            Term::Tuple(elements) | Term::List(elements) if !elements.is_empty() => {
                Some(Self::Elements(elements.iter()))
            }
            Term::ImproperList(elements, tail) => Some(Self::Improper(elements.iter(), Some(tail))),
            Term::Map(pairs) if !pairs.is_empty() => Some(Self::Pairs(pairs.iter(), None)),
            _ => None,
        }
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = &'a Term;

    #[inline]
    fn next(&mut self) -> Option<&'a Term> {
        match self {
            Self::Elements(elements) => elements.next(),
            Self::Improper(elements, tail) => elements.next().or_else(|| tail.take()),
            Self::Pairs(pairs, value) => value.take().or_else(|| {
                let (key, next) = pairs.next()?;
                *value = Some(next);
                Some(key)
            }),
        }
    }
}

impl Clone for Term {
    fn clone(&self) -> Self {
        let Some(children) = Children::of(self) else {
            return leaf(self);
        };
        let mut builder = Builder::default();
        let mut open = vec![children];
        begin(&mut builder, self);
        loop {
            let innermost = open
                .last_mut()
                .expect("the outermost is open until the end");
            let Some(term) = innermost.next() else {
                open.pop();
                continue;
            };
            if let Some(children) = Children::of(term) {
                begin(&mut builder, term);
                open.push(children);
                continue;
            }
            let Ok(whole) = builder.add(leaf(term)) else {
                unreachable!("a map has no key twice, and nor has its copy");
            };
            if let Some(whole) = whole {
                return whole;
            }
        }
    }
}

fn begin(builder: &mut Builder, term: &Term) {
    let (shape, terms) = match term {
        Term::Tuple(elements) => (Shape::Tuple, elements.len()),
        Term::ImproperList(elements, _) => (Shape::Cons, elements.len() + 1),
        Term::Map(pairs) => (Shape::Map, 2 * pairs.len()),
        Term::List(elements) => (Shape::List, elements.len()),
        _ => unreachable!("it has children"),
    };
    builder.open(shape, terms as u64, terms);
}

/// A copy of what has no terms in it.
fn leaf(term: &Term) -> Term {
    match term {
        Term::Integer(value) => Term::Integer(*value),
        Term::BigInteger(value) => Term::BigInteger(value.clone()),
        Term::Float(value) => Term::Float(*value),
        Term::Atom(name) => Term::Atom(name.clone()),
        Term::Opaque(opaque) => Term::Opaque(opaque.clone()),
        Term::Binary(bytes) => Term::Binary(bytes.clone()),
        Term::BitBinary(bits) => Term::BitBinary(bits.clone()),
        Term::Tuple(_) => Term::Tuple(Vec::new()),
        Term::Map(_) => Term::map([]),
        Term::List(_) | Term::ImproperList(..) => Term::List(Vec::new()),
    }
}

/// By kind, then by value; lists and tuples element by element, maps pair by pair.
impl Ord for Term {
    fn cmp(&self, other: &Self) -> Ordering {
        let mut open: Vec<Pair<'_>> = Vec::new();
        let (mut a, mut b) = (self, other);
        loop {
            match heads(a, b) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
            if let (Some(a), Some(b)) = (Pair::side(a), Pair::side(b)) {
                open.push(Pair(a, b));
            }
            loop {
                let Some(Pair(left, right)) = open.last_mut() else {
                    return Ordering::Equal;
                };
                match (left.0.next(), right.0.next()) {
                    (Some(x), Some(y)) => {
                        (a, b) = (x, y);
                        break;
                    }
                    (Some(_), None) => return Ordering::Greater,
                    (None, Some(_)) => return Ordering::Less,
                    (None, None) => {}
                }
                // The tails count after all elements.
                let tails = (left.1, right.1);
                open.pop();
                if let (Some(x), Some(y)) = tails {
                    (a, b) = (x, y);
                    break;
                }
            }
        }
    }
}

/// What is left of two terms of a kind that are compared: elements, and the tail.
struct Pair<'a>(Side<'a>, Side<'a>);

type Side<'a> = (Children<'a>, Option<&'a Term>);

impl<'a> Pair<'a> {
    fn side(term: &'a Term) -> Option<Side<'a>> {
        match term {
            Term::ImproperList(elements, tail) => {
                Some((Children::Elements(elements.iter()), Some(tail)))
            }
            Term::Tuple(elements) | Term::List(elements) => {
                Some((Children::Elements(elements.iter()), None))
            }
            Term::Map(pairs) => Some((Children::Pairs(pairs.iter(), None), None)),
            _ => None,
        }
    }
}

/// Compares kinds, and the values of what has no terms in it.
fn heads(a: &Term, b: &Term) -> Ordering {
    match (a, b) {
        (Term::Integer(a), Term::Integer(b)) => a.cmp(b),
        (Term::BigInteger(a), Term::BigInteger(b)) => a.cmp(b),
        (Term::Float(a), Term::Float(b)) => a.cmp(b),
        (Term::Atom(a), Term::Atom(b)) => a.cmp(b),
        (Term::Opaque(a), Term::Opaque(b)) => a.cmp(b),
        (Term::Binary(a), Term::Binary(b)) => a.cmp(b),
        (Term::BitBinary(a), Term::BitBinary(b)) => a.cmp(b),
        _ => kind(a).cmp(&kind(b)),
    }
}

fn kind(term: &Term) -> u8 {
    match term {
        Term::Integer(_) => 0,
        Term::BigInteger(_) => 1,
        Term::Float(_) => 2,
        Term::Atom(_) => 3,
        Term::Opaque(_) => 4,
        Term::Tuple(_) => 5,
        Term::Map(_) => 6,
        Term::List(_) => 7,
        Term::ImproperList(..) => 8,
        Term::Binary(_) => 9,
        Term::BitBinary(_) => 10,
    }
}

impl PartialOrd for Term {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Term {}

impl Hash for Term {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut open = Vec::new();
        let mut term = self;
        loop {
            kind(term).hash(state);
            match term {
                Self::Integer(value) => value.hash(state),
                Self::BigInteger(value) => value.hash(state),
                Self::Float(value) => value.hash(state),
                Self::Atom(name) => name.hash(state),
                Self::Opaque(opaque) => opaque.hash(state),
                Self::Binary(bytes) => bytes.hash(state),
                Self::BitBinary(bits) => bits.hash(state),
                Self::Tuple(elements) | Self::List(elements) | Self::ImproperList(elements, _) => {
                    elements.len().hash(state);
                }
                Self::Map(pairs) => pairs.len().hash(state),
            }
            open.extend(Children::of(term));
            term = loop {
                let Some(innermost) = open.last_mut() else {
                    return;
                };
                match innermost.next() {
                    Some(next) => break next,
                    None => drop(open.pop()),
                }
            };
        }
    }
}
