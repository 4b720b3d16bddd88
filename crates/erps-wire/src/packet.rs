//! One packet: its layout, its header, and whether a receiver takes it.
//!
//! ```text
//! offset  0       4        8      9          12           48         64          96
//!         +-------+--------+------+----------+------------+----------+-----------+---------
//!         | "erps"| length | kind | version  | identifier | hmac key | signature | payload
//!         +-------+--------+------+----------+------------+----------+-----------+---------
//! bytes     4       4 (BE)   1      3          36           16         32          length
//! ```
//!
//! A keepalive is the exception: it ends after its kind, at nine bytes.
//!
//! Packets are written in place, at the end of a write buffer: [`begin`] lays out a header, the caller
//! appends the payload, and [`Begun::finish`] fills in its length. Nothing is copied.
//!
//! ```
//! use erps_wire::packet::{self, Kind};
//!
//! let mut out = Vec::new();
//! let begun = packet::begin(&mut out, Kind::Cast, "0.1.3".parse()?, &"oracle".parse()?);
//! out.extend_from_slice(&[131, 97, 42]);
//! begun.finish(&mut out, 1024)?;
//! assert_eq!(out.len(), packet::HEADER_LEN + 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::identity::{Identifier, Version, VersionReq};

/// What every packet starts with.
pub const COOKIE: [u8; 4] = *b"erps";

/// The bytes in front of a payload.
pub const HEADER_LEN: usize = 96;

/// A whole keepalive. It has no version, no identifier and no payload.
pub const KEEPALIVE: [u8; 9] = *b"erps\0\0\0\0\0";

pub(super) const LENGTH_AT: usize = 4;
const KIND_AT: usize = 8;
const VERSION_AT: usize = 9;
const IDENTIFIER_AT: usize = 12;
const HMAC_AT: usize = 48;

/// What a packet is for.
///
/// A client sends calls, casts and keepalives; a server sends replies, pushes and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Shows that the client is alive. Nine bytes, no payload.
    Keepalive = 0,
    /// Tells the client why a packet of its was refused, or one of its calls failed.
    Error = 1,
    /// Answers a call.
    Reply = 2,
    /// A message of the server's own accord.
    Push = 3,
    /// A request that wants a reply.
    Call = 4,
    /// A message that wants none.
    Cast = 8,
}

impl TryFrom<u8> for Kind {
    type Error = UnknownKind;

    fn try_from(byte: u8) -> Result<Self, UnknownKind> {
        match byte {
            0 => Ok(Self::Keepalive),
            1 => Ok(Self::Error),
            2 => Ok(Self::Reply),
            3 => Ok(Self::Push),
            4 => Ok(Self::Call),
            8 => Ok(Self::Cast),
            unknown => Err(UnknownKind(unknown)),
        }
    }
}

/// What a packet says of itself, ahead of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the packet is for.
    pub kind: Kind,
    /// The version of the sender; 0.0.0 from servers of the original.
    pub version: Version,
    /// The name of the service meant; empty from servers of the original.
    pub identifier: Identifier,
    /// Whether there is anything in the fields for an hmac key and a signature. Authentication was never
    /// implemented; all that can be done with such a packet is to refuse it.
    pub authenticated: bool,
}

impl Header {
    /// What a keepalive says: nothing but its kind.
    pub const KEEPALIVE: Self = Self {
        kind: Kind::Keepalive,
        version: Version::new(0, 0, 0),
        identifier: Identifier::EMPTY,
        authenticated: false,
    };

    /// Reads what follows the kind.
    pub(super) fn read(kind: Kind, bytes: &[u8; HEADER_LEN]) -> Self {
        let [major, minor, patch] = field(bytes, VERSION_AT);
        Self {
            kind,
            version: Version::new(major, minor, patch),
            identifier: Identifier::from_wire(field(bytes, IDENTIFIER_AT)),
            authenticated: bytes[HMAC_AT..] != [0; HEADER_LEN - HMAC_AT],
        }
    }
}

/// A packet as it lies in the buffer it was received in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What the packet says of itself.
    pub header: Header,
    /// What it carries. Empty for a keepalive.
    pub payload: &'a [u8],
}

/// Lays out the header of a packet at the end of `out`.
///
/// Append the payload to `out`, then [`finish`](Begun::finish) the packet, or [`cancel`](Begun::cancel) it.
/// Until then `out` does not hold a valid packet. A [`Kind::Keepalive`] is cut to its nine bytes when it is
/// finished, whatever else it was given, as in the original.
pub fn begin(out: &mut Vec<u8>, kind: Kind, version: Version, identifier: &Identifier) -> Begun {
    let start = out.len();
    let mut header = [0; HEADER_LEN];
    header[..LENGTH_AT].copy_from_slice(&COOKIE);
    header[KIND_AT] = kind as u8;
    header[VERSION_AT..IDENTIFIER_AT].copy_from_slice(&[
        version.major,
        version.minor,
        version.patch,
    ]);
    header[IDENTIFIER_AT..HMAC_AT].copy_from_slice(identifier.as_wire());
    out.extend_from_slice(&header);
    Begun { start, kind }
}

/// Appends a keepalive to `out`.
pub fn append_keepalive(out: &mut Vec<u8>) {
    out.extend_from_slice(&KEEPALIVE);
}

/// A packet in a write buffer whose payload is still being appended. Made by [`begin`].
#[derive(Debug)]
#[must_use = "a packet that is neither finished nor cancelled leaves a broken one in the buffer"]
pub struct Begun {
    start: usize,
    kind: Kind,
}

impl Begun {
    /// Fills in the length of the payload, which is all that was appended to `out` since.
    ///
    /// # Errors
    ///
    /// [`PacketTooLarge`] if the payload is over `max_payload` bytes, or over what the four bytes of a length
    /// can say. `out` is then as it was before the packet was begun.
    ///
    /// # Panics
    ///
    /// If `out` is not the buffer the packet was begun in, or was cut short since.
    pub fn finish(self, out: &mut Vec<u8>, max_payload: usize) -> Result<(), PacketTooLarge> {
        if self.kind == Kind::Keepalive {
            out.truncate(self.start + KEEPALIVE.len());
            return Ok(());
        }
        let packet = out
            .get_mut(self.start..)
            .and_then(|packet| packet.split_at_mut_checked(HEADER_LEN));
        let (header, payload) = packet.expect("the header is still in the buffer it was begun in");
        let size = payload.len();
        match u32::try_from(size) {
            Ok(length) if size <= max_payload => {
                header[LENGTH_AT..KIND_AT].copy_from_slice(&length.to_be_bytes());
                Ok(())
            }
            _ => {
                out.truncate(self.start);
                let limit = max_payload.min(u32::MAX as usize);
                Err(PacketTooLarge { size, limit })
            }
        }
    }

    /// Takes the packet out of `out` again, with whatever was appended since.
    pub fn cancel(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }
}

/// Which packets a receiver takes.
///
/// The default takes all of them, as a client must: packets of an original server carry neither version nor
/// identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acceptance {
    /// The identifier a packet must carry. `None`: any.
    pub identifier: Option<Identifier>,
    /// The versions a packet may carry. `None`: any.
    pub versions: Option<VersionReq>,
}

impl Acceptance {
    /// Checks a header: the identifier first, then the version, then that there is no authentication.
    ///
    /// A keepalive carries nothing to check and is always taken.
    ///
    /// # Errors
    ///
    /// The first [`Refusal`] that applies. Its text is what the peer should be sent.
    pub fn check(&self, header: &Header) -> Result<(), Refusal> {
        if header.kind == Kind::Keepalive {
            return Ok(());
        }
        if self.identifier.is_some_and(|it| it != header.identifier) {
            return Err(Refusal::WrongIdentifier);
        }
        if let Some(versions) = &self.versions
            && !versions.matches(&header.version)
        {
            return Err(Refusal::IncompatibleVersion);
        }
        if header.authenticated {
            return Err(Refusal::AuthenticationProvided);
        }
        Ok(())
    }
}

/// The `N` bytes of a header that start at `at`.
fn field<const N: usize>(header: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

/// There is no kind of packet with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no packet of kind {0}")]
pub struct UnknownKind(pub u8);

/// The payload of a packet to be sent is over the limit. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("payload of {size} bytes is over the limit of {limit} bytes")]
pub struct PacketTooLarge {
    /// The size of the payload, in bytes.
    pub size: usize,
    /// The most it may be, in bytes.
    pub limit: usize,
}

/// Why a receiver does not take a packet. The texts are the original's, and go over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The packet is meant for another service.
    #[error("wrong identifier")]
    WrongIdentifier,
    /// The sender has a version the receiver does not take.
    #[error("incompatible version")]
    IncompatibleVersion,
    /// The packet has an hmac key or a signature, which nobody can check.
    #[error("authentication provided")]
    AuthenticationProvided,
}
