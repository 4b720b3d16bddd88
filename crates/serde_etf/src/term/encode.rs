//! A `Term` into bytes, without recursion.

use super::Term;
use super::walk::Children;
use crate::{EncodeError, tag, write};

/// The size up to which output is collected.
const CHUNK: usize = 4096;

/// Passes the encoded term, without 131, to `put` in chunks.
pub(super) fn chunks<'a, E>(
    term: &'a Term,
    mut put: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), Unencodable<'a, E>> {
    let mut out = Vec::with_capacity(128);
    let mut open: Vec<(Children<'_>, bool)> = Vec::new();
    let mut term = term;
    loop {
        match term {
            // It is not copied to `out` first.
            Term::Binary(bytes) if bytes.len() > CHUNK => {
                write::head(&mut out, tag::BINARY, bytes.len()).map_err(Unencodable::Other)?;
                put(&out).map_err(Unencodable::Put)?;
                put(bytes).map_err(Unencodable::Put)?;
                out.clear();
            }
            _ => head(&mut out, term).map_err(|error| match (error, term) {
                (EncodeError::AtomTooLong(_), Term::Atom(name)) => Unencodable::Atom(name),
                (error, _) => Unencodable::Other(error),
            })?,
        }
        if out.len() > CHUNK {
            put(&out).map_err(Unencodable::Put)?;
            out.clear();
        }
        if let Some(children) = Children::of(term) {
            open.push((children, matches!(term, Term::List(_))));
        }
        term = loop {
            let Some((children, is_list)) = open.last_mut() else {
                return put(&out).map_err(Unencodable::Put);
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

/// Why a term is not encoded.
pub(super) enum Unencodable<'a, E> {
    /// This atom is too long.
    Atom(&'a str),
    Other(EncodeError),
    /// `put` failed.
    Put(E),
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
