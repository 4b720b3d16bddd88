//! Lines of a PEM text, and the marks in them.

use std::borrow::Cow;

/// A description of what is wrong with a PEM text. It contains no byte of the text.
pub(in crate::transport::tls) type Fault = Cow<'static, str>;

pub(super) const BEGIN: &[u8] = b"-----BEGIN ";
pub(super) const END: &[u8] = b"-----END ";
pub(super) const DASHES: &[u8] = b"-----";
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns a line without white space and byte-order marks around it.
pub(super) fn trimmed(line: &[u8]) -> &[u8] {
    let mut line = line.trim_ascii();
    while let Some(rest) = line.strip_prefix(BYTE_ORDER_MARK) {
        line = rest.trim_ascii();
    }
    line
}

/// Returns the lines of a text, without their line feeds.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

/// Returns true if `part` occurs in `text`.
pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Returns the fault of a text with escaped line feeds.
pub(super) fn literal_newlines() -> Fault {
    Cow::Borrowed(
        "it has the two characters `\\` and `n` instead of line feeds, as from an environment variable: replace them by line feeds",
    )
}
