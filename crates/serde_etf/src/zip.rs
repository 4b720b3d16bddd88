//! Compressed terms: tag 80, the size of the plain term in four bytes, and a zlib stream.

use std::io::{Read, Write};

use flate2::{Compression, bufread::ZlibDecoder, write::ZlibEncoder};

use crate::{DecodeError, EncodeError, Limits, tag};

/// Compresses an encoded term, which begins with 131, if that makes it smaller.
///
/// `level` is 0 (none) to 9 (best), as for Erlang's `term_to_binary`. A term is returned unchanged if it does not get
/// smaller, if a receiver with the default [`Limits::ratio`] would refuse it, or if it is not a plain encoded term.
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
    let default = Limits::default().inflated(usize::MAX);
    let accepted = default.may_inflate(packed.len() - HEAD, body.len()).is_ok();
    Ok(match accepted && packed.len() < term.len() {
        true => packed,
        false => term,
    })
}

/// The length of 131, 80 and the size of the plain term, which precede the zlib stream.
const HEAD: usize = 6;

/// Inflates the bytes after tag 80, up to the announced size, which must be within the limits.
pub(super) fn inflate(bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, DecodeError> {
    let (size, mut stream) = open(bytes)?;
    limits.may_inflate(stream.get_ref().len(), size)?;
    let mut plain = Vec::new();
    // One byte more than announced is read, so that a longer stream is detected.
    stream
        .by_ref()
        .take(size as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|_| DecodeError::Compressed)?;
    match plain.len() == size {
        true => Ok(plain),
        false => Err(DecodeError::Compressed),
    }
}

/// Returns the announced size, and the stream of the plain term.
pub(super) fn open(bytes: &[u8]) -> Result<(usize, ZlibDecoder<&[u8]>), DecodeError> {
    let (size, packed) = bytes.split_first_chunk().ok_or(DecodeError::Truncated)?;
    Ok((u32::from_be_bytes(*size) as usize, ZlibDecoder::new(packed)))
}
