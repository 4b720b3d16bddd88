//! The heads of encoded terms, written by the typed encoder and the dynamic `Term`.

use crate::token::MAX_ATOM_CHARS;
use crate::{EncodeError, output_limit, tag};

/// The length of a tag with four bytes of length, as a binary has it.
pub(super) const HEAD: usize = 5;

#[inline]
pub(crate) fn integer(out: &mut Vec<u8>, value: i128) {
    match (u8::try_from(value), i32::try_from(value)) {
        (Ok(small), _) => out.extend([tag::SMALL_INTEGER, small]),
        (_, Ok(medium)) => {
            let [a, b, c, d] = medium.to_be_bytes();
            out.extend([tag::INTEGER, a, b, c, d]);
        }
        _ => big(out, value < 0, value.unsigned_abs()),
    }
}

pub(super) fn big(out: &mut Vec<u8>, negative: bool, magnitude: u128) {
    let used = (128 - magnitude.leading_zeros() as usize).div_ceil(8);
    out.extend([tag::SMALL_BIG, used as u8, negative.into()]);
    out.extend_from_slice(&magnitude.to_le_bytes()[..used]);
}

/// Writes an integer of any size. The last byte of its magnitude must not be zero.
pub(crate) fn magnitude(
    out: &mut Vec<u8>,
    negative: bool,
    magnitude: &[u8],
) -> Result<(), EncodeError> {
    match u8::try_from(magnitude.len()) {
        Ok(length) => out.extend([tag::SMALL_BIG, length]),
        Err(_) => head(out, tag::LARGE_BIG, magnitude.len())?,
    }
    out.push(negative.into());
    out.extend_from_slice(magnitude);
    Ok(())
}

#[inline]
pub(crate) fn float(out: &mut Vec<u8>, value: f64) {
    out.push(tag::NEW_FLOAT);
    out.extend(value.to_be_bytes());
}

#[inline]
pub(crate) fn atom(out: &mut Vec<u8>, name: &str) -> Result<(), EncodeError> {
    match u8::try_from(name.len()) {
        Ok(length) => out.extend([tag::SMALL_ATOM_UTF8, length]),
        // At most 255 characters of four bytes: the length fits.
        Err(_) if name.chars().take(MAX_ATOM_CHARS + 1).count() <= MAX_ATOM_CHARS => {
            let [high, low] = (name.len() as u16).to_be_bytes();
            out.extend([tag::ATOM_UTF8, high, low]);
        }
        Err(_) => return Err(EncodeError::AtomTooLong(name.chars().take(64).collect())),
    }
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

#[inline]
pub(crate) fn binary(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    output_limit::check(out, bytes.len())?;
    out.reserve(HEAD + bytes.len());
    head(out, tag::BINARY, bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}

#[inline]
pub(crate) fn tuple(out: &mut Vec<u8>, arity: usize) -> Result<(), EncodeError> {
    match u8::try_from(arity) {
        Ok(small) => out.extend([tag::SMALL_TUPLE, small]),
        Err(_) => head(out, tag::LARGE_TUPLE, arity)?,
    }
    Ok(())
}

/// Writes a tag and four bytes of length.
#[inline]
pub(crate) fn head(out: &mut Vec<u8>, tag: u8, length: usize) -> Result<(), EncodeError> {
    let [a, b, c, d] = count(length)?.to_be_bytes();
    out.extend([tag, a, b, c, d]);
    Ok(())
}

#[inline]
pub(super) fn count(length: usize) -> Result<u32, EncodeError> {
    u32::try_from(length).map_err(|_| EncodeError::TooLarge)
}
