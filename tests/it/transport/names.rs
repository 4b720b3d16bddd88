//! Names in certificates: all string types are read, and malformed or ambiguous names are ignored.

use erps::PeerIdentity;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

const UTF8: u8 = 0x0c;
const NUMERIC: u8 = 0x12;
const PRINTABLE: u8 = 0x13;
const TELETEX: u8 = 0x14;
const IA5: u8 = 0x16;
const VISIBLE: u8 = 0x1a;
const UNIVERSAL: u8 = 0x1c;
const BMP: u8 = 0x1e;

fn certificate(names: &[(DnType, &str)], alternative: &str) -> Vec<u8> {
    let mut params = CertificateParams::new(vec![alternative.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    for (kind, name) in names {
        let value = DnValue::Utf8String((*name).to_owned());
        params.distinguished_name.push(kind.clone(), value);
    }
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

/// Replaces all occurrences of `old` by `new`, which has the same length.
fn patch(der: &mut [u8], old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len());
    let mut found = 0;
    for at in 0..=der.len() - old.len() {
        if &der[at..at + old.len()] == old {
            der[at..at + old.len()].copy_from_slice(new);
            found += 1;
        }
    }
    assert!(found > 0);
}

/// The identity from a certificate whose common name has this string type and these bytes.
fn identity(tag: u8, bytes: &[u8]) -> PeerIdentity {
    let length = u8::try_from(bytes.len()).unwrap();
    let placeholder = "~".repeat(bytes.len());
    let mut der = certificate(&[(DnType::CommonName, &placeholder)], "some.host");
    let old = [&[UTF8, length], placeholder.as_bytes()].concat();
    patch(&mut der, &old, &[&[tag, length], bytes].concat());
    PeerIdentity::from_der(&der).unwrap()
}

fn common_name(tag: u8, bytes: &[u8]) -> Option<String> {
    identity(tag, bytes).common_name().map(str::to_owned)
}

fn bmp(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn universal(text: &str) -> Vec<u8> {
    let units = text.chars().map(u32::from);
    units.flat_map(u32::to_be_bytes).collect()
}

#[test]
fn common_name_is_read_from_each_kind_of_string() {
    let table: [(u8, &[u8], &str); 15] = [
        (UTF8, b"billing", "billing"),
        (PRINTABLE, b"billing", "billing"),
        (TELETEX, b"billing", "billing"),
        (BMP, &bmp("billing"), "billing"),
        (UNIVERSAL, &universal("billing"), "billing"),
        (IA5, b"me@a.b", "me@a.b"),
        (VISIBLE, b"billing", "billing"),
        (NUMERIC, b"123", "123"),
        (UTF8, "Zoë 東 😀".as_bytes(), "Zoë 東 😀"),
        (TELETEX, b"Zo\xeb", "Zoë"),
        (BMP, &bmp("Zoë 東"), "Zoë 東"),
        (BMP, &bmp("😀"), "😀"),
        (UNIVERSAL, &universal("Zoë 東 😀"), "Zoë 東 😀"),
        (PRINTABLE, b"*.a_b", "*.a_b"),
        (UTF8, b" a ", " a "),
    ];
    for (tag, bytes, name) in table {
        let read = common_name(tag, bytes);
        assert_eq!(read.as_deref(), Some(name), "{tag:#x} {bytes:?}");
    }
}

#[test]
fn malformed_common_name_is_none() {
    let table: [(u8, &[u8], &str); 21] = [
        (UTF8, b"a\xff", "no UTF-8"),
        (UTF8, b"\xed\xa0\x80", "a surrogate"),
        (UTF8, b"\xc0\xae", "longer than needed"),
        (UTF8, b"a\0b", "a zero"),
        (UTF8, b"a\nb", "a line feed"),
        (UTF8, "a\u{85}".as_bytes(), "a control character of Latin-1"),
        (UTF8, b"", "empty"),
        (PRINTABLE, b"Zo\xeb", "no ASCII"),
        (PRINTABLE, "Zoë".as_bytes(), "UTF-8 in ASCII"),
        (IA5, b"a\x80", "no ASCII"),
        (TELETEX, b"a\0", "a zero"),
        (TELETEX, b"a\x1b\x28", "an escape sequence"),
        (BMP, b"\0a\0", "an odd length"),
        (BMP, b"\0a\0\0", "a zero"),
        (BMP, b"\xd8\x3d", "half a pair"),
        (BMP, b"\xde\x00\xd8\x3d", "a pair the wrong way round"),
        (UNIVERSAL, b"\0\0\0a\0\0", "no multiple of four"),
        (UNIVERSAL, b"\0\0\xd8\x3d", "a surrogate"),
        (UNIVERSAL, b"\0\x11\0\0", "beyond Unicode"),
        (0x04, b"billing", "no string"),
        (0x2c, b"billing", "in pieces"),
    ];
    for (tag, bytes, why) in table {
        assert_eq!(common_name(tag, bytes), None, "{why}");
        assert_eq!(identity(tag, bytes).common_names().count(), 0, "{why}");
    }
}

#[test]
fn common_name_is_none_if_there_are_several() {
    // `DistinguishedName` holds one name of each kind, so another kind is patched.
    let names = [
        (DnType::OrganizationName, "Users"),
        (DnType::CommonName, "billing"),
    ];
    let mut der = certificate(&names, "some.host");
    assert_eq!(
        PeerIdentity::from_der(&der).unwrap().common_name(),
        Some("billing")
    );
    patch(&mut der, &[0x55, 0x04, 0x0a], &[0x55, 0x04, 0x03]);
    let identity = PeerIdentity::from_der(&der).unwrap();
    assert_eq!(identity.common_name(), None);
    assert!(identity.common_names().eq(["Users", "billing"]));
    // An unreadable second name does not make the first unambiguous.
    patch(&mut der, b"Users", b"Us\0rs");
    let identity = PeerIdentity::from_der(&der).unwrap();
    assert_eq!(identity.common_name(), None);
    assert!(identity.common_names().eq(["billing"]));
}

#[test]
fn alternative_name_with_a_zero_or_beyond_ascii_is_left_out() {
    let mut der = certificate(&[], "good.host");
    let identity = PeerIdentity::from_der(&der).unwrap();
    assert_eq!(identity.dns_names(), ["good.host"]);
    for other in [&b"good\0host"[..], b"good\xc3\xabost", b"good\nhost"] {
        let mut der = der.clone();
        patch(&mut der, b"good.host", other);
        let identity = PeerIdentity::from_der(&der).unwrap();
        assert!(identity.dns_names().is_empty(), "{identity:?}");
    }
    der.push(0);
    assert!(PeerIdentity::from_der(&der).is_err());
}

#[test]
fn debug_of_an_identity_is_cut_and_escaped() {
    let mut names = vec![(DnType::CommonName, "~".repeat(60_000))];
    names.push((DnType::OrganizationName, "\u{202e}".to_owned()));
    let names: Vec<_> = names
        .iter()
        .map(|(kind, it)| (kind.clone(), &**it))
        .collect();
    let many = certificate(&names, "some.host");
    let shown = format!("{:?}", PeerIdentity::from_der(&many).unwrap());
    assert!(shown.len() < 1000, "{}", shown.len());
    let der = certificate(&[(DnType::CommonName, "a\u{202e}\"b")], "some.host");
    let shown = format!("{:?}", PeerIdentity::from_der(&der).unwrap());
    assert!(!shown.contains('\u{202e}'), "{shown}");
}
