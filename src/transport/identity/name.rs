//! The strings in a certificate's names.
//!
//! RFC 5280 has five string types for a name (`DirectoryString`), and uses two more for e-mail addresses, domain
//! components and serial numbers. A decision by a peer's name must not depend on the encoding, and two different
//! names must not look equal. So malformed strings, and strings with a control character, are rejected.

use std::fmt::Write as _;

use x509_parser::{
    asn1_rs::{Any, Class, Tag},
    objects::{oid_registry, oid2abbrev},
    x509::X509Name,
};

use crate::transport::text::LONGEST;

/// Returns the text of a string of any type; `None` if it is malformed.
///
/// - `TeletexString` is read as Latin-1, as is common practice. T.61, the specified encoding, differs in accented
///   letters only.
/// - `BMPString` may hold surrogate pairs: Windows writes UTF-16.
pub(super) fn text(value: &Any<'_>) -> Option<String> {
    if value.class() != Class::Universal || value.header.is_constructed() {
        return None;
    }
    let data = value.data;
    let text = match value.tag() {
        Tag::Utf8String => std::str::from_utf8(data).ok()?.to_owned(),
        Tag::PrintableString | Tag::NumericString | Tag::Ia5String | Tag::VisibleString => {
            ascii(data)?.to_owned()
        }
        Tag::T61String => data.iter().copied().map(char::from).collect(),
        Tag::BmpString => {
            let (units, rest) = data.as_chunks::<2>();
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            let text: Result<_, _> = char::decode_utf16(units).collect();
            rest.is_empty().then_some(text.ok()?)?
        }
        Tag::UniversalString => {
            let (units, rest) = data.as_chunks::<4>();
            let units = units.iter().map(|unit| u32::from_be_bytes(*unit));
            let text: Option<_> = units.map(char::from_u32).collect();
            rest.is_empty().then_some(text?)?
        }
        _ => return None,
    };
    is_plain(&text).then_some(text)
}

/// Returns a DNS name or a URI; `None` if it is not plain ASCII.
pub(super) fn ascii_name(name: &str) -> Option<String> {
    (name.is_ascii() && is_plain(name)).then(|| name.to_owned())
}

fn ascii(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data)
        .ok()
        .filter(|text| text.is_ascii())
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

/// Formats a distinguished name, as in `C=XY, O=some, CN=name`: escaped as in RFC 4514, and truncated.
///
/// A value that is not text is formatted in hexadecimal, also as in RFC 4514.
pub(in crate::transport) fn distinguished(name: &X509Name<'_>) -> String {
    let mut shown = String::new();
    for attribute in name.iter_attributes() {
        let comma = if shown.is_empty() { "" } else { ", " };
        let kind = attribute.attr_type();
        let _ = match oid2abbrev(kind, oid_registry()) {
            Ok(kind) => write!(shown, "{comma}{kind}="),
            Err(_) => write!(shown, "{comma}{kind}="),
        };
        match text(attribute.attr_value()) {
            Some(text) => text.chars().for_each(|c| escape(c, &mut shown)),
            None => {
                shown.push('#');
                let bytes = attribute.as_slice().iter().take(LONGEST);
                bytes.for_each(|byte| _ = write!(shown, "{byte:02x}"));
            }
        }
        if shown.len() > LONGEST {
            let fits = (0..=LONGEST).rfind(|&end| shown.is_char_boundary(end));
            shown.truncate(fits.unwrap_or_default());
            shown.push('…');
            break;
        }
    }
    if shown.is_empty() {
        shown.push_str("an empty name");
    }
    shown
}

fn escape(c: char, shown: &mut String) {
    match c {
        '\'' => shown.push(c),
        ',' | '+' | ';' | '<' | '>' | '=' => shown.extend(['\\', c]),
        _ => shown.extend(c.escape_debug()),
    }
}
