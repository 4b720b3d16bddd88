//! Copying, comparing and hashing of terms, without recursion.

use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};
use std::hash::{Hash, Hasher};
use std::slice;

use super::Term;
use super::build::{Builder, Shape};

/// The children of a term: in a map each key before its value, in an improper list the tail last.
#[derive(Clone)]
pub(super) enum Children<'a> {
    Elements(slice::Iter<'a, Term>),
    Improper(slice::Iter<'a, Term>, Option<&'a Term>),
    Pairs(btree_map::Iter<'a, Term, Term>, Option<&'a Term>),
}

impl<'a> Children<'a> {
    /// Returns `None` if the term contains no terms.
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
        let children = match shallow(self) {
            Ok(copy) => return copy,
            Err(children) => children,
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
            let copy = match shallow(term) {
                Ok(copy) => copy,
                Err(children) => {
                    begin(&mut builder, term);
                    open.push(children);
                    continue;
                }
            };
            let Ok(whole) = builder.add(copy) else {
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

/// Returns a copy of a term of at most two levels, or the children of a deeper one.
fn shallow(term: &Term) -> Result<Term, Children<'_>> {
    let is_leaf = |term: &Term| Children::of(term).is_none();
    if let Some(children) = Children::of(term)
        && !children.clone().all(is_leaf)
    {
        return Err(children);
    }
    Ok(match term {
        Term::Integer(value) => Term::Integer(*value),
        Term::BigInteger(value) => Term::BigInteger(value.clone()),
        Term::Float(value) => Term::Float(*value),
        Term::Atom(name) => Term::Atom(name.clone()),
        Term::Opaque(opaque) => Term::Opaque(opaque.clone()),
        Term::Binary(bytes) => Term::Binary(bytes.clone()),
        Term::BitBinary(bits) => Term::BitBinary(bits.clone()),
        // Their elements are leaves.
        Term::Tuple(elements) => Term::Tuple(elements.clone()),
        Term::Map(pairs) => Term::Map(pairs.clone()),
        Term::List(elements) => Term::List(elements.clone()),
        Term::ImproperList(elements, tail) => Term::ImproperList(elements.clone(), tail.clone()),
    })
}

/// By kind, then by value; lists and tuples element by element, maps pair by pair.
impl Ord for Term {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match heads(self, other) {
            Ordering::Equal => inner(self, other),
            unequal => unequal,
        }
    }
}

/// Compares the children of two terms of the same kind.
fn inner(a: &Term, b: &Term) -> Ordering {
    let mut open = Vec::new();
    open.extend(Pair::of(a, b));
    while let Some(Pair(left, right)) = open.last_mut() {
        let (a, b) = match (left.0.next(), right.0.next()) {
            (Some(a), Some(b)) => (a, b),
            (Some(_), None) => return Ordering::Greater,
            (None, Some(_)) => return Ordering::Less,
            (None, None) => {
                // Tails are compared after all elements.
                let tails = (left.1, right.1);
                open.pop();
                match tails {
                    (Some(a), Some(b)) => (a, b),
                    _ => continue,
                }
            }
        };
        match heads(a, b) {
            Ordering::Equal => open.extend(Pair::of(a, b)),
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

/// The children of two terms of the same kind that were not compared yet: elements, and the tail.
struct Pair<'a>(Side<'a>, Side<'a>);

type Side<'a> = (Children<'a>, Option<&'a Term>);

impl<'a> Pair<'a> {
    /// Returns `None` for terms that contain no terms.
    #[inline]
    fn of(a: &'a Term, b: &'a Term) -> Option<Self> {
        let elements = |terms: &'a [Term]| Children::Elements(terms.iter());
        match (a, b) {
            (Term::Tuple(a), Term::Tuple(b)) | (Term::List(a), Term::List(b)) => {
                Some(Self((elements(a), None), (elements(b), None)))
            }
            (Term::Map(a), Term::Map(b)) => {
                let pairs = |terms: &'a BTreeMap<_, _>| Children::Pairs(terms.iter(), None);
                Some(Self((pairs(a), None), (pairs(b), None)))
            }
            (Term::ImproperList(a, tail), Term::ImproperList(b, other)) => {
                Some(Self((elements(a), Some(tail)), (elements(b), Some(other))))
            }
            _ => None,
        }
    }
}

/// Compares the kinds, and the values of terms that contain no terms.
#[inline]
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
