//! The PROXY header in front of the first packet.
//!
//! ```text
//! piece | stream        piece: how much of it comes at a time
//! ```

use std::net::SocketAddr;

use erps_wire::proxy::{self, Addresses, MAX_HEADER, MAX_LINE, ProxyError, Step};

pub(crate) fn run(data: &[u8]) {
    let Some((&piece, stream)) = data.split_first() else {
        return;
    };
    let whole = proxy::parse(stream);
    let (read, taken) = parse_in_pieces(stream, 1 + usize::from(piece));
    match (&whole, &read) {
        (Ok(Step::Done(announced, length)), Ok(Some(parse_in_pieces))) => {
            assert_eq!(announced, parse_in_pieces);
            // No byte after the header was read.
            assert_eq!(*length, taken);
            let header = &stream[..taken];
            complete(header, announced);
            encoded(announced);
        }
        (Ok(Step::More(_)), Ok(None)) => assert_eq!(taken, stream.len()),
        (Err(_), Err(_)) => {}
        (whole, read) => panic!("whole {whole:?}, in pieces {read:?}"),
    }
}

/// Parses as a reader that never reads more than it is asked to. Returns `None` if the stream ends before the
/// header does.
fn parse_in_pieces(stream: &[u8], piece: usize) -> (Result<Option<Addresses>, ProxyError>, usize) {
    let mut taken = 0;
    loop {
        match proxy::parse(&stream[..taken]) {
            Ok(Step::More(more)) => {
                assert!(more > 0 && taken + more <= MAX_HEADER);
                if taken == stream.len() {
                    return (Ok(None), taken);
                }
                taken = (taken + more.min(piece)).min(stream.len());
            }
            Ok(Step::Done(announced, length)) => {
                assert_eq!(length, taken, "the parser asked for bytes after the header");
                return (Ok(Some(announced)), taken);
            }
            Err(error) => return (Err(error), taken),
        }
    }
}

/// Asserts that every prefix of a header is incomplete and asks for no more bytes than are left.
fn complete(header: &[u8], announced: &Addresses) {
    let limit = match header.starts_with(b"PROXY ") {
        true => MAX_LINE,
        false => MAX_HEADER,
    };
    assert!(header.len() <= limit);
    assert_eq!(
        proxy::parse(header),
        Ok(Step::Done(announced.clone(), header.len()))
    );
    for end in (0..header.len()).rev().take(2 * MAX_LINE) {
        match proxy::parse(&header[..end]) {
            Ok(Step::More(more)) => assert!(end + more <= header.len(), "{more} after {end}"),
            other => panic!("{other:?} after {end} bytes of a header"),
        }
    }
}

/// Asserts that the addresses, encoded in both versions, parse to themselves.
fn encoded(announced: &Addresses) {
    let binary = |command: u8, family: u8, block: &[u8]| {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        let fixed = [0x20 | command, family, length[0], length[1]];
        [b"\r\n\r\n\0\r\nQUIT\n", &fixed[..], block].concat()
    };
    let headers = match announced {
        Addresses::Inet {
            source,
            destination,
        } => {
            let (word, family) = match source {
                SocketAddr::V4(_) => ("TCP4", 0x11),
                SocketAddr::V6(_) => ("TCP6", 0x21),
            };
            let (from, to) = (source.ip(), destination.ip());
            let ports = [source.port(), destination.port()];
            let line = format!("PROXY {word} {from} {to} {} {}\r\n", ports[0], ports[1]);
            let octets = [from, to].map(|ip| match ip {
                std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
                std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
            });
            let ports = ports.map(u16::to_be_bytes).concat();
            let block = [octets.concat(), ports].concat();
            vec![line.into_bytes(), binary(1, family, &block)]
        }
        Addresses::Unix {
            source,
            destination,
        } => {
            let mut block = source.clone();
            block.resize(108, 0);
            block.extend_from_slice(destination);
            block.resize(216, 0);
            vec![binary(1, 0x31, &block)]
        }
        Addresses::Local => vec![binary(0, 0, &[])],
        Addresses::Unknown => vec![b"PROXY UNKNOWN\r\n".to_vec(), binary(1, 0, &[])],
        other => panic!("{other:?} is new"),
    };
    for header in headers {
        let expected = Ok(Step::Done(announced.clone(), header.len()));
        assert_eq!(proxy::parse(&header), expected, "{header:?}");
    }
}
