//! Packets out of a stream that arrives in any pieces.
//!
//! ```text
//!        taken        received, not yet taken         spare
//!   +------------+--------------------------------+-----------+
//!   |            | packet | packet | part of one  |           |   one buffer, reused
//!   +------------+--------------------------------+-----------+
//!              start                             end
//! ```
//!
//! The socket writes into the spare room, packets are taken from the front without copying. When room runs
//! out, what is left (a part of one packet) moves to the front.
//!
//! The buffer grows with what has arrived, never with what a length promises, and errors are found at the
//! first byte that shows them: how a stream is cut into pieces makes no difference to what comes out of it.

use std::fmt;

use crate::packet::{COOKIE, HEADER_LEN, Header, KEEPALIVE, Kind, LENGTH_AT, Packet, UnknownKind};

/// The largest payload a peer may send, unless set otherwise: 16 MiB.
pub const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// How much to read from a busy socket at a time: 64 KiB. More saves no system calls worth counting, and
/// every connection with bytes underway holds this much.
pub const READ_CHUNK: usize = 64 * 1024;

/// The most an empty buffer keeps for its next use. A busy stream of small packets needs two chunks, so only
/// packets larger than this cost an allocation of their own.
const KEEP: usize = 4 * READ_CHUNK;

/// A buffer that bytes are read into and packets are taken from.
///
/// Take packets until there is none before reading on; then no more is ever held than one packet of the
/// largest size and what was read on top of it.
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
    /// All of it is initialised, so that a socket can read into the spare part; growing zeroes once.
    buf: Vec<u8>,
    start: usize,
    end: usize,
    max_payload: usize,
    failed: Option<FrameError>,
}

impl Decoder {
    /// A decoder that takes payloads of up to `max_payload` bytes. It holds no memory until bytes come.
    pub const fn new(max_payload: usize) -> Self {
        Self {
            buf: Vec::new(),
            start: 0,
            end: 0,
            max_payload,
            failed: None,
        }
    }

    /// The room to read into: `at_least` so many bytes, and never none. What it holds means nothing.
    ///
    /// Say with [`filled`](Self::filled) how many bytes were read.
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
            self.make_room(at_least);
        }
        &mut self.buf[self.end..]
    }

    /// Moves what is left to the front, and grows the buffer if that is not enough.
    fn make_room(&mut self, at_least: usize) {
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

    /// Says that `n` bytes were read into the [`spare`](Self::spare) room.
    ///
    /// After a [`FrameError`] they are dropped.
    ///
    /// # Panics
    ///
    /// If that is more than there was room for.
    pub fn filled(&mut self, n: usize) {
        let end = self.end.checked_add(n);
        let end = end.filter(|end| *end <= self.buf.len());
        let end = end.expect("a reader fills no more than the room it was given");
        if self.failed.is_none() {
            self.end = end;
        }
    }

    /// Takes in bytes that were read elsewhere, by copying them.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Takes the next packet, or `None` if it is not complete yet.
    ///
    /// # Errors
    ///
    /// A [`FrameError`] as soon as a byte shows it. A stream that went wrong once has no packets any more:
    /// the error stays, and the buffer is given back.
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

    /// Takes a packet of more than `large` bytes that has begun to arrive out of the buffer: its header, what has
    /// arrived of its payload, and how many bytes are missing. The next bytes to be read are not for the decoder, but
    /// for whoever took it.
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

    /// The packet that was [returned](Self::next_packet) last, once more.
    pub fn last_packet(&self, header: Header, payload: usize) -> Packet<'_> {
        let payload = &self.buf[self.start - payload..self.start];
        Packet { header, payload }
    }

    /// Whether a packet has begun to arrive and is not complete.
    ///
    /// That is when a time limit for its completion should be running.
    pub fn is_midway(&self) -> bool {
        let received = &self.buf[self.start..self.end];
        !received.is_empty() && measure(received, self.max_payload) == Ok(None)
    }

    /// How many bytes have arrived and were not taken.
    pub fn buffered(&self) -> usize {
        self.end - self.start
    }

    /// How many bytes of memory the buffer holds.
    pub fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// Gives the buffer back if there is nothing in it.
    ///
    /// For a connection that goes idle. The next [`spare`](Self::spare) allocates again.
    pub fn release(&mut self) {
        if self.start == self.end {
            self.buf = Vec::new();
            self.start = 0;
            self.end = 0;
        }
    }
}

/// Counts what is in the buffer, and does not show it: it is large, and none of a log's business.
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

/// The kind and length of the packet at the front of `received`, or `None` if it is not complete.
///
/// Looks at each field as soon as it is there, in the order they arrive.
fn measure(received: &[u8], max_payload: usize) -> Result<Option<(Kind, usize)>, FrameError> {
    if !received.starts_with(&COOKIE) {
        return check_cookie(received).map(|()| None);
    }
    let Some((length, rest)) = received[LENGTH_AT..].split_first_chunk::<4>() else {
        return Ok(None);
    };
    // Where a usize holds less than a length can say, no limit lets such a length through.
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

/// Finds the first byte that is not the cookie's, in what may be a part of it.
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

/// Reads a packet of which all bytes are there.
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

/// What a peer sent is not a stream of packets. The connection cannot go on: nobody knows where the next
/// packet would start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A packet does not start with the cookie, so the peer speaks something else.
    #[error(
        "not an erps packet: its byte {at} is {found:#04x}, which is not the cookie's{}",
        if is_tls(*at, *found) { "; it looks like TLS, which has to be set at both ends" } else { "" }
    )]
    BadCookie {
        /// The first byte that differs, counted from 0.
        at: usize,
        /// What it is.
        found: u8,
    },
    /// There is no kind of packet with this number.
    #[error("there is no packet of kind {0}")]
    UnknownKind(u8),
    /// A keepalive announces a payload, which it cannot have.
    #[error("a keepalive with a payload of {size} bytes, where none may have any")]
    KeepaliveWithPayload {
        /// The size it announces, in bytes.
        size: usize,
    },
    /// A packet announces a payload over the limit. None of it was read.
    #[error("payload of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// The size it announces, in bytes.
        size: usize,
        /// The most it may be, in bytes.
        limit: usize,
    },
}

/// Tells whether a stream begins as a TLS record does.
fn is_tls(at: usize, found: u8) -> bool {
    at == 0 && (0x14..=0x17).contains(&found)
}
