//! Packets: golden bytes, encoding, and acceptance. The decoder's tests have their own file.

mod decoder;

use erps_wire::decoder::{Decoder, FrameError, MAX_PAYLOAD};
use erps_wire::identity::{Identifier, Version};
use erps_wire::packet::{
    self, Acceptance, COOKIE, HEADER_LEN, Header, KEEPALIVE, Kind, PacketTooLarge, Rejection,
};
use serde_json::Value;

// The golden packets

/// A record of the golden file that has bytes.
struct Golden(Value);

impl Golden {
    fn all(kinds: &[&str]) -> Vec<Self> {
        let file = include_str!("../../../../tests/golden/packets.json");
        let records: Vec<Value> = serde_json::from_str(file).unwrap();
        let wanted = |record: &Value| kinds.iter().any(|kind| record["kind"] == *kind);
        records.into_iter().filter(wanted).map(Self).collect()
    }

    /// Returns the records of one valid packet.
    fn packets() -> Vec<Self> {
        let packets = Self::all(&["packet", "captured"]);
        assert_eq!(packets.len(), 79 + 8, "the golden file lost packets");
        packets
    }

    fn negative(name: &str) -> Vec<u8> {
        let mut all = Self::all(&["negative"]).into_iter();
        let found = all.find(|golden| golden.name() == name);
        found
            .unwrap_or_else(|| panic!("no negative {name}"))
            .bytes()
    }

    fn str(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap()
    }

    fn name(&self) -> &str {
        self.str("name")
    }

    fn bytes(&self) -> Vec<u8> {
        let hex = self.str("hex").as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
        hex.chunks(2)
            .map(|two| digit(two[0]) << 4 | digit(two[1]))
            .collect()
    }

    fn kind(&self) -> Kind {
        match self.str("type") {
            "keepalive" => Kind::Keepalive,
            "error" => Kind::Error,
            "reply" => Kind::Reply,
            "push" => Kind::Push,
            "call" => Kind::Call,
            "cast" => Kind::Cast,
            other => panic!("no kind {other}"),
        }
    }

    /// The version given to the encoder; `None` where Elixir's erps wraps it.
    fn version(&self) -> Option<Version> {
        self.str("version").parse().ok()
    }

    fn identifier(&self) -> Identifier {
        self.str("identifier").parse().unwrap()
    }

    fn payload(&self) -> Vec<u8> {
        self.bytes().get(HEADER_LEN..).unwrap_or(&[]).to_vec()
    }
}

/// A packet copied out of the decoder's buffer.
type Owned = (Header, Vec<u8>);

/// Takes all complete packets, up to the first error.
fn drain(decoder: &mut Decoder, packets: &mut Vec<Owned>) -> Result<(), FrameError> {
    while let Some(packet) = decoder.next_packet()? {
        packets.push((packet.header, packet.payload.to_vec()));
    }
    Ok(())
}

/// Feeds `pieces` to a decoder and returns its packets, up to the first error.
fn decode<'a>(
    max_payload: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Owned>, Result<(), FrameError>, Decoder) {
    let mut decoder = Decoder::new(max_payload);
    let mut packets = Vec::new();
    let mut feed = |piece| {
        decoder.extend(piece);
        drain(&mut decoder, &mut packets)
    };
    let end = pieces.into_iter().try_for_each(&mut feed);
    (packets, end, decoder)
}

/// Decodes exactly one packet.
fn decode_one(bytes: &[u8]) -> Owned {
    let (mut packets, end, decoder) = decode(MAX_PAYLOAD, [bytes]);
    assert_eq!(end, Ok(()));
    assert_eq!(packets.len(), 1);
    assert_eq!(decoder.buffered(), 0);
    packets.remove(0)
}

fn encode(kind: Kind, version: Version, identifier: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let begun = packet::begin(&mut out, kind, version, &identifier.parse().unwrap());
    out.extend_from_slice(payload);
    begun.finish(&mut out, MAX_PAYLOAD).unwrap();
    out
}

fn cast(payload: &[u8]) -> Vec<u8> {
    encode(Kind::Cast, Version::new(1, 2, 3), "oracle", payload)
}

#[test]
fn golden_packets_decode_to_their_fields() {
    for golden in Golden::packets() {
        let (header, payload) = decode_one(&golden.bytes());
        let name = golden.name();
        assert_eq!(header.kind, golden.kind(), "{name}");
        assert_eq!(payload, golden.payload(), "{name}");
        assert!(!header.authenticated, "{name}");
        match (header.kind, golden.version()) {
            (Kind::Keepalive, _) => assert_eq!(header, Header::KEEPALIVE, "{name}"),
            (_, Some(version)) => {
                assert_eq!(header.version, version, "{name}");
                assert_eq!(header.identifier, golden.identifier(), "{name}");
                assert_eq!(
                    header.identifier.to_str(),
                    Some(golden.str("identifier")),
                    "{name}"
                );
            }
            (_, None) => assert_eq!(header.version, Version::new(0, 1, 44), "{name}"),
        }
    }
}

#[test]
fn golden_packets_are_encoded_byte_for_byte() {
    let mut wrapped = Vec::new();
    for golden in Golden::packets() {
        let Some(version) = golden.version() else {
            wrapped.push(golden.name().to_owned());
            continue;
        };
        let identifier = golden.str("identifier");
        let ours = encode(golden.kind(), version, identifier, &golden.payload());
        assert_eq!(ours, golden.bytes(), "{}", golden.name());
    }
    // A version over 255 cannot be constructed, so it cannot wrap.
    assert_eq!(wrapped, ["call_version_over_byte_wraps"]);
}

#[test]
fn header_fields_have_the_documented_offsets() {
    let bytes = encode(Kind::Call, Version::new(7, 8, 9), "id", b"payload");
    assert_eq!(bytes[..4], COOKIE);
    assert_eq!(bytes[4..8], [0, 0, 0, 7]);
    assert_eq!(bytes[8..12], [4, 7, 8, 9]);
    assert_eq!(bytes[12..14], *b"id");
    assert_eq!(bytes[14..96], [0; 82]);
    assert_eq!(bytes[96..], *b"payload");
}

// Kinds

#[test]
fn six_packet_kinds_are_known() {
    let known: Vec<u8> = (0..=255)
        .filter(|byte| Kind::try_from(*byte).is_ok())
        .collect();
    assert_eq!(known, [0, 1, 2, 3, 4, 8]);
    for byte in known {
        assert_eq!(Kind::try_from(byte).map(|kind| kind as u8), Ok(byte));
    }
    let error = Kind::try_from(5).unwrap_err();
    assert_eq!(error.to_string(), "there is no packet of kind 5");
}

// Encoding

#[test]
fn packets_are_appended_to_one_buffer() {
    let mut out = b"before".to_vec();
    let (version, name) = (Version::new(1, 2, 3), "oracle".parse().unwrap());
    for payload in [b"one".as_slice(), b"", b"three"] {
        let begun = packet::begin(&mut out, Kind::Cast, version, &name);
        out.extend_from_slice(payload);
        begun.finish(&mut out, 5).unwrap();
        packet::append_keepalive(&mut out);
    }
    let mut expected = b"before".to_vec();
    for payload in [b"one".as_slice(), b"", b"three"] {
        expected.extend(cast(payload));
        expected.extend(KEEPALIVE);
    }
    assert_eq!(out, expected);
}

#[test]
fn payload_over_the_limit_is_not_encoded() {
    let name = Identifier::EMPTY;
    for (size, fits) in [(63, true), (64, true), (65, false), (70, false)] {
        let mut out = b"before".to_vec();
        let begun = packet::begin(&mut out, Kind::Reply, Version::default(), &name);
        out.resize(out.len() + size, 0);
        let finished = begun.finish(&mut out, 64);
        if fits {
            assert_eq!(finished, Ok(()));
            assert_eq!(out.len(), 6 + HEADER_LEN + size);
        } else {
            assert_eq!(finished, Err(PacketTooLarge { size, limit: 64 }));
            assert_eq!(out, b"before", "the buffer should be as it was");
        }
    }
    let error = PacketTooLarge {
        size: 70,
        limit: 64,
    };
    assert_eq!(
        error.to_string(),
        "payload of 70 bytes is over the limit of 64 bytes"
    );
}

#[test]
fn cancel_restores_the_buffer() {
    let mut out = b"before".to_vec();
    let begun = packet::begin(&mut out, Kind::Call, Version::default(), &Identifier::EMPTY);
    out.extend_from_slice(b"half a pay");
    begun.cancel(&mut out);
    assert_eq!(out, b"before");
}

// Acceptance

fn oracle() -> Acceptance {
    Acceptance {
        identifier: Some("oracle".parse().unwrap()),
        versions: Some("~> 1.2".parse().unwrap()),
    }
}

#[test]
fn golden_packets_are_rejected_with_the_texts_of_elixirs_erps() {
    for (name, verdict) in [
        ("call_payload_not_a_pair", Ok(())),
        ("identifier_wrong", Err("wrong identifier")),
        (
            "identifier_trailing_garbage_after_nul",
            Err("wrong identifier"),
        ),
        ("version_too_new", Err("incompatible version")),
        ("version_too_old", Err("incompatible version")),
        ("identifier_and_version_both_wrong", Err("wrong identifier")),
        ("hmac_not_empty", Err("authentication provided")),
        ("signature_not_empty", Err("authentication provided")),
    ] {
        let (header, _) = decode_one(&Golden::negative(name));
        let checked = oracle()
            .check(&header)
            .map_err(|refusal| refusal.to_string());
        assert_eq!(checked, verdict.map_err(str::to_owned), "{name}");
    }
}

#[test]
fn acceptance_without_identifier_and_versions_accepts_any() {
    let header = Header {
        kind: Kind::Call,
        version: Version::new(9, 0, 0),
        identifier: "orange".parse().unwrap(),
        authenticated: true,
    };
    let only_name = Acceptance {
        versions: None,
        ..oracle()
    };
    let only_versions = Acceptance {
        identifier: None,
        ..oracle()
    };
    assert_eq!(oracle().check(&header), Err(Rejection::WrongIdentifier));
    assert_eq!(only_name.check(&header), Err(Rejection::WrongIdentifier));
    assert_eq!(
        only_versions.check(&header),
        Err(Rejection::IncompatibleVersion)
    );
    let anything = Acceptance::default();
    assert_eq!(
        anything.check(&header),
        Err(Rejection::AuthenticationProvided)
    );
    let authenticated = false;
    assert_eq!(
        anything.check(&Header {
            authenticated,
            ..header
        }),
        Ok(())
    );
}

#[test]
fn keepalive_is_always_accepted() {
    let (header, _) = decode_one(&KEEPALIVE);
    assert_eq!(oracle().check(&header), Ok(()));
}

#[test]
fn any_nonzero_byte_of_hmac_or_signature_counts_as_authentication() {
    for at in 0..HEADER_LEN + 1 {
        let mut bytes = cast(b"x");
        bytes[at] ^= 1;
        let (packets, end, _) = decode(MAX_PAYLOAD, [bytes.as_slice()]);
        let authenticated = end.is_ok() && packets.iter().any(|(header, _)| header.authenticated);
        assert_eq!(authenticated, (48..96).contains(&at), "byte {at}");
    }
}

#[test]
fn non_utf8_identifier_is_decoded_and_rejected() {
    let mut bytes = cast(b"x");
    bytes[12..18].copy_from_slice(b"orac\xff\xfe");
    let (header, _) = decode_one(&bytes);
    assert_eq!(header.identifier.to_str(), None);
    assert_eq!(oracle().check(&header), Err(Rejection::WrongIdentifier));
}
