//! A `Term` into bytes, without recursion.

use std::fmt;

use super::Term;
use super::walk::Children;
use crate::wire::etf::{EncodeError, room, tag, write};

/// Appends the term, without 131.
pub(super) fn append<'a>(out: &mut Vec<u8>, term: &'a Term) -> Result<(), Unencodable<'a>> {
    let mut open: Vec<(Children<'_>, bool)> = Vec::new();
    let mut term = term;
    loop {
        room::check(out, 1).map_err(Unencodable::Other)?;
        head(out, term).map_err(|error| match (error, term) {
            (EncodeError::AtomTooLong(_), Term::Atom(name)) => Unencodable::Atom(name),
            (error, _) => Unencodable::Other(error),
        })?;
        if let Some(children) = Children::of(term) {
            open.push((children, matches!(term, Term::List(_))));
        }
        term = loop {
            let Some((children, is_list)) = open.last_mut() else {
                return Ok(());
            };
            if let Some(next) = children.next() {
                break next;
            }
            if *is_list {
                out.push(tag::NIL);
            }
            open.pop();
        };
    }
}

/// Why a term cannot be encoded.
pub(super) enum Unencodable<'a> {
    /// This atom is too long.
    Atom(&'a str),
    Other(EncodeError),
}

impl fmt::Display for Unencodable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atom(name) => EncodeError::AtomTooLong((*name).to_owned()).fmt(f),
            Self::Other(error) => error.fmt(f),
        }
    }
}

fn head(out: &mut Vec<u8>, term: &Term) -> Result<(), EncodeError> {
    match term {
        Term::Integer(value) => write::integer(out, (*value).into()),
        Term::BigInteger(value) => write::magnitude(out, value.is_negative(), value.magnitude())?,
        Term::Float(value) => write::float(out, value.value()),
        Term::Atom(name) => write::atom(out, name)?,
        Term::Opaque(opaque) => out.extend_from_slice(opaque.as_bytes()),
        Term::Tuple(elements) => write::tuple(out, elements.len())?,
        Term::Map(pairs) => write::head(out, tag::MAP, pairs.len())?,
        Term::List(elements) if elements.is_empty() => out.push(tag::NIL),
        Term::List(elements) | Term::ImproperList(elements, _) => {
            write::head(out, tag::LIST, elements.len())?;
        }
        Term::Binary(bytes) => write::binary(out, bytes)?,
        Term::BitBinary(bits) => {
            write::head(out, tag::BIT_BINARY, bits.as_bytes().len())?;
            out.push(bits.used());
            out.extend_from_slice(bits.as_bytes());
        }
    }
    Ok(())
}
