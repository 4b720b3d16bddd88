//! A parser of PROXY protocol headers, versions 1 and 2, in which a proxy announces the address of a client.
//!
//! It parses the bytes received so far, and returns how many more can be read without reading past the header.
//!
//! The specification is HAProxy's `proxy-protocol.txt`. Of the TLVs of version 2 only the checksum is used; others are
//! skipped.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first bytes of version 2. Neither text nor an erps packet begins with them.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family, and the length of what follows.
const FIXED: usize = 16;
/// The first bytes of version 1.
const PREFIX: &[u8] = b"PROXY ";
/// The longest line of version 1 in the specification, with its end.
pub const MAX_LINE: usize = 107;
/// The shortest line: `PROXY UNKNOWN`, and the end of the line.
const MIN_LINE: usize = 15;
/// The longest accepted header of version 2, TLVs included. The specification allows for 64 KiB,
/// and advises senders to stay below 536 bytes; a client's certificate may make it a few thousand.
pub const MAX_HEADER: usize = 4096;
/// The type of the TLV that is a checksum.
const CRC32C: u8 = 3;

/// The addresses in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Addresses {
    /// The addresses of a TCP connection.
    Inet {
        /// The client of the proxy.
        source: SocketAddr,
        /// The address of the proxy.
        destination: SocketAddr,
    },
    /// The paths of a Unix socket connection, up to the first NUL. A path may be empty.
    Unix {
        /// The client of the proxy.
        source: Vec<u8>,
        /// The socket of the proxy.
        destination: Vec<u8>,
    },
    /// The proxy itself connects, as for a health check: `LOCAL`.
    Local,
    /// No addresses: `UNKNOWN`, the family 0, or not a stream.
    Unknown,
}

/// The result of parsing the bytes received so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The header is incomplete: at least so many bytes are missing.
    More(usize),
    /// The header is complete, and has this length.
    Done(Addresses, usize),
}

/// Parses the bytes received so far at the start of a connection.
///
/// # Errors
///
/// A [`ProxyError`] as soon as the bytes cannot be a header.
pub fn parse(bytes: &[u8]) -> Result<Step, ProxyError> {
    if bytes.is_empty() {
        return Ok(Step::More(MIN_LINE));
    }
    if begins(bytes, &SIGNATURE) {
        parse_binary(bytes)
    } else if begins(bytes, PREFIX) {
        parse_line(bytes)
    } else {
        Err(ProxyError::NoHeader)
    }
}

/// Returns whether one of them begins with the other.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let common = bytes.len().min(with.len());
    bytes[..common] == with[..common]
}

fn parse_line(bytes: &[u8]) -> Result<Step, ProxyError> {
    let known = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = known.windows(2).position(|pair| pair == b"\r\n") else {
        if bytes.len() >= MAX_LINE {
            return Err(ProxyError::TooLong);
        }
        let rest = if bytes.ends_with(b"\r") { 1 } else { 2 };
        let more = rest.max(MIN_LINE.saturating_sub(bytes.len()));
        return match more + bytes.len() > MAX_LINE {
            true => Err(ProxyError::TooLong),
            false => Ok(Step::More(more)),
        };
    };
    let line = &known[PREFIX.len()..end];
    // The specification says to ignore the rest of the line.
    let announced = match line.strip_prefix(b"UNKNOWN") {
        Some([] | [b' ', ..]) => Addresses::Unknown,
        _ => announced(std::str::from_utf8(line).map_err(|_| ProxyError::Line)?)?,
    };
    Ok(Step::Done(announced, end + 2))
}

/// Parses the addresses after the prefix.
fn announced(line: &str) -> Result<Addresses, ProxyError> {
    let mut words = line.split(' ');
    let mut next = || words.next().ok_or(ProxyError::Line);
    let ip: fn(&str) -> Option<IpAddr> = match next()? {
        "TCP4" => |text| text.parse().ok().map(Ipv4Addr::into),
        "TCP6" => |text| text.parse().ok().map(Ipv6Addr::into),
        _ => return Err(ProxyError::Family),
    };
    let [source, destination] = [next()?, next()?].map(ip);
    let ports = [next()?, next()?].map(port);
    let (Some(source), Some(destination), [Some(from), Some(to)], None) =
        (source, destination, ports, words.next())
    else {
        return Err(ProxyError::Line);
    };
    Ok(Addresses::Inet {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    })
}

/// Parses digits without leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| is_number && is_short)
}

fn parse_binary(bytes: &[u8]) -> Result<Step, ProxyError> {
    let local = match bytes.get(12) {
        None | Some(0x21) => false,
        Some(0x20) => true,
        Some(byte) if byte >> 4 != 2 => return Err(ProxyError::Version(byte >> 4)),
        Some(byte) => return Err(ProxyError::Command(byte & 0x0F)),
    };
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else {
        return Ok(Step::More(FIXED - bytes.len()));
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED + length > MAX_HEADER {
        return Err(ProxyError::TooLong);
    }
    // The family of a `LOCAL` header is ignored.
    let addresses = match fixed[13] {
        _ if local => 0,
        0x11 => 12,
        0x21 => 36,
        0x31 => 216,
        // Datagrams and unspecified ones are valid, and have no usable addresses.
        0x00..=0x02 | 0x10..=0x12 | 0x20..=0x22 | 0x30..=0x32 => 0,
        _ => return Err(ProxyError::Family),
    };
    if length < addresses {
        return Err(ProxyError::Length);
    }
    let Some(block) = rest.get(..length) else {
        return Ok(Step::More(length - rest.len()));
    };
    let header = &bytes[..FIXED + length];
    // The start of the TLVs is known only for families whose addresses are read.
    if addresses > 0 {
        check_tlvs(header, FIXED + addresses)?;
    }
    let announced = match (local, addresses) {
        (true, _) => Addresses::Local,
        (_, 12) => inet(|at| Ipv4Addr::from(array::<4>(block, at)).into(), block, 4),
        (_, 36) => inet(
            |at| Ipv6Addr::from(array::<16>(block, at)).into(),
            block,
            16,
        ),
        (_, 216) => Addresses::Unix {
            source: path(&block[..108]),
            destination: path(&block[108..216]),
        },
        (_, _) => Addresses::Unknown,
    };
    Ok(Step::Done(announced, header.len()))
}

/// Reads two addresses of `size` bytes, and their ports.
fn inet(ip: impl Fn(usize) -> IpAddr, block: &[u8], size: usize) -> Addresses {
    let port = |at| u16::from_be_bytes(array(block, at));
    Addresses::Inet {
        source: SocketAddr::new(ip(0), port(2 * size)),
        destination: SocketAddr::new(ip(size), port(2 * size + 2)),
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let part = bytes[at..at + N].try_into();
    part.expect("the length was checked")
}

fn path(field: &[u8]) -> Vec<u8> {
    let end = field.iter().position(|&byte| byte == 0);
    field[..end.unwrap_or(field.len())].to_vec()
}

/// Checks the TLVs after the addresses, and the checksum if there is one.
fn check_tlvs(header: &[u8], begin: usize) -> Result<(), ProxyError> {
    let mut at = begin;
    let mut checked = false;
    while at < header.len() {
        let Some(&[kind, high, low]) = header.get(at..at + 3) else {
            return Err(ProxyError::Tlv);
        };
        let value = at + 3..at + 3 + usize::from(u16::from_be_bytes([high, low]));
        let bytes = header.get(value.clone()).ok_or(ProxyError::Tlv)?;
        if kind == CRC32C {
            // A second checksum would cost as much again.
            if std::mem::replace(&mut checked, true) {
                return Err(ProxyError::Tlv);
            }
            let announced = <[u8; 4]>::try_from(bytes).map_err(|_| ProxyError::Tlv)?;
            let mut without = header.to_vec();
            without[value.clone()].fill(0);
            if crc32c(&without) != u32::from_be_bytes(announced) {
                return Err(ProxyError::Checksum);
            }
        }
        at = value.end;
    }
    Ok(())
}

/// Computes the checksum of RFC 4960, bit by bit because headers are short.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for &byte in bytes {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            let odd = sum & 1;
            sum = (sum >> 1) ^ (0x82F6_3B78 * odd);
        }
    }
    !sum
}

/// Why bytes are not a PROXY protocol header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// They begin like neither version: the peer is not a proxy, or is not configured to send a header.
    #[error("there is no PROXY header")]
    NoHeader,
    /// The line of version 1 is malformed.
    #[error("malformed PROXY line")]
    Line,
    /// The header is longer than [`MAX_LINE`] or [`MAX_HEADER`].
    #[error("the PROXY header is too long")]
    TooLong,
    /// The header has this unknown version.
    #[error("unknown PROXY version {0}")]
    Version(u8),
    /// The command is neither `LOCAL` nor `PROXY`.
    #[error("unknown PROXY command {0}")]
    Command(u8),
    /// The address family or the protocol is unknown.
    #[error("unknown address family in the PROXY header")]
    Family,
    /// The header is too short for its addresses.
    #[error("the PROXY header is too short for its addresses")]
    Length,
    /// A TLV is malformed.
    #[error("malformed TLV in the PROXY header")]
    Tlv,
    /// The checksum differs from that of the header.
    #[error("wrong checksum in the PROXY header")]
    Checksum,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_specifications_vectors() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
    }
}
