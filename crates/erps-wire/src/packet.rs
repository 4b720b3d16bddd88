//! The layout of packets, their headers, and the check of a received header.
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
//! Packets are written at the end of a write buffer without copying: [`begin`] writes a header, the caller
//! appends the payload, and [`Begun::finish`] fills in its length.
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

/// The first bytes of every packet.
pub const COOKIE: [u8; 4] = *b"erps";

/// The length of a header, in bytes.
pub const HEADER_LEN: usize = 96;

/// A complete keepalive. It has no version, no identifier and no payload.
pub const KEEPALIVE: [u8; 9] = *b"erps\0\0\0\0\0";

pub(super) const LENGTH_AT: usize = 4;
const KIND_AT: usize = 8;
const VERSION_AT: usize = 9;
const IDENTIFIER_AT: usize = 12;
const HMAC_AT: usize = 48;

/// The kind of a packet.
///
/// A client sends calls, casts and keepalives; a server sends replies, pushes and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Shows that the client is alive. Nine bytes, no payload.
    Keepalive = 0,
    /// Reports to the client that a packet was rejected or a call failed.
    Error = 1,
    /// Answers a call.
    Reply = 2,
    /// A message from the server that answers no call.
    Push = 3,
    /// A request with a reply.
    Call = 4,
    /// A message without a reply.
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

/// The header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The kind of the packet.
    pub kind: Kind,
    /// The version of the sender; 0.0.0 from servers of the original library.
    pub version: Version,
    /// The identifier of the service; empty from servers of the original library.
    pub identifier: Identifier,
    /// Whether the hmac key or the signature is not zero. Elixir's erps never implemented this authentication, so such a
    /// packet is rejected.
    pub authenticated: bool,
}

impl Header {
    /// The header of a keepalive, which has only a kind.
    pub const KEEPALIVE: Self = Self {
        kind: Kind::Keepalive,
        version: Version::new(0, 0, 0),
        identifier: Identifier::EMPTY,
        authenticated: false,
    };

    /// Reads the fields after the kind.
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

/// A packet in the buffer that it was received in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The header.
    pub header: Header,
    /// The payload. Empty for a keepalive.
    pub payload: &'a [u8],
}

/// Writes the header of a packet at the end of `out`.
///
/// Append the payload to `out`, then [`finish`](Begun::finish) the packet, or [`cancel`](Begun::cancel) it.
/// Until then `out` does not hold a valid packet. A [`Kind::Keepalive`] is truncated to its nine bytes when it
/// is finished, as in the original library.
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

/// An unfinished packet in a write buffer. Created by [`begin`].
#[derive(Debug)]
#[must_use = "an unfinished packet leaves an invalid one in the buffer"]
pub struct Begun {
    start: usize,
    kind: Kind,
}

impl Begun {
    /// Fills in the length of the payload, which is everything appended to `out` since [`begin`].
    ///
    /// # Errors
    ///
    /// [`PacketTooLarge`] if the payload is over `max_payload` bytes, or its length does not fit 32 bits. `out` is then as it
    /// was before [`begin`].
    ///
    /// # Panics
    ///
    /// If `out` is another buffer, or was truncated since [`begin`].
    pub fn finish(self, out: &mut Vec<u8>, max_payload: usize) -> Result<(), PacketTooLarge> {
        if self.kind == Kind::Keepalive {
            out.truncate(self.start + KEEPALIVE.len());
            return Ok(());
        }
        let packet = out
            .get_mut(self.start..)
            .and_then(|packet| packet.split_at_mut_checked(HEADER_LEN));
        let (header, payload) = packet.expect("the header is still in the buffer");
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

    /// Removes the packet from `out`, with everything appended since [`begin`].
    pub fn cancel(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }
}

/// The packets that a receiver accepts.
///
/// The default accepts all packets, as a client must: packets of Elixir's servers have neither version nor identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acceptance {
    /// The identifier a packet must carry. `None`: any.
    pub identifier: Option<Identifier>,
    /// The versions a packet may carry. `None`: any.
    pub versions: Option<VersionReq>,
}

impl Acceptance {
    /// Checks the identifier, then the version, then that there is no authentication.
    ///
    /// A keepalive has none of these and is always accepted.
    ///
    /// # Errors
    ///
    /// The first [`Rejection`] that applies. Send its text to the peer.
    pub fn check(&self, header: &Header) -> Result<(), Rejection> {
        if header.kind == Kind::Keepalive {
            return Ok(());
        }
        if self.identifier.is_some_and(|it| it != header.identifier) {
            return Err(Rejection::WrongIdentifier);
        }
        if let Some(versions) = &self.versions
            && !versions.matches(&header.version)
        {
            return Err(Rejection::IncompatibleVersion);
        }
        if header.authenticated {
            return Err(Rejection::AuthenticationProvided);
        }
        Ok(())
    }
}

/// Returns the `N` bytes of a header from `at` on.
fn field<const N: usize>(header: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

/// The error for an unknown kind of packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no packet of kind {0}")]
pub struct UnknownKind(pub u8);

/// The payload of a packet is over the limit. The packet was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("payload of {size} bytes is over the limit of {limit} bytes")]
pub struct PacketTooLarge {
    /// The size of the payload, in bytes.
    pub size: usize,
    /// The limit, in bytes.
    pub limit: usize,
}

/// Why a receiver rejects a packet. The texts are those of the original library, and are sent to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The packet is for another service.
    #[error("wrong identifier")]
    WrongIdentifier,
    /// The receiver does not accept the version of the sender.
    #[error("incompatible version")]
    IncompatibleVersion,
    /// The packet has an hmac key or a signature, which are not supported.
    #[error("authentication provided")]
    AuthenticationProvided,
}
