//! Payloads written by Elixir's erps, and a cross-check with Erlang.

use std::process::Command;

use serde::de::IgnoredAny;
use serde_etf::{self as etf, DecodeError, Limits, Term};

use super::{Call, term};

pub(super) fn golden() -> Vec<serde_json::Value> {
    serde_json::from_str(include_str!("../../../../tests/golden/packets.json")).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

/// Returns the payload of a packet with a complete header.
pub(super) fn payload(packet: &serde_json::Value) -> Option<Vec<u8>> {
    let bytes = unhex(packet["hex"].as_str()?);
    bytes.get(96..).map(<[u8]>::to_vec)
}

pub(super) fn negative(name: &str) -> Vec<u8> {
    payload(
        golden()
            .iter()
            .find(|packet| packet["name"] == name)
            .unwrap(),
    )
    .unwrap()
}

/// Returns the term that Elixir prints abbreviated.
fn spelled_out(elixir: &str) -> Term {
    term(&match elixir {
        "{100, {:echo, %Version{major: 1, minor: 2, patch: 3}}}" => {
            "{100, {:echo, %Version{major: 1, minor: 2, patch: 3, pre: [], build: nil}}}".to_owned()
        }
        "{100, {:echo, MapSet.new([1, 2, 3])}}" => {
            "{100, {:echo, %MapSet{map: %{1 => [], 2 => [], 3 => []}, version: 2}}}".to_owned()
        }
        "{100, {:echo, 1..10}}" => "{100, {:echo, %Range{first: 1, last: 10, step: 1}}}".to_owned(),
        "{100, {:echo, ~D[2020-09-08]}}" => {
            "{100, {:echo, %Date{calendar: Calendar.ISO, year: 2020, month: 9, day: 8}}}".to_owned()
        }
        other => other.to_owned(),
    })
}

#[test]
fn golden_payloads_decode_to_their_terms() {
    let mut seen = 0;
    for packet in golden() {
        let kind = packet["kind"].as_str().unwrap_or_default();
        if !matches!(kind, "packet" | "captured") || packet["type"] == "keepalive" {
            continue;
        }
        let name = packet["name"].as_str().unwrap();
        let payload = payload(&packet).unwrap();
        let decoded: Term = etf::from_slice(&payload).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            decoded,
            spelled_out(packet["term_elixir"].as_str().unwrap()),
            "{name}"
        );
        let again = etf::to_vec(&decoded).unwrap();
        assert_eq!(etf::from_slice::<Term>(&again).unwrap(), decoded, "{name}");
        seen += 1;
    }
    assert!(seen > 80, "{seen}");
}

#[test]
fn terms_are_compressed_as_by_elixirs_erps() {
    // With the `compressed` option OTP 25 writes UTF-8 atoms, as this library always does.
    let mut plain = 0;
    for packet in golden() {
        if packet["compressed"].is_null() || packet["kind"] != "packet" {
            continue;
        }
        let theirs = payload(&packet).unwrap();
        let decoded: Term = etf::from_slice(&theirs).unwrap();
        let ours = etf::to_vec(&decoded).unwrap();
        let level = packet["compressed"].as_u64().unwrap_or(6) as u8;
        let packed = etf::compress(ours.clone(), level).unwrap();
        if packet["zlib_term"] == true {
            assert_eq!(packed[..2], [131, 80], "{}", packet["name"]);
            assert!(packed.len() < ours.len());
            assert_eq!(etf::from_slice::<Term>(&packed).unwrap(), decoded);
        } else {
            assert_eq!(packed, theirs, "{}", packet["name"]);
            plain += 1;
        }
    }
    assert!(plain > 5, "{plain}");
}

#[test]
fn executable_terms_and_ports_have_their_own_errors() {
    for (name, tag) in [
        ("executable_external_fun_bare", 113),
        ("executable_local_fun", 112),
        ("executable_fun_in_map_key", 113),
        ("port_term", 89),
    ] {
        let payload = negative(name);
        let error = etf::from_slice::<Term>(&payload).unwrap_err();
        assert_eq!(error, DecodeError::Executable { tag }, "{name}");
        assert!(error.is_executable());

        let limits = Limits::default().safe(false);
        let kept: Term = etf::check(&payload, &limits).unwrap().decode().unwrap();
        let again = etf::to_vec(&kept).unwrap();
        assert_eq!(
            etf::check(&again, &limits)
                .unwrap()
                .decode::<Term>()
                .unwrap(),
            kept,
            "{name}"
        );
        assert!(
            etf::from_slice::<IgnoredAny>(&again)
                .unwrap_err()
                .is_executable()
        );
    }
    // A function of an old node, with two free variables.
    let old = [
        131, 117, 0, 0, 0, 2, 103, 119, 1, b'n', 0, 0, 0, 0, 0, 0, 0, 0, 0, 119, 1, b'm', 97, 1,
        97, 1, 97, 5, 106,
    ];
    assert_eq!(
        etf::from_slice::<Term>(&old),
        Err(DecodeError::Executable { tag: 117 })
    );
    let limits = Limits::default().safe(false);
    let kept: Term = etf::check(&old, &limits).unwrap().decode().unwrap();
    assert_eq!(etf::to_vec(&kept).unwrap(), old);
}

#[test]
fn executable_terms_are_found_in_nested_and_compressed_terms() {
    let fun = &negative("executable_external_fun_bare")[1..];
    let mut deep = vec![131];
    deep.extend([104, 1].repeat(100));
    deep.extend(fun);
    assert!(etf::from_slice::<Term>(&deep).unwrap_err().is_executable());
    deep.splice(1..1, [104, 2, 109, 0, 0, 4, 0].into_iter().chain([0; 1024]));
    let packed = etf::compress(deep.clone(), 9).unwrap();
    assert_eq!(packed[1], 80);
    assert!(
        etf::from_slice::<Term>(&packed)
            .unwrap_err()
            .is_executable()
    );
}

#[test]
fn malformed_payloads_have_their_errors() {
    for (name, error) in [
        ("etf_bad_version_byte", DecodeError::Version(130)),
        ("etf_truncated_term", DecodeError::Truncated),
        ("etf_list_length_4g", DecodeError::Truncated),
        ("etf_binary_length_4g", DecodeError::Truncated),
        ("etf_compressed_bad_zlib", DecodeError::Compressed),
        ("etf_map_duplicate_keys", DecodeError::DuplicateKey),
    ] {
        assert_eq!(
            etf::from_slice::<Term>(&negative(name)),
            Err(error),
            "{name}"
        );
    }
    for (bytes, error) in [
        (&[][..], DecodeError::Truncated),
        (&[131], DecodeError::Truncated),
        (&[131, 0], DecodeError::UnknownTag(0)),
        (&[131, 80, 0, 0], DecodeError::Truncated),
        (&[131, 119, 1, 0xff], DecodeError::Atom),
        (&[131, 110, 1, 2, 5], DecodeError::Integer),
        (&[131, 70, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0], DecodeError::Float),
        (&[131, 70, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], DecodeError::Float),
        (&[131, 77, 0, 0, 0, 1, 0, 7], DecodeError::Bits),
        (&[131, 77, 0, 0, 0, 1, 9, 7], DecodeError::Bits),
        (&[131, 77, 0, 0, 0, 0, 1], DecodeError::Bits),
        (&[131, 112, 0, 0, 0, 3], DecodeError::Truncated),
    ] {
        assert_eq!(
            etf::from_slice::<IgnoredAny>(bytes).map(drop),
            Err(error),
            "{bytes:?}"
        );
    }
}

#[test]
fn unknown_atoms_are_accepted() {
    for (name, atom) in [
        ("unsafe_atom_ext_100", "never_seen_atom_zzz_01"),
        ("unsafe_atom_small_utf8_119", "never_seen_atom_zzz_02"),
        (
            "unsafe_atom_allowed_with_safe_false",
            "never_seen_atom_zzz_03",
        ),
    ] {
        assert_eq!(
            etf::from_slice::<Term>(&negative(name)).unwrap(),
            Term::atom(atom)
        );
        let typed = etf::from_slice::<Call>(&negative(name)).unwrap_err();
        assert!(typed.to_string().contains(atom), "{typed}");
    }
}

#[test]
fn bytes_after_the_term_are_ignored() {
    let checked = negative("etf_trailing_bytes");
    let checked = etf::check(&checked, &Limits::default()).unwrap();
    assert_eq!(checked.decode::<Term>().unwrap(), term("{77, :ping}"));
    assert_eq!(checked.as_element().as_bytes().len(), 11);
}

#[test]
fn a_call_splits_into_its_reference_and_its_request() {
    for (name, reference, bytes) in [
        (
            "call_ref_is_an_atom",
            ":ping",
            &[100, 0, 4, b'p', b'i', b'n', b'g'][..],
        ),
        ("call_ref_is_negative", "-1", &[98, 255, 255, 255, 255]),
        (
            "call_ref_is_big",
            "1180591620717411303424",
            &[110, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64],
        ),
    ] {
        let payload = negative(name);
        let checked = etf::check(&payload, &Limits::default()).unwrap();
        let (first, second) = checked.pair().unwrap();
        assert_eq!(first.as_bytes(), bytes, "{name}");
        assert_eq!(first.decode::<Term>().unwrap(), term(reference));
        assert_eq!(second.decode::<Call>().unwrap(), Call::Ping);
    }
    for other in ["call_payload_not_a_pair", "unsafe_atom_ext_100"] {
        let payload = negative(other);
        assert!(
            etf::check(&payload, &Limits::default())
                .unwrap()
                .pair()
                .is_none()
        );
    }
    for other in ["{1}", "{1, 2, 3}", "[1, 2]", "{}"] {
        let payload = etf::to_vec(&term(other)).unwrap();
        assert!(
            etf::check(&payload, &Limits::default())
                .unwrap()
                .pair()
                .is_none()
        );
    }
}

#[test]
fn a_pair_is_found_in_a_compressed_payload_too() {
    let text = "compress me ".repeat(20);
    let packed = etf::compress(etf::to_vec(&(7, &text)).unwrap(), 6).unwrap();
    let checked = etf::check(&packed, &Limits::default()).unwrap();
    let (reference, request) = checked.pair().unwrap();
    assert_eq!(reference.as_bytes(), [97, 7]);
    assert_eq!(request.decode::<&str>().unwrap(), text);
}

/// Lets Erlang decode the encoded terms and encode them again.
#[test]
fn erlang_decodes_encoded_terms() {
    const SCRIPT: &str = "#!/usr/bin/env escript\n\
        main(Hexes) -> [io:format(\"~s~n\", [again(Hex)]) || Hex <- Hexes].\n\
        again(Hex) ->\n\
          Term = binary_to_term(<<<<(list_to_integer(D, 16)):4>> || D <- [[C] || C <- Hex]>>),\n\
          lists:flatten([io_lib:format(\"~2.16.0b\", [B]) || <<B>> <= term_to_binary(Term)]).\n";

    let mut terms: Vec<Term> = golden()
        .iter()
        .filter(|packet| packet["kind"] == "packet")
        .filter_map(|packet| packet["term_elixir"].as_str())
        .map(spelled_out)
        .filter(|term| etf::to_vec(term).unwrap().len() < 1000)
        .collect();
    terms.push(Term::map((0..100).map(|i| (Term::from(i), Term::from(i)))));
    terms.push(term(
        "{-0.0, 1.0e300, 2.5e-10, :\"\", [a: 1, b: [1 | :c]], <<1, 1::size(1)>>}",
    ));
    terms.push(Term::atom(&"日".repeat(255)));

    let path = std::env::temp_dir().join(format!("erps-{}.escript", std::process::id()));
    std::fs::write(&path, SCRIPT).unwrap();
    let hexes = terms.iter().map(|term| {
        let bytes = etf::to_vec(term).unwrap();
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    });
    let output = Command::new("escript").arg(&path).args(hexes).output();
    std::fs::remove_file(&path).unwrap();
    let Ok(output) = output else {
        println!("skipped: escript is not installed");
        return;
    };
    assert!(output.status.success(), "{output:?}");
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), terms.len());
    for (line, term) in answers.lines().zip(terms) {
        assert_eq!(etf::from_slice::<Term>(&unhex(line)).unwrap(), term);
    }
}
