//! Compressed terms: tag 80, the size of the plain term in four bytes, and a zlib stream.

use std::io::{Read, Write};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};

use super::{DecodeError, EncodeError, Limits, tag};

/// Compresses an encoded term, which begins with 131, if that makes it smaller.
///
/// `level` is 0 (none) to 9 (best), as for Erlang's `term_to_binary`. A term that does not get
/// smaller comes back as it was; so does anything that is not a plain encoded term.
///
/// # Errors
///
/// - [`EncodeError::Level`]: the level is above 9.
#[expect(clippy::missing_panics_doc, reason = "writing to memory does not fail")]
pub fn compress(term: Vec<u8>, level: u8) -> Result<Vec<u8>, EncodeError> {
    if level > 9 {
        return Err(EncodeError::Level(level));
    }
    let [tag::VERSION, body @ ..] = term.as_slice() else {
        return Ok(term);
    };
    let (Ok(size), false) = (
        u32::try_from(body.len()),
        body.first() == Some(&tag::COMPRESSED),
    ) else {
        return Ok(term);
    };
    let mut packed = vec![tag::VERSION, tag::COMPRESSED];
    packed.extend(size.to_be_bytes());
    let mut encoder = ZlibEncoder::new(packed, Compression::new(level.into()));
    let packed = encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail");
    Ok(if packed.len() < term.len() {
        packed
    } else {
        term
    })
}

/// Inflates what follows tag 80. Never holds more than the announced size, which is within the limit.
pub(super) fn inflate(bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, DecodeError> {
    let (size, packed) = bytes.split_first_chunk().ok_or(DecodeError::Truncated)?;
    let size = u32::from_be_bytes(*size) as usize;
    if size > limits.inflated {
        return Err(DecodeError::Inflated {
            limit: limits.inflated,
        });
    }
    // One byte more than announced is asked for, so that a longer stream shows.
    let mut plain = Vec::new();
    ZlibDecoder::new(packed)
        .take(size as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|_| DecodeError::Compressed)?;
    match plain.len() == size {
        true => Ok(plain),
        false => Err(DecodeError::Compressed),
    }
}
