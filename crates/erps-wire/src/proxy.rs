//! The header by which a proxy says whom a connection comes from: PROXY protocol, versions 1 and 2.
//!
//! Pure, as all of `wire`: bytes in any pieces, a value out. What is read and when is decided elsewhere; a
//! reader is told how many bytes it may ask for without reading past the header.
//!
//! The specification is HAProxy's `proxy-protocol.txt`. Of what version 2 may add (`TLV`) only the
//! checksum is looked at; the rest is passed over.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What version 2 begins with. No text does, and no packet of this protocol.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family, and the length of what follows.
const FIXED: usize = 16;
/// What version 1 begins with.
const PREFIX: &[u8] = b"PROXY ";
/// The longest line of version 1, with its end: what the specification allows for.
pub const MAX_LINE: usize = 107;
/// The shortest: `PROXY UNKNOWN`, and the end of the line.
const MIN_LINE: usize = 15;
/// The longest header of version 2 that is taken, all that is added included. The specification allows for 64 KiB,
/// and advises senders to stay below 536 bytes; a client's certificate may make it a few thousand.
pub const MAX_HEADER: usize = 4096;
/// The kind of an addition that is a checksum.
const CRC32C: u8 = 3;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Announced {
    /// The connection comes from this address, and was made to that one.
    Inet {
        /// Who has connected to the proxy.
        source: SocketAddr,
        /// Which address of the proxy it was.
        destination: SocketAddr,
    },
    /// The connection comes from a Unix socket, by their paths, up to the first NUL. A path may be empty.
    Unix {
        /// Who has connected to the proxy.
        source: Vec<u8>,
        /// Which socket of the proxy it was.
        destination: Vec<u8>,
    },
    /// The proxy speaks for itself, to see whether the server lives: `LOCAL`.
    Local,
    /// The proxy does not know, or cannot say: `UNKNOWN`, the family 0, or what is no stream.
    Unknown,
}

/// What is known after so many bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// At least so many more bytes belong to the header.
    More(usize),
    /// The header has ended, after so many bytes.
    Done(Announced, usize),
}

/// Reads a header from the first bytes of a connection, as many as there are.
///
/// # Errors
///
/// A [`ProxyError`], as soon as the bytes can be no header.
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

/// Whether one of them begins with the other.
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
    // Whatever follows the word is to be ignored.
    let announced = match line.strip_prefix(b"UNKNOWN") {
        Some([] | [b' ', ..]) => Announced::Unknown,
        _ => announced(std::str::from_utf8(line).map_err(|_| ProxyError::Line)?)?,
    };
    Ok(Step::Done(announced, end + 2))
}

/// What comes after the prefix, if the proxy knows.
fn announced(line: &str) -> Result<Announced, ProxyError> {
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
    Ok(Announced::Inet {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    })
}

/// Digits and nothing else, without zeros in front.
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
    // The family does not matter to a proxy that speaks for itself.
    let addresses = match fixed[13] {
        _ if local => 0,
        0x11 => 12,
        0x21 => 36,
        0x31 => 216,
        // Datagrams, and what the proxy cannot say. They are valid, and so it is as if it did not know.
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
    // Of a family that is ignored it is not known where the additions begin.
    if addresses > 0 {
        check_additions(header, FIXED + addresses)?;
    }
    let announced = match (local, addresses) {
        (true, _) => Announced::Local,
        (_, 12) => inet(|at| Ipv4Addr::from(array::<4>(block, at)).into(), block, 4),
        (_, 36) => inet(
            |at| Ipv6Addr::from(array::<16>(block, at)).into(),
            block,
            16,
        ),
        (_, 216) => Announced::Unix {
            source: path(&block[..108]),
            destination: path(&block[108..216]),
        },
        (_, _) => Announced::Unknown,
    };
    Ok(Step::Done(announced, header.len()))
}

/// Two addresses of `size` bytes, and their ports.
fn inet(ip: impl Fn(usize) -> IpAddr, block: &[u8], size: usize) -> Announced {
    let port = |at| u16::from_be_bytes(array(block, at));
    Announced::Inet {
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

/// Walks what comes after the addresses, and compares the checksum if there is one.
fn check_additions(header: &[u8], begin: usize) -> Result<(), ProxyError> {
    let mut at = begin;
    let mut checked = false;
    while at < header.len() {
        let Some(&[kind, high, low]) = header.get(at..at + 3) else {
            return Err(ProxyError::Addition);
        };
        let value = at + 3..at + 3 + usize::from(u16::from_be_bytes([high, low]));
        let bytes = header.get(value.clone()).ok_or(ProxyError::Addition)?;
        if kind == CRC32C {
            // A second one could cost as much again, and neither could be right.
            if std::mem::replace(&mut checked, true) {
                return Err(ProxyError::Addition);
            }
            let told = <[u8; 4]>::try_from(bytes).map_err(|_| ProxyError::Addition)?;
            let mut without = header.to_vec();
            without[value.clone()].fill(0);
            if crc32c(&without) != u32::from_be_bytes(told) {
                return Err(ProxyError::Checksum);
            }
        }
        at = value.end;
    }
    Ok(())
}

/// The checksum of RFC 4960, bit by bit: headers are short.
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

/// Why bytes are no header of PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// They begin like neither version: the peer is no proxy, or is not told to send a header.
    #[error("there is no PROXY header")]
    NoHeader,
    /// The line of version 1 is no such line.
    #[error("the PROXY line cannot be read")]
    Line,
    /// It is longer than [`MAX_LINE`] or [`MAX_HEADER`].
    #[error("the PROXY header is too long")]
    TooLong,
    /// It is of this version.
    #[error("PROXY version {0} is not known")]
    Version(u8),
    /// Neither `LOCAL` nor `PROXY`.
    #[error("PROXY command {0} is not known")]
    Command(u8),
    /// There is no such family of addresses, or no such protocol.
    #[error("the PROXY header announces a family of addresses that does not exist")]
    Family,
    /// It is too short for the addresses that it announces.
    #[error("the PROXY header is too short for its addresses")]
    Length,
    /// What is added does not fill its place.
    #[error("an addition to the PROXY header cannot be read")]
    Addition,
    /// It was changed on its way.
    #[error("the PROXY header does not have the checksum that it tells")]
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
