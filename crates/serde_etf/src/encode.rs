//! The entry points of encoding.

use serde::Serialize;

use crate::encoder::{Context, Encoder};
use crate::output_limit::OutputLimit;
use crate::{EncodeError, tag};

/// Encodes a value, with the leading 131 of a payload.
///
/// # Errors
///
/// Those of [`encode_into`].
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(64);
    out.push(tag::VERSION);
    encode_into(&mut out, value)?;
    Ok(out)
}

/// Appends a value to `out` as a term, without the leading 131.
///
/// On an error, `out` is unchanged. If a hand-written `Serialize` writes a map key twice, receivers reject the term.
///
/// # Errors
///
/// - [`EncodeError::AtomTooLong`]: a variant or field name has more than 255 characters.
/// - [`EncodeError::NotFinite`]: a float is infinite or not a number.
/// - [`EncodeError::TooLarge`]: a length does not fit the format.
/// - [`EncodeError::Wide`], [`EncodeError::Key`]: serde could not decode the value again.
/// - [`EncodeError::Arity`]: a `Serialize` writes more or fewer elements of a tuple than it announced.
/// - [`EncodeError::Custom`]: a `Serialize` returns an error of its own.
pub fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    encode_within(out, value, usize::MAX).map(|_| ())
}

/// Appends a value to `out` as [`encode_into`] does, unless `out` would have more than `end` bytes. Returns whether the
/// value was encoded; if not, `out` is unchanged.
///
/// # Errors
///
/// Those of [`encode_into`].
pub fn encode_within<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    value: &T,
    end: usize,
) -> Result<bool, EncodeError> {
    let before = out.len();
    let limit = OutputLimit::set(end);
    let encoded = value.serialize(Encoder::of(out, value, Context::Plain));
    let is_exceeded = limit.is_exceeded() || out.len() > end;
    if is_exceeded || encoded.is_err() {
        out.truncate(before);
    }
    match is_exceeded {
        true => Ok(false),
        false => encoded.map(|()| true),
    }
}
