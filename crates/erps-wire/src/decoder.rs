//! A buffer that reads packets from a stream in any pieces.
//!
//! ```text
//!        taken        received, not yet taken         spare
//!   +------------+--------------------------------+-----------+
//!   |            | packet | packet | part of one  |           |   one buffer, reused
//!   +------------+--------------------------------+-----------+
//!              start                             end
//! ```
//!
//! Sockets read into the spare part, and packets are taken from the front without copying. When the spare part is too
//! small, the received bytes (a part of one packet) are moved to the front.
//!
//! The buffer grows with the bytes that arrive and not with an announced length. An error is returned at the first byte
//! that shows it, so that packets and errors do not depend on how a stream is split.

use std::fmt;

use crate::packet::{COOKIE, HEADER_LEN, Header, KEEPALIVE, Kind, LENGTH_AT, Packet, UnknownKind};

/// The default limit of a received payload: 16 MiB.
pub const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// The number of bytes to read from a busy socket at a time: 64 KiB. Larger reads save few system calls, and every
/// active connection holds a buffer of this size.
pub const READ_CHUNK: usize = 64 * 1024;

/// The most memory that an empty buffer keeps. A busy stream of small packets needs two chunks, so only
/// packets larger than this are allocated anew.
const KEEP: usize = 4 * READ_CHUNK;

/// A buffer that bytes are read into and packets are taken from.
///
/// If all packets are taken before the next read, it holds at most one packet of the largest size and one read.
///
/// # Example
///
/// ```
/// use std::io::Read;
/// use erps_wire::decoder::{Decoder, MAX_PAYLOAD, READ_CHUNK};
/// use erps_wire::packet::{KEEPALIVE, Kind};
///
/// let mut socket = &KEEPALIVE[..];
/// let mut decoder = Decoder::new(MAX_PAYLOAD);
/// let n = socket.read(decoder.spare(READ_CHUNK))?;
/// decoder.filled(n);
/// while let Some(packet) = decoder.next_packet()? {
///     assert_eq!(packet.header.kind, Kind::Keepalive);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Decoder {
    /// All of it is initialised, so that a socket can read into the spare part.
    buf: Vec<u8>,
    start: usize,
    end: usize,
    max_payload: usize,
    failed: Option<FrameError>,
}

impl Decoder {
    /// Creates a decoder of payloads of up to `max_payload` bytes. It allocates at the first read.
    pub const fn new(max_payload: usize) -> Self {
        Self {
            buf: Vec::new(),
            start: 0,
            end: 0,
            max_payload,
            failed: None,
        }
    }

    /// Returns a buffer of at least `at_least` bytes, and at least one, to read into. Its contents are unspecified.
    ///
    /// Call [`filled`](Self::filled) with the number of bytes that were read.
    pub fn spare(&mut self, at_least: usize) -> &mut [u8] {
        let at_least = at_least.max(1);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.buf.len() > at_least.max(KEEP) {
                self.buf = Vec::new();
            }
        }
        if self.buf.len() - self.end < at_least {
            self.grow(at_least);
        }
        &mut self.buf[self.end..]
    }

    /// Moves the received bytes to the front, and grows the buffer if that is not enough.
    fn grow(&mut self, at_least: usize) {
        let left = self.buffered();
        self.buf.copy_within(self.start..self.end, 0);
        self.start = 0;
        self.end = left;
        let needed = left + at_least;
        if needed > self.buf.len() {
            // Doubling keeps the copying of a large packet linear; the largest packet bounds the doubling.
            let largest = HEADER_LEN.saturating_add(self.max_payload);
            let doubled = (self.buf.len() * 2).min(largest.saturating_add(at_least));
            let size = needed.max(doubled);
            self.buf.reserve_exact(size - self.buf.len());
            self.buf.resize(size, 0);
        }
    }

    /// Adds `n` bytes that were read into [`spare`](Self::spare). After a [`FrameError`] they are dropped.
    ///
    /// # Panics
    ///
    /// If `n` is larger than the spare part.
    pub fn filled(&mut self, n: usize) {
        let end = self.end.checked_add(n);
        let end = end.filter(|end| *end <= self.buf.len());
        let end = end.expect("a reader fills no more than the spare part");
        if self.failed.is_none() {
            self.end = end;
        }
    }

    /// Copies bytes that were read elsewhere into the buffer.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Takes the next packet, or `None` if it is not complete yet.
    ///
    /// # Errors
    ///
    /// A [`FrameError`] as soon as a byte shows it. All later calls return the same error, and the buffer is freed.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match measure(&self.buf[self.start..self.end], self.max_payload) {
            Ok(None) => Ok(None),
            Ok(Some((kind, len))) => {
                let packet = &self.buf[self.start..self.start + len];
                self.start += len;
                Ok(Some(read(kind, packet)))
            }
            Err(error) => {
                self.failed = Some(error);
                self.start = self.end;
                self.release();
                Err(error)
            }
        }
    }

    /// Removes an incomplete packet of more than `large` bytes from the buffer. Returns its header, the received part of
    /// its payload, and the number of missing bytes, which the caller must read without adding them to the decoder.
    pub fn take_unfinished(&mut self, large: usize) -> Option<(Header, Vec<u8>, usize)> {
        let received = &self.buf[self.start..self.end];
        let (header, arrived) = received.split_first_chunk::<HEADER_LEN>()?;
        if self.failed.is_some() || measure(received, self.max_payload) != Ok(None) {
            return None;
        }
        let size = u32::from_be_bytes(*header[LENGTH_AT..].first_chunk()?) as usize;
        if size <= large {
            return None;
        }
        let kind = Kind::try_from(header[LENGTH_AT + 4]).ok()?;
        let taken = (
            Header::read(kind, header),
            arrived.to_vec(),
            size - arrived.len(),
        );
        self.start = self.end;
        self.release();
        Some(taken)
    }

    /// Returns again the packet that [`next_packet`](Self::next_packet) returned last.
    pub fn last_packet(&self, header: Header, payload: usize) -> Packet<'_> {
        let payload = &self.buf[self.start - payload..self.start];
        Packet { header, payload }
    }

    /// Returns whether a packet was received in part, so that a timeout should run.
    pub fn has_partial_packet(&self) -> bool {
        let received = &self.buf[self.start..self.end];
        !received.is_empty() && measure(received, self.max_payload) == Ok(None)
    }

    /// Returns the number of received bytes that were not taken.
    pub fn buffered(&self) -> usize {
        self.end - self.start
    }

    /// Returns the allocated size of the buffer, in bytes.
    pub fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// Frees the buffer if it is empty.
    ///
    /// For a connection that becomes idle. The next [`spare`](Self::spare) allocates again.
    pub fn release(&mut self) {
        if self.start == self.end {
            self.buf = Vec::new();
            self.start = 0;
            self.end = 0;
        }
    }
}

/// Prints sizes and not the buffer's contents, which do not belong in logs.
impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("buffered", &self.buffered())
            .field("capacity", &self.capacity())
            .field("max_payload", &self.max_payload)
            .field("failed", &self.failed)
            .finish()
    }
}

/// Returns the kind and length of the packet at the front of `received`, or `None` if it is incomplete.
///
/// Fields are checked in the order in which they arrive, each as soon as it is complete.
fn measure(received: &[u8], max_payload: usize) -> Result<Option<(Kind, usize)>, FrameError> {
    if !received.starts_with(&COOKIE) {
        return check_cookie(received).map(|()| None);
    }
    let Some((length, rest)) = received[LENGTH_AT..].split_first_chunk::<4>() else {
        return Ok(None);
    };
    // A length that does not fit a usize is over every limit.
    let size = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if size > max_payload {
        let limit = max_payload;
        return Err(FrameError::TooLarge { size, limit });
    }
    let Some(&kind) = rest.first() else {
        return Ok(None);
    };
    let kind = Kind::try_from(kind).map_err(|UnknownKind(kind)| FrameError::UnknownKind(kind))?;
    let len = match kind {
        Kind::Keepalive if size > 0 => return Err(FrameError::KeepaliveWithPayload { size }),
        Kind::Keepalive => KEEPALIVE.len(),
        _ => HEADER_LEN.saturating_add(size),
    };
    Ok((received.len() >= len).then_some((kind, len)))
}

/// Returns an error at the first byte that differs from the cookie.
fn check_cookie(received: &[u8]) -> Result<(), FrameError> {
    let wrong = received.iter().zip(COOKIE).position(|(a, b)| *a != b);
    match wrong {
        Some(at) => Err(FrameError::BadCookie {
            at,
            found: received[at],
        }),
        None => Ok(()),
    }
}

/// Reads a complete packet.
fn read(kind: Kind, packet: &[u8]) -> Packet<'_> {
    match packet.split_first_chunk() {
        Some((header, payload)) => Packet {
            header: Header::read(kind, header),
            payload,
        },
        // Only a keepalive is shorter than a header.
        None => Packet {
            header: Header::KEEPALIVE,
            payload: &[],
        },
    }
}

/// Why the received bytes are not a packet. The connection must be closed: the start of the next packet is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A packet does not start with the cookie: the peer speaks another protocol.
    #[error(
        "not an erps packet: its byte {at} is {found:#04x}, which is not the cookie's{}",
        if is_tls(*at, *found) { "; it looks like TLS, which has to be set at both ends" } else { "" }
    )]
    BadCookie {
        /// The first byte that differs, counted from 0.
        at: usize,
        /// Its value.
        found: u8,
    },
    /// A packet has this unknown kind.
    #[error("there is no packet of kind {0}")]
    UnknownKind(u8),
    /// A keepalive announces a payload.
    #[error("a keepalive must have no payload, not one of {size} bytes")]
    KeepaliveWithPayload {
        /// The size it announces, in bytes.
        size: usize,
    },
    /// A packet announces a payload over the limit. The payload was not read.
    #[error("payload of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// The size it announces, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

/// Returns whether the first byte is that of a TLS record.
fn is_tls(at: usize, found: u8) -> bool {
    at == 0 && (0x14..=0x17).contains(&found)
}
