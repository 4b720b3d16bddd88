//! A stream of packets, in any pieces and under any limit.
//!
//! ```text
//! limit  piece  piece  | stream
//! ```

use erps_wire::{
    decoder::{Decoder, FrameError, MAX_PAYLOAD, READ_CHUNK},
    packet::{self, Acceptance, COOKIE, HEADER_LEN, Header, KEEPALIVE, Kind},
};

const LIMITS: [usize; 8] = [0, 1, 16, 100, 1000, 70_000, MAX_PAYLOAD, usize::MAX];

pub(crate) fn run(data: &[u8]) {
    let Some((&[limit, first, second], stream)) = data.split_first_chunk() else {
        return;
    };
    let limit = LIMITS[usize::from(limit) % LIMITS.len()];
    let expected = reference(stream, limit);
    expected.encodes_to(stream);

    let mut decoder = Decoder::new(limit);
    assert_eq!(fed(&mut decoder, [stream], true), expected, "whole");

    let mut sizes = [first, second].map(|size| 1 + usize::from(size));
    let mut rest = stream;
    let pieces = std::iter::from_fn(|| {
        sizes.swap(0, 1);
        let (piece, after) = rest.split_at(sizes[0].min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    });
    let mut decoder = Decoder::new(limit);
    assert_eq!(fed(&mut decoder, pieces, false), expected, "in pieces");
    // The buffer is bounded by the bytes received, not by the announced size.
    let most = 2 * stream.len().max(256) + 4 * READ_CHUNK;
    assert!(decoder.capacity() <= most, "{decoder:?}");
    assert!(decoder.capacity() <= limit.saturating_add(HEADER_LEN + 4 * READ_CHUNK));
    decoder.release();
    let left = decoder.buffered();
    assert_eq!(decoder.capacity() == 0, left == 0);
}

/// The result of decoding a stream.
#[derive(Debug, PartialEq)]
struct Outcome {
    packets: Vec<(Header, Vec<u8>)>,
    /// How many bytes of an incomplete packet are left.
    end: Result<usize, FrameError>,
}

impl Outcome {
    /// Asserts that encoding the packets yields the stream.
    fn encodes_to(&self, stream: &[u8]) {
        let mut out = Vec::new();
        for (header, payload) in &self.packets {
            let before = out.len();
            let begun = packet::begin(&mut out, header.kind, header.version, &header.identifier);
            out.extend_from_slice(payload);
            begun.finish(&mut out, payload.len()).unwrap();
            let written = &out[before..];
            if header.authenticated {
                // This library does not write authenticated packets.
                let read = &stream[before..out.len()];
                assert_eq!(written[..48], read[..48]);
                assert_ne!(written[48..HEADER_LEN], read[48..HEADER_LEN]);
                out.truncate(before);
                out.extend_from_slice(&stream[before..before + HEADER_LEN + payload.len()]);
            }
            let taken = Acceptance::default().check(header).is_ok();
            assert_eq!(taken, !header.authenticated);
            assert_eq!(
                header.identifier.to_str().is_some(),
                std::str::from_utf8(header.identifier.as_bytes()).is_ok()
            );
        }
        assert!(stream.starts_with(&out));
        if let Ok(left) = self.end {
            assert_eq!(out.len() + left, stream.len());
        }
    }
}

fn fed<'a>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    copied: bool,
) -> Outcome {
    let mut packets = Vec::new();
    let mut end = Ok(0);
    for piece in pieces {
        if copied {
            decoder.extend(piece);
        } else {
            decoder.spare(piece.len())[..piece.len()].copy_from_slice(piece);
            decoder.filled(piece.len());
        }
        loop {
            match decoder.next_packet() {
                Ok(Some(packet)) => packets.push((packet.header, packet.payload.to_vec())),
                Ok(None) => break,
                Err(error) => {
                    // The error stays the same after more bytes.
                    if let Err(before) = end {
                        assert_eq!(error, before);
                    }
                    end = Err(error);
                    assert_eq!(decoder.buffered(), 0);
                    break;
                }
            }
        }
    }
    if end.is_ok() {
        end = Ok(decoder.buffered());
        assert_eq!(decoder.has_partial_packet(), decoder.buffered() > 0);
    }
    Outcome { packets, end }
}

/// Decodes by the documented packet layout.
fn reference(mut stream: &[u8], limit: usize) -> Outcome {
    let mut packets = Vec::new();
    let end = loop {
        let wrong = (0..4).find(|&at| stream.get(at).is_some_and(|byte| *byte != COOKIE[at]));
        if let Some(at) = wrong {
            let found = stream[at];
            break Err(FrameError::BadCookie { at, found });
        }
        if stream.len() < 8 {
            break Ok(stream.len());
        }
        let size = stream[4..8]
            .iter()
            .fold(0, |size, byte| size << 8 | usize::from(*byte));
        if size > limit {
            break Err(FrameError::TooLarge { size, limit });
        }
        let kind = match stream.get(8).copied().map(Kind::try_from) {
            None => break Ok(stream.len()),
            Some(Err(unknown)) => break Err(FrameError::UnknownKind(unknown.0)),
            Some(Ok(Kind::Keepalive)) if size > 0 => {
                break Err(FrameError::KeepaliveWithPayload { size });
            }
            Some(Ok(Kind::Keepalive)) => {
                packets.push((Header::KEEPALIVE, Vec::new()));
                stream = &stream[KEEPALIVE.len()..];
                continue;
            }
            Some(Ok(kind)) => kind,
        };
        if stream.len() < HEADER_LEN + size {
            break Ok(stream.len());
        }
        let [major, minor, patch] = [9, 10, 11].map(|at: usize| stream[at]);
        let mut identifier = [0; 36];
        identifier.copy_from_slice(&stream[12..48]);
        let header = Header {
            kind,
            version: erps_wire::identity::Version::new(major, minor, patch),
            identifier: erps_wire::identity::Identifier::from_wire(identifier),
            authenticated: stream[48..96].iter().any(|byte| *byte != 0),
        };
        packets.push((header, stream[96..96 + size].to_vec()));
        stream = &stream[96 + size..];
    };
    Outcome { packets, end }
}
