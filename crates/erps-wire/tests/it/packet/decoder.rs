//! The decoder: streams in pieces, errors, and memory.

use erps_wire::decoder::{Decoder, FrameError, MAX_PAYLOAD, READ_CHUNK};
use erps_wire::packet::{HEADER_LEN, KEEPALIVE, Kind};
use proptest::prelude::*;

use super::{Golden, Owned, cast, decode, decode_one, drain};

/// Takes all packets from a valid stream.
fn take_all(decoder: &mut Decoder) -> Vec<Owned> {
    let mut packets = Vec::new();
    drain(decoder, &mut packets).unwrap();
    packets
}

/// Returns all golden packets in one stream, and the expected packets.
fn glued() -> (Vec<u8>, Vec<Owned>) {
    let all = Golden::packets();
    let stream = all.iter().flat_map(Golden::bytes).collect();
    let packets = all.iter().map(|golden| decode_one(&golden.bytes()));
    (stream, packets.collect())
}

// Pieces

#[test]
fn golden_packet_split_anywhere_decodes() {
    for golden in Golden::packets() {
        let bytes = golden.bytes();
        let whole = decode_one(&bytes);
        for at in 0..=bytes.len() {
            let (front, back) = bytes.split_at(at);
            let (packets, end, _) = decode(MAX_PAYLOAD, [front, back]);
            assert_eq!(end, Ok(()));
            assert_eq!(
                packets,
                std::slice::from_ref(&whole),
                "{} at {at}",
                golden.name()
            );
        }
    }
}

#[test]
fn golden_packets_in_chunks_of_any_size_decode() {
    let (stream, expected) = glued();
    for size in [1, 2, 3, 7, 95, 96, 97, 1000, stream.len()] {
        let (packets, end, decoder) = decode(MAX_PAYLOAD, stream.chunks(size));
        assert_eq!(end, Ok(()));
        assert!(packets == expected, "in chunks of {size}");
        assert_eq!(decoder.buffered(), 0);
    }
}

#[test]
fn keepalive_between_packets_is_nine_bytes() {
    let stream = [
        &KEEPALIVE[..],
        &cast(b"x"),
        &KEEPALIVE,
        &KEEPALIVE,
        &cast(b""),
    ]
    .concat();
    let (packets, end, _) = decode(MAX_PAYLOAD, stream.chunks(4));
    assert_eq!(end, Ok(()));
    let kinds: Vec<Kind> = packets.iter().map(|(header, _)| header.kind).collect();
    use Kind::{Cast, Keepalive};
    assert_eq!(kinds, [Keepalive, Cast, Keepalive, Keepalive, Cast]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn stream_in_random_pieces_decodes(sizes in prop::collection::vec(1usize..2000, 1..64)) {
        let (stream, expected) = glued();
        let mut rest = stream.as_slice();
        let pieces = sizes.iter().cycle().map_while(|size| {
            let (piece, after) = rest.split_at_checked(*size).unwrap_or((rest, &[]));
            rest = after;
            (!piece.is_empty()).then_some(piece)
        });
        let (packets, end, _) = decode(MAX_PAYLOAD, pieces);
        prop_assert_eq!(end, Ok(()));
        prop_assert!(packets == expected);
    }
}

// Errors

/// The result of decoding: packet kinds, then an error or what remains.
type Outcome = (Vec<Kind>, Result<Left, FrameError>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    Nothing,
    /// An incomplete packet.
    Partial,
}

fn outcome_of(bytes: &[u8], piece: usize) -> Outcome {
    let (packets, end, decoder) = decode(MAX_PAYLOAD, bytes.chunks(piece));
    let kinds = packets.into_iter().map(|(header, _)| header.kind);
    let left = match decoder.has_partial_packet() {
        true => Left::Partial,
        false => Left::Nothing,
    };
    (kinds.collect(), end.map(|()| left))
}

/// The expected result for each negative record as far as framing goes; an invalid payload, identifier or
/// version does not affect framing.
fn expected_of(name: &str) -> Outcome {
    use FrameError::{BadCookie, KeepaliveWithPayload, TooLarge, UnknownKind};
    use Kind::{Call, Error, Keepalive, Push};
    let frames = |kinds: &[Kind]| (kinds.to_vec(), Ok(Left::Nothing));
    let fails = |kinds: &[Kind], error| (kinds.to_vec(), Err(error));
    let too_large = |size| TooLarge {
        size,
        limit: MAX_PAYLOAD,
    };
    match name {
        "bad_cookie" => fails(&[], BadCookie { at: 0, found: b'E' }),
        "bad_cookie_one_bit" => fails(&[], BadCookie { at: 3, found: b'r' }),
        "garbage_http" => fails(&[], BadCookie { at: 0, found: b'G' }),
        "cookie_only"
        | "seven_bytes"
        | "eight_bytes_size_0"
        | "header_one_byte_short"
        | "truncated_payload" => (vec![], Ok(Left::Partial)),
        // The last byte of the payload is in the place of the next packet.
        "size_field_one_too_small" => fails(&[Call], BadCookie { at: 0, found: b'g' }),
        "size_field_0xffffffff" => fails(&[], too_large(0xffff_ffff)),
        "size_field_0x7fffffff" => fails(&[], too_large(0x7fff_ffff)),
        "size_field_64mib_plus" => fails(&[], too_large(0x0400_0001)),
        "keepalive_then_call_in_one_segment" => frames(&[Keepalive, Call]),
        "two_keepalives_in_one_segment" => frames(&[Keepalive, Keepalive]),
        "type_code_5_unknown" => fails(&[], UnknownKind(5)),
        "type_code_255_unknown" => fails(&[], UnknownKind(255)),
        "type_code_0_with_full_header_and_payload" => fails(&[], KeepaliveWithPayload { size: 12 }),
        // After nine bytes it is a keepalive; the version is in the place of the next packet.
        "type_code_0_with_full_header_no_payload" => {
            fails(&[Keepalive], BadCookie { at: 0, found: 1 })
        }
        "type_push_sent_to_server" => frames(&[Push]),
        "type_error_sent_to_server" => frames(&[Error]),
        _ => frames(&[Call]),
    }
}

#[test]
fn negative_packets_are_framed_as_specified_in_pieces_of_any_size() {
    let negatives = Golden::all(&["negative"]);
    assert_eq!(negatives.len(), 45, "the golden file lost negatives");
    let mut failing = 0;
    for golden in &negatives {
        let expected = expected_of(golden.name());
        failing += usize::from(expected.1.is_err());
        for piece in [1, 2, 5, 9, 96, 4096] {
            let outcome = outcome_of(&golden.bytes(), piece);
            assert_eq!(outcome, expected, "{} in pieces of {piece}", golden.name());
        }
    }
    assert_eq!(failing, 11, "a name in the table fits no record");
}

/// Feeds byte by byte and returns the offset of the byte that caused the error.
fn offset_of_error(max_payload: usize, bytes: &[u8]) -> Option<(usize, FrameError)> {
    let mut decoder = Decoder::new(max_payload);
    bytes.iter().enumerate().find_map(|(offset, byte)| {
        decoder.extend(&[*byte]);
        Some((offset, drain(&mut decoder, &mut Vec::new()).err()?))
    })
}

#[test]
fn error_is_returned_at_the_first_invalid_byte() {
    let good = cast(b"hello");
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        offset_of_error(64, &bytes)
    };
    assert_eq!(offset_of_error(64, &good), None);
    for at in 0..4 {
        let error = FrameError::BadCookie { at, found: b'X' };
        assert_eq!(with(at, b'X'), Some((at, error)));
    }
    let too_large = |size| FrameError::TooLarge { size, limit: 64 };
    assert_eq!(with(7, 65), Some((7, too_large(65))));
    assert_eq!(with(4, 1), Some((7, too_large(0x0100_0005))));
    assert_eq!(with(8, 7), Some((8, FrameError::UnknownKind(7))));
    assert_eq!(
        with(8, 0),
        Some((8, FrameError::KeepaliveWithPayload { size: 5 }))
    );
}

#[test]
fn oversized_packet_of_unknown_kind_is_reported_as_oversized() {
    let mut bytes = cast(b"hello");
    bytes[4] = 0xff;
    bytes[8] = 0xff;
    let in_one = decode(64, [bytes.as_slice()]).1;
    let in_bytes = decode(64, bytes.chunks(1)).1;
    assert_eq!(in_one, in_bytes);
    assert!(
        matches!(in_one, Err(FrameError::TooLarge { .. })),
        "{in_one:?}"
    );
}

#[test]
fn received_payload_over_the_limit_is_an_error() {
    for (size, fits) in [(63, true), (64, true), (65, false)] {
        let (packets, end, _) = decode(64, [cast(&vec![7; size]).as_slice()]);
        if fits {
            assert_eq!((packets.len(), end), (1, Ok(())));
            assert_eq!(packets[0].1, vec![7; size]);
        } else {
            let error = FrameError::TooLarge { size, limit: 64 };
            assert_eq!((packets.len(), end), (0, Err(error)));
        }
    }
    assert!(decode(0, [cast(b"").as_slice()]).1.is_ok());
    assert!(decode(0, [cast(b"x").as_slice()]).1.is_err());
}

#[test]
fn decoder_returns_no_packet_after_an_error() {
    let error = FrameError::BadCookie { at: 0, found: b'G' };
    let mut decoder = Decoder::new(MAX_PAYLOAD);
    decoder.extend(&cast(b"before"));
    decoder.extend(b"GET / HTTP/1.1");
    assert!(decoder.next_packet().unwrap().is_some());
    assert_eq!(decoder.next_packet(), Err(error));
    assert_eq!(decoder.capacity(), 0, "a dead stream needs no buffer");
    for _ in 0..3 {
        decoder.extend(&cast(b"after"));
        assert_eq!(decoder.next_packet(), Err(error));
        assert_eq!(decoder.buffered(), 0);
        assert!(!decoder.has_partial_packet());
    }
}

#[test]
fn debug_does_not_print_buffered_bytes() {
    let mut decoder = Decoder::new(64);
    decoder.extend(&KEEPALIVE);
    let shown = format!("{decoder:?}");
    let expected = "Decoder { buffered: 9, capacity: 9, max_payload: 64, failed: None }";
    assert_eq!(shown, expected);
}

#[test]
fn error_texts_name_the_cause() {
    let texts = [
        (
            FrameError::BadCookie { at: 0, found: b'G' },
            "not an erps packet: its byte 0 is 0x47, which is not the cookie's",
        ),
        (FrameError::UnknownKind(5), "there is no packet of kind 5"),
        (
            FrameError::KeepaliveWithPayload { size: 12 },
            "a keepalive must have no payload, not one of 12 bytes",
        ),
        (
            FrameError::TooLarge {
                size: 70,
                limit: 64,
            },
            "payload of 70 bytes is over the limit of 64 bytes",
        ),
    ];
    for (error, text) in texts {
        assert_eq!(error.to_string(), text);
    }
}

// Memory

#[test]
fn new_decoder_allocates_nothing() {
    assert_eq!(Decoder::new(MAX_PAYLOAD).capacity(), 0);
}

#[test]
fn announced_length_allocates_nothing_until_the_bytes_arrive() {
    let bytes = cast(&vec![7; MAX_PAYLOAD]);
    let mut decoder = Decoder::new(MAX_PAYLOAD);
    for arrived in [1024, 100_000, 1_000_000] {
        while decoder.buffered() < arrived {
            let n = READ_CHUNK.min(arrived - decoder.buffered());
            let from = decoder.buffered();
            decoder.spare(READ_CHUNK)[..n].copy_from_slice(&bytes[from..from + n]);
            decoder.filled(n);
            assert_eq!(decoder.next_packet(), Ok(None));
        }
        let capacity = decoder.capacity();
        assert!(
            capacity <= 2 * (arrived + READ_CHUNK),
            "{capacity} for {arrived}"
        );
    }
}

#[test]
fn buffer_is_bounded_by_the_largest_packet_and_one_read() {
    let limit = 1_000_000;
    let bytes = cast(&vec![7; limit]);
    let mut decoder = Decoder::new(limit);
    let mut packets = 0;
    for piece in bytes.chunks(READ_CHUNK) {
        decoder.spare(READ_CHUNK)[..piece.len()].copy_from_slice(piece);
        decoder.filled(piece.len());
        packets += take_all(&mut decoder).len();
        assert!(decoder.capacity() <= HEADER_LEN + limit + READ_CHUNK);
    }
    assert_eq!(packets, 1);
}

#[test]
fn buffer_shrinks_after_a_large_packet() {
    let mut decoder = Decoder::new(MAX_PAYLOAD);
    decoder.extend(&cast(&vec![7; 1 << 20]));
    assert_eq!(take_all(&mut decoder).len(), 1);
    assert!(decoder.capacity() > 1 << 20);
    decoder.extend(&cast(b"small"));
    assert_eq!(take_all(&mut decoder).len(), 1);
    assert!(
        decoder.capacity() <= 4 * READ_CHUNK,
        "{}",
        decoder.capacity()
    );
}

#[test]
fn release_frees_an_empty_buffer_and_keeps_a_partial_packet() {
    let bytes = cast(b"hello");
    let mut decoder = Decoder::new(MAX_PAYLOAD);
    decoder.extend(&bytes[..50]);
    decoder.release();
    assert_eq!(decoder.buffered(), 50);
    decoder.extend(&bytes[50..]);
    assert_eq!(take_all(&mut decoder)[0].1, b"hello");
    decoder.release();
    assert_eq!(decoder.capacity(), 0);
    decoder.extend(&bytes);
    assert_eq!(take_all(&mut decoder)[0].1, b"hello");
}

#[test]
fn stream_of_small_packets_reuses_one_buffer() {
    let stream = cast(&[7; 900]).repeat(2000);
    let mut decoder = Decoder::new(MAX_PAYLOAD);
    let mut packets = 0;
    for piece in stream.chunks(READ_CHUNK) {
        decoder.spare(READ_CHUNK)[..piece.len()].copy_from_slice(piece);
        decoder.filled(piece.len());
        packets += take_all(&mut decoder).len();
        assert!(decoder.capacity() <= 2 * READ_CHUNK);
    }
    assert_eq!(packets, 2000);
}

#[test]
fn spare_is_never_empty() {
    let mut decoder = Decoder::new(0);
    assert!(!decoder.spare(0).is_empty());
    assert!(decoder.spare(READ_CHUNK).len() >= READ_CHUNK);
}

#[test]
#[should_panic(expected = "a reader fills no more than the spare part")]
fn filling_more_than_the_spare_part_panics() {
    let mut decoder = Decoder::new(64);
    let room = decoder.spare(10).len();
    decoder.filled(room + 1);
}

#[test]
fn is_midway_from_the_first_byte_of_a_packet_to_its_last() {
    let bytes = [cast(b"hello"), KEEPALIVE.to_vec()].concat();
    let mut decoder = Decoder::new(MAX_PAYLOAD);
    assert!(!decoder.has_partial_packet());
    for (at, byte) in bytes.iter().enumerate() {
        decoder.extend(&[*byte]);
        let complete = at == 100 || at == 109;
        assert_eq!(decoder.has_partial_packet(), !complete, "after byte {at}");
        let packets = take_all(&mut decoder);
        assert_eq!(packets.len(), usize::from(complete), "after byte {at}");
    }
    assert!(!decoder.has_partial_packet());
}

// Arbitrary bytes

/// Bytes of which some pass the first checks.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let packet = (any::<[u8; 2]>(), 0usize..200, any::<u8>()).prop_map(|(change, len, fill)| {
        let mut bytes = cast(&vec![fill; len]);
        let at = usize::from(change[0]);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= change[1];
        }
        bytes
    });
    prop_oneof![
        4 => packet,
        2 => Just(KEEPALIVE.to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..50),
    ]
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_decode_alike_within_bounds(
        parts in prop::collection::vec(noise(), 1..12),
        piece in 1usize..300,
        limit in 0usize..250,
    ) {
        let stream = parts.concat();
        let mut decoder = Decoder::new(limit);
        let mut packets = Vec::new();
        let mut end = Ok(());
        // Continues after an error, as no caller should.
        for bytes in stream.chunks(piece) {
            decoder.extend(bytes);
            prop_assert!(decoder.buffered() <= HEADER_LEN + limit + piece);
            prop_assert!(decoder.capacity() <= HEADER_LEN + limit + piece);
            end = drain(&mut decoder, &mut packets);
        }
        let (at_once, end_at_once, _) = decode(limit, [stream.as_slice()]);
        prop_assert_eq!(packets, at_once);
        prop_assert_eq!(end, end_at_once);
    }
}
