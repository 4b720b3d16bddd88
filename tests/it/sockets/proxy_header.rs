//! Parsing the PROXY header: every field, in pieces of any size, and no byte after it.

use std::net::{IpAddr, SocketAddrV4};

use erps::{
    ProxyError,
    wire::proxy::{Addresses, MAX_HEADER, MAX_LINE, Step, parse},
};
use proptest::prelude::*;

use super::*;

const SIGNATURE: &[u8] = b"\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A";

fn inet(source: &str, destination: &str) -> Addresses {
    // Only the parser can create an `Addresses::Inet`.
    let Step::Done(mut announced, _) = parse(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n").unwrap() else {
        panic!("a whole line");
    };
    let Addresses::Inet {
        source: from,
        destination: to,
        ..
    } = &mut announced
    else {
        panic!("two addresses");
    };
    (*from, *to) = (source.parse().unwrap(), destination.parse().unwrap());
    announced
}

fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

fn block(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let bytes = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let ports = [source.port(), destination.port()].map(u16::to_be_bytes);
    [bytes(source.ip()), bytes(destination.ip()), ports.concat()].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind], &length[..], value].concat()
}

/// Parses as a reader that never reads more than it is asked to. Returns the addresses and the length of the
/// header.
fn read(bytes: &[u8], piece: usize) -> Result<(Addresses, usize), ProxyError> {
    let mut taken = 0;
    loop {
        match parse(&bytes[..taken])? {
            Step::More(more) => {
                assert!(more > 0 && taken < bytes.len(), "the parser waits forever");
                taken = (taken + more.min(piece)).min(bytes.len());
            }
            Step::Done(announced, used) => {
                assert_eq!(used, taken, "the parser has read past the header");
                return Ok((announced, used));
            }
        }
    }
}

/// Asserts the result for any bytes after the header and any piece size.
fn parses_to(header: &[u8], expected: &Addresses) {
    for piece in [1, 2, 3, 7, usize::MAX] {
        for tail in [&b""[..], b"\r\n", b"\x16\x03\x01", b"PROXY ", SIGNATURE] {
            let bytes = [header, tail].concat();
            let (announced, used) = read(&bytes, piece).unwrap();
            assert_eq!((&announced, used), (expected, header.len()));
            assert_eq!(parse(&bytes).unwrap(), Step::Done(announced, used));
        }
    }
    // No prefix asks for more bytes than are left.
    for end in 0..header.len() {
        let Ok(Step::More(more)) = parse(&header[..end]) else {
            panic!("{end} bytes of {header:?}");
        };
        assert!(more >= 1 && end + more <= header.len(), "{end}: {more}");
    }
}

fn fails(header: &[u8], expected: ProxyError) {
    assert_eq!(parse(header), Err(expected), "{}", header.escape_ascii());
    for piece in [1, 5] {
        assert_eq!(read(header, piece), Err(expected));
    }
}

#[test]
fn version_1_lines_are_parsed() {
    parses_to(
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
        &inet("192.168.0.1:56324", "192.168.0.11:443"),
    );
    parses_to(
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        &inet("255.255.255.255:65535", "255.255.255.255:65535"),
    );
    let wide = "ffff:f:ffff:f:ffff:f:ffff:f";
    parses_to(
        format!("PROXY TCP6 {wide} ::1 65535 0\r\n").as_bytes(),
        &inet(&format!("[{wide}]:65535"), "[::1]:0"),
    );
    for line in [
        "PROXY UNKNOWN",
        "PROXY UNKNOWN ffff::1 what \u{e9}ver 1 2 3",
    ] {
        parses_to(format!("{line}\r\n").as_bytes(), &Addresses::Unknown);
    }
    parses_to(b"PROXY UNKNOWN \xFF\xFE\r\n", &Addresses::Unknown);
}

#[test]
fn version_1_line_is_limited_to_107_bytes() {
    let line = |length: usize| {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(length - 2, b'x');
        [line, b"\r\n".to_vec()].concat()
    };
    parses_to(&line(MAX_LINE), &Addresses::Unknown);
    fails(&line(MAX_LINE + 1), ProxyError::TooLong);
}

#[test]
fn invalid_version_1_lines_are_rejected() {
    for line in [
        "TCP4 1.2.3.4 5.6.7.8 1",
        "TCP4 1.2.3.4 5.6.7.8 1 2 3",
        "TCP4 1.2.3.4  5.6.7.8 1 2",
        "TCP4 1.2.3.4 5.6.7.8 1 2 ",
        "TCP4 01.2.3.4 5.6.7.8 1 2",
        "TCP4 1.2.3.256 5.6.7.8 1 2",
        "TCP4 1.2.3 5.6.7.8 1 2",
        "TCP4 ::1 ::1 1 2",
        "TCP6 1.2.3.4 5.6.7.8 1 2",
        "TCP6 ::1%lo ::1 1 2",
        "TCP4 1.2.3.4 5.6.7.8 +1 2",
        "TCP4 1.2.3.4 5.6.7.8 01 2",
        "TCP4 1.2.3.4 5.6.7.8 1 65536",
        "TCP4 1.2.3.4 5.6.7.8 1 \u{e9}",
        "TCP4 1.2.3.4 5.6.7.8 1 2\n",
    ] {
        fails(format!("PROXY {line}\r\n").as_bytes(), ProxyError::Line);
    }
    for line in [
        "TCP5 1.2.3.4 5.6.7.8 1 2",
        "UNKNOWNX",
        "tcp4 1.2.3.4 5.6.7.8 1 2",
    ] {
        fails(format!("PROXY {line}\r\n").as_bytes(), ProxyError::Family);
    }
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PROXX ",
        b"proxy ",
        b"\x16\x03\x01",
        b"\r\n\r\r",
    ] {
        fails(bytes, ProxyError::NoHeader);
    }
}

#[test]
fn version_2_headers_are_parsed() {
    let (a, b) = ("10.1.2.3:4", "10.5.6.7:8");
    let four = block(a.parse().unwrap(), b.parse().unwrap());
    parses_to(&binary(0x21, 0x11, &four), &inet(a, b));
    let (a, b) = ("[2001:db8::1]:65535", "[::2]:0");
    let six = block(a.parse().unwrap(), b.parse().unwrap());
    parses_to(&binary(0x21, 0x21, &six), &inet(a, b));
    let mut paths = vec![0; 216];
    paths[..9].copy_from_slice(b"/run/a\0bc");
    paths[108..].fill(b'z');
    let Step::Done(announced, 232) = parse(&binary(0x21, 0x31, &paths)).unwrap() else {
        panic!("a whole header");
    };
    let Addresses::Unix {
        source,
        destination,
        ..
    } = &announced
    else {
        panic!("{announced:?}");
    };
    assert_eq!(
        (&source[..], &destination[..]),
        (&b"/run/a"[..], &[b'z'; 108][..])
    );
    parses_to(&binary(0x21, 0x31, &paths), &announced);
}

#[test]
fn unspecified_families_are_unknown_and_local_commands_are_local() {
    let valid = [0x00, 0x01, 0x02, 0x10, 0x12, 0x20, 0x22, 0x30, 0x32];
    for family in valid {
        for rest in [&b""[..], b"whatever", &[0; 300]] {
            parses_to(&binary(0x21, family, rest), &Addresses::Unknown);
        }
    }
    for family in 0..=u8::MAX {
        parses_to(&binary(0x20, family, b"some"), &Addresses::Local);
    }
}

#[test]
fn invalid_version_2_headers_are_rejected() {
    let good = block("1.1.1.1:1".parse().unwrap(), "1.1.1.1:1".parse().unwrap());
    for family in (0..=u8::MAX).filter(|it| it >> 4 > 3 || it & 0xF > 2) {
        fails(&binary(0x21, family, &good), ProxyError::Family);
    }
    for command in 0x22..=0x2F {
        fails(
            &binary(command, 0x11, &good),
            ProxyError::Command(command & 0xF),
        );
    }
    for version in (0..=15).filter(|it| *it != 2) {
        fails(
            &binary(version << 4 | 1, 0x11, &good),
            ProxyError::Version(version),
        );
    }
    for (family, size) in [(0x11, 12), (0x21, 36), (0x31, 216)] {
        fails(
            &binary(0x21, family, &vec![0; size - 1]),
            ProxyError::Length,
        );
        parse(&binary(0x21, family, &vec![0; size])).unwrap();
    }
}

#[test]
fn tlvs_are_skipped_up_to_the_limit() {
    let at = "10.0.0.1:1";
    let addresses = block(at.parse().unwrap(), at.parse().unwrap());
    let with = |tlvs: &[u8]| binary(0x21, 0x11, &[&addresses, tlvs].concat());
    let several = [tlv(2, b"example.com"), tlv(4, b""), tlv(0xE0, b"x")].concat();
    parses_to(&with(&several), &inet(at, at));
    let most = MAX_HEADER - 16 - 12 - 3;
    parses_to(&with(&tlv(4, &vec![0; most])), &inet(at, at));
    fails(&with(&tlv(4, &vec![0; most + 1])), ProxyError::TooLong);
    for broken in [
        &b"\x04"[..],
        b"\x04\x00",
        b"\x04\x00\x01",
        b"\x04\x00\x00\x04",
    ] {
        fails(&with(broken), ProxyError::Tlv);
    }
}

#[test]
fn version_2_checksum_is_verified() {
    let at = "10.0.0.1:1";
    let addresses = block(at.parse().unwrap(), at.parse().unwrap());
    let with = |sum: u32| {
        let tlvs = [tlv(3, &sum.to_be_bytes()), tlv(4, b"after")].concat();
        binary(0x21, 0x11, &[&addresses[..], &tlvs].concat())
    };
    // CRC-32C from its definition: the remainder by a polynomial over reflected bits.
    let sum = |header: Vec<u8>| {
        let bits = header
            .into_iter()
            .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1));
        let mut remainder = u32::MAX;
        for bit in bits.map(u32::from) {
            let carry = (remainder ^ bit) & 1;
            remainder = remainder >> 1 ^ if carry == 1 { 0x82F6_3B78 } else { 0 };
        }
        !remainder
    };
    let good = with(sum(with(0)));
    parses_to(&good, &inet(at, at));
    for at in 16..good.len() {
        for bit in 0..8 {
            let mut changed = good.clone();
            changed[at] ^= 1 << bit;
            let outcome = parse(&changed);
            // A change of the checksum's type or of the list's structure is detected in other ways, or not at
            // all.
            if !(28..31).contains(&at) && !(35..38).contains(&at) {
                assert_eq!(outcome, Err(ProxyError::Checksum), "{at}");
            }
        }
    }
    let short = binary(0x21, 0x11, &[&addresses[..], &tlv(3, &[0; 3])].concat());
    fails(&short, ProxyError::Tlv);
    // The first checksum is valid; a second is not allowed.
    let twice = |sum: u32| {
        let tlvs = [tlv(3, &sum.to_be_bytes()), tlv(3, &[0; 4])].concat();
        binary(0x21, 0x11, &[&addresses[..], &tlvs].concat())
    };
    fails(&twice(sum(twice(0))), ProxyError::Tlv);
}

fn address() -> impl Strategy<Value = SocketAddr> {
    any::<(SocketAddrV4, Option<[u8; 16]>)>().prop_map(|(four, six)| match six {
        None => four.into(),
        Some(six) => (six, four.port()).into(),
    })
}

proptest! {
    #[test]
    fn any_announced_address_is_parsed(source in address(), port: u16, six: [u8; 16], tail: Vec<u8>) {
        let destination: SocketAddr = match source {
            SocketAddr::V4(_) => ([10, 0, 0, 1], port).into(),
            SocketAddr::V6(_) => (six, port).into(),
        };
        let (name, family) = if source.is_ipv4() { ("TCP4", 0x11) } else { ("TCP6", 0x21) };
        let line = format!(
            "PROXY {name} {} {} {} {}\r\n",
            source.ip(), destination.ip(), source.port(), destination.port(),
        );
        let expected = inet(&source.to_string(), &destination.to_string());
        for header in [line.into_bytes(), binary(0x21, family, &block(source, destination))] {
            let bytes = [&header[..], &tail].concat();
            prop_assert_eq!(read(&bytes, 3), Ok((expected.clone(), header.len())));
        }
    }

    #[test]
    fn parser_terminates_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..3) {
        let begin: &[u8] = match kind {
            0 => b"",
            1 => b"PROXY ",
            _ => b"\r\n\r\n\0\r\nQUIT\n\x21",
        };
        let bytes = [begin, &bytes].concat();
        match parse(&bytes) {
            Ok(Step::More(more)) => prop_assert!(more > 0 && bytes.len() + more <= MAX_HEADER),
            Ok(Step::Done(_, used)) => prop_assert!(used <= bytes.len()),
            Err(_) => {}
        }
    }
}
