//! Elements of a pair that cannot be decoded as a whole.
//!
//! In a protocol such as `{reference, request}` the reference can still be read if the request is over a limit or
//! malformed. These functions read no more of the payload than necessary, decode nothing, and use bounded memory.

use std::io::{BufRead, BufReader, Read};

use crate::{Limits, scan, tag, zip};

/// Returns an upper bound of the bytes that a check of the payload reads, in constant time.
///
/// It is the size of the payload, or the inflated size that it announces if that is larger.
#[must_use]
pub fn cost(payload: &[u8]) -> usize {
    match *payload {
        [tag::VERSION, tag::COMPRESSED, a, b, c, d, ..] => {
            payload.len().max(u32::from_be_bytes([a, b, c, d]) as usize)
        }
        _ => payload.len(),
    }
}

/// Returns the first element of a pair as a payload of its own, with the leading 131, if it takes at most
/// `max` bytes.
///
/// It must be a term within the default [`Limits`]; the bytes after it are not read. A compressed payload is inflated
/// up to `max` bytes only.
#[must_use]
pub fn first_of_pair(payload: &[u8], max: usize) -> Option<Vec<u8>> {
    match payload {
        [tag::VERSION, tag::COMPRESSED, packed @ ..] => first(zip::open(packed).ok()?.1, max),
        [tag::VERSION, plain @ ..] => first(plain, max),
        _ => None,
    }
}

/// Returns the second element of a pair as a payload of its own, with the leading 131, if it takes at most
/// `max` bytes.
///
/// It must be a term within the default [`Limits`]; the first element may be of any depth and size, but
/// its lengths must be true. A compressed payload is inflated as far as `limits` allow.
#[must_use]
pub fn second_of_pair(payload: &[u8], max: usize, limits: &Limits) -> Option<Vec<u8>> {
    match payload {
        [tag::VERSION, tag::COMPRESSED, packed @ ..] => {
            let (size, stream) = zip::open(packed).ok()?;
            limits.may_inflate(stream.get_ref().len(), size).ok()?;
            second(BufReader::new(stream.take(size as u64)), max)
        }
        [tag::VERSION, plain @ ..] => second(plain, max),
        _ => None,
    }
}

fn first(mut plain: impl Read, max: usize) -> Option<Vec<u8>> {
    pair(&mut plain)?;
    whole(plain, max)
}

fn second(mut plain: impl BufRead, max: usize) -> Option<Vec<u8>> {
    pair(&mut plain)?;
    let mut pending = 1_u64;
    while pending > 0 {
        pending = (pending - 1).saturating_add(skip_head(&mut plain)?);
    }
    whole(plain, max)
}

/// Reads the head of a tuple of two.
fn pair(plain: &mut impl Read) -> Option<()> {
    let arity = match byte(plain)? {
        tag::SMALL_TUPLE => byte(plain)?.into(),
        tag::LARGE_TUPLE => u32::from_be_bytes(array(plain)?),
        _ => return None,
    };
    (arity == 2).then_some(())
}

/// Reads one whole term of at most `max` bytes.
fn whole(plain: impl Read, max: usize) -> Option<Vec<u8>> {
    let mut payload = vec![tag::VERSION];
    // A stream that is damaged later is whole up to here.
    let _ = plain.take(max as u64).read_to_end(&mut payload);
    let length = scan::scan(&payload[1..], &Limits::default()).ok()?;
    payload.truncate(1 + length);
    Some(payload)
}

/// Skips the head of a term, and returns the number of terms that follow.
fn skip_head(plain: &mut impl BufRead) -> Option<u64> {
    let tag = byte(plain)?;
    let length = match tag {
        tag::SMALL_TUPLE => return Some(byte(plain)?.into()),
        tag::LARGE_TUPLE => return long(plain),
        tag::LIST => return Some(long(plain)? + 1),
        tag::MAP => return Some(2 * long(plain)?),
        tag::NIL => 0,
        tag::SMALL_INTEGER => 1,
        tag::INTEGER => 4,
        tag::NEW_FLOAT => 8,
        tag::FLOAT => 31,
        tag::SMALL_BIG => 1 + u64::from(byte(plain)?),
        tag::LARGE_BIG | tag::BIT_BINARY => 1 + long(plain)?,
        tag::BINARY => long(plain)?,
        tag::STRING | tag::ATOM | tag::ATOM_UTF8 => short(plain)?,
        tag::SMALL_ATOM | tag::SMALL_ATOM_UTF8 => byte(plain)?.into(),
        tag::PID => after_atom(plain, 9)?,
        tag::NEW_PID | tag::V4_PORT => after_atom(plain, 12)?,
        tag::REFERENCE | tag::PORT => after_atom(plain, 5)?,
        tag::NEW_PORT => after_atom(plain, 8)?,
        tag::NEW_REFERENCE => {
            let words = short(plain)?;
            after_atom(plain, 1 + 4 * words)?
        }
        tag::NEWER_REFERENCE => {
            let words = short(plain)?;
            after_atom(plain, 4 + 4 * words)?
        }
        // An atom, an atom and an integer, each a term.
        tag::EXPORT => return Some(3),
        tag::NEW_FUN => long(plain)?.checked_sub(4)?,
        // A pid, an atom, two integers and the free variables.
        tag::FUN => return Some(4 + long(plain)?),
        _ => return None,
    };
    discard(plain, length)?;
    Some(0)
}

/// Skips an atom, and returns `length`, which follows it.
fn after_atom(plain: &mut impl BufRead, length: u64) -> Option<u64> {
    let name = match byte(plain)? {
        tag::SMALL_ATOM | tag::SMALL_ATOM_UTF8 => byte(plain)?.into(),
        tag::ATOM | tag::ATOM_UTF8 => short(plain)?,
        _ => return None,
    };
    discard(plain, name)?;
    Some(length)
}

fn discard(plain: &mut impl BufRead, mut length: u64) -> Option<()> {
    while length > 0 {
        let there = plain.fill_buf().ok()?.len();
        if there == 0 {
            return None;
        }
        let taken = usize::try_from(length).map_or(there, |length| length.min(there));
        plain.consume(taken);
        length -= taken as u64;
    }
    Some(())
}

fn byte(plain: &mut impl Read) -> Option<u8> {
    array(plain).map(|[byte]| byte)
}

fn short(plain: &mut impl Read) -> Option<u64> {
    array(plain).map(u16::from_be_bytes).map(u64::from)
}

fn long(plain: &mut impl Read) -> Option<u64> {
    array(plain).map(u32::from_be_bytes).map(u64::from)
}

fn array<const N: usize>(plain: &mut impl Read) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    plain.read_exact(&mut bytes).ok()?;
    Some(bytes)
}
