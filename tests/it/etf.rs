//! The External Term Format: golden packets, serde's types, limits and hostile bytes.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::io::Write;
use std::process::Command;
use std::thread;

use erps::Term;
use erps::wire::etf::{self, DecodeError, EncodeError, Limits};
use proptest::prelude::*;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

// Golden packets

fn golden() -> Vec<serde_json::Value> {
    serde_json::from_str(include_str!("../golden/packets.json")).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

/// The payload of a packet, if it has a whole header before it.
fn payload(packet: &serde_json::Value) -> Option<Vec<u8>> {
    let bytes = unhex(packet["hex"].as_str()?);
    bytes.get(96..).map(<[u8]>::to_vec)
}

fn negative(name: &str) -> Vec<u8> {
    payload(
        golden()
            .iter()
            .find(|packet| packet["name"] == name)
            .unwrap(),
    )
    .unwrap()
}

fn term(elixir: &str) -> Term {
    elixir
        .parse()
        .unwrap_or_else(|error| panic!("{elixir}: {error}"))
}

/// What Elixir prints shorter than it is.
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
fn every_golden_payload_is_the_term_it_is_said_to_be() {
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
fn a_term_is_compressed_when_the_original_compresses_it() {
    // With the `compressed` option OTP 25 writes UTF-8 atoms, as we always do.
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
fn executable_terms_and_ports_are_told_apart_from_other_mistakes() {
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
    // The fun of old nodes, with two free variables.
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
fn an_executable_term_hides_neither_in_depth_nor_in_compression() {
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
fn undecodable_payloads_say_why() {
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
fn atoms_that_nobody_has_seen_are_accepted() {
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

// serde

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Call {
    Ping,
    Sleep(u64),
    Add(i32, i32),
    Set { name: String, value: Option<i64> },
    Nothing(),
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Meters(u32);

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Pair(u8, String);

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Unit;

/// Encodes to the term, and decodes from it.
#[track_caller]
fn maps<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, elixir: &str) {
    let bytes = etf::to_vec(&value).unwrap();
    assert_eq!(etf::from_slice::<Term>(&bytes).unwrap(), term(elixir));
    assert_eq!(from_elixir::<T>(elixir).unwrap(), value);
}

fn from_elixir<T: DeserializeOwned>(elixir: &str) -> Result<T, DecodeError> {
    etf::from_slice(&etf::to_vec(&term(elixir)).unwrap())
}

#[track_caller]
fn refuses<T: DeserializeOwned + Debug>(elixir: &str, message: &str) {
    assert_eq!(from_elixir::<T>(elixir).unwrap_err().to_string(), message);
}

#[test]
fn booleans_and_nothing_are_atoms() {
    maps(true, "true");
    maps(false, "false");
    maps((), "nil");
    maps(Unit, "nil");
    maps(None::<u8>, "nil");
    maps(Some(5_u8), "5");
    maps(vec![Some(1_u8), None], "[1, nil]");
    refuses::<bool>(":yes", "expected a boolean, found atom `yes`");
    refuses::<()>("false", "expected unit, found atom `false`");
}

#[test]
fn integers_are_integers_up_to_128_bits() {
    maps(0_u8, "0");
    maps(255_u8, "255");
    maps(-1_i8, "-1");
    maps(256_u16, "256");
    maps(i32::MIN, "-2147483648");
    maps(i64::MIN, "-9223372036854775808");
    maps(u64::MAX, "18446744073709551615");
    maps(i128::MIN, "-170141183460469231731687303715884105728");
    maps(i128::MAX, "170141183460469231731687303715884105727");
    maps(u128::MAX, "340282366920938463463374607431768211455");
}

#[test]
fn an_integer_out_of_range_is_named() {
    refuses::<u8>("256", "invalid value: integer `256`, expected u8");
    refuses::<u8>("-1", "invalid value: integer `-1`, expected u8");
    refuses::<i32>(
        "2147483648",
        "invalid value: integer `2147483648`, expected i32",
    );
    refuses::<u64>(
        "18446744073709551616",
        "invalid type: integer `18446744073709551616` as i128, expected u64",
    );
    refuses::<u128>(
        "0x100000000000000000000000000000000",
        "expected u128, found integer `0x0100000000000000000000000000000000`",
    );
    let lowest = "-0x80000000000000000000000000000001";
    refuses::<i128>(
        lowest,
        "expected i128, found integer `-0x80000000000000000000000000000001`",
    );
    refuses::<u8>("\"1\"", "expected u8, found string \"1\"");
}

#[test]
fn integers_take_the_smallest_form() {
    for (value, bytes) in [
        (0_i64, &[131, 97, 0][..]),
        (255, &[131, 97, 255]),
        (256, &[131, 98, 0, 0, 1, 0]),
        (-1, &[131, 98, 255, 255, 255, 255]),
        (i32::MAX.into(), &[131, 98, 127, 255, 255, 255]),
        (i64::from(i32::MAX) + 1, &[131, 110, 4, 0, 0, 0, 0, 128]),
        (i64::from(i32::MIN) - 1, &[131, 110, 4, 1, 1, 0, 0, 128]),
        (1 << 40, &[131, 110, 6, 0, 0, 0, 0, 0, 0, 1]),
        (i64::MIN, &[131, 110, 8, 1, 0, 0, 0, 0, 0, 0, 0, 128]),
    ] {
        assert_eq!(etf::to_vec(&value).unwrap(), bytes);
        assert_eq!(etf::to_vec(&Term::from(value)).unwrap(), bytes);
        assert_eq!(etf::from_slice::<i64>(bytes).unwrap(), value);
    }
    let large = |bytes| etf::to_vec(&Term::integer(false, &vec![1; bytes])).unwrap();
    assert_eq!(large(255)[..4], [131, 110, 255, 0]);
    assert_eq!(large(256)[..7], [131, 111, 0, 0, 1, 0, 0]);
    // Not the smallest, but right.
    assert_eq!(
        etf::from_slice::<u8>(&[131, 110, 3, 0, 7, 0, 0]).unwrap(),
        7
    );
    assert_eq!(etf::from_slice::<u8>(&[131, 98, 0, 0, 0, 7]).unwrap(), 7);
    assert_eq!(etf::from_slice::<u8>(&[131, 110, 0, 1]).unwrap(), 0);
}

#[test]
fn floats_accept_integers_and_their_old_text_form() {
    maps(1.5_f64, "1.5");
    maps(0.5_f32, "0.5");
    assert_eq!(from_elixir::<f64>("3").unwrap(), 3.0);
    assert_eq!(
        from_elixir::<f64>("-18446744073709551616").unwrap(),
        -18446744073709551616.0
    );
    let mut old = vec![131, 99];
    old.extend(b"1.50000000000000000000e+00\0\0\0\0\0");
    assert_eq!(etf::from_slice::<f64>(&old).unwrap(), 1.5);
    old[2..5].copy_from_slice(b"inf");
    assert_eq!(etf::from_slice::<f64>(&old), Err(DecodeError::Float));
    old[2..33].copy_from_slice(b"inf\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(etf::from_slice::<f64>(&old), Err(DecodeError::Float));
    assert_eq!(
        etf::to_vec(&f64::INFINITY),
        Err(EncodeError::NotFinite(f64::INFINITY))
    );
    assert!(etf::to_vec(&f64::NAN).is_err());
    refuses::<u8>("1.0", "expected u8, found float `1.0`");
}

#[test]
fn strings_are_binaries_and_charlists_are_understood() {
    maps("héllo".to_owned(), "\"héllo\"");
    maps('é', "\"é\"");
    assert_eq!(from_elixir::<String>("~c\"日本\"").unwrap(), "日本");
    assert_eq!(from_elixir::<String>("[]").unwrap(), "");
    assert_eq!(
        etf::from_slice::<String>(&[131, 107, 0, 2, b'a', 0xe9]).unwrap(),
        "aé"
    );
    refuses::<String>("<<255>>", "expected a string, found a binary of 1 bytes");
    refuses::<String>(":a", "expected a string, found atom `a`");
    refuses::<String>("[1.5]", "expected a string, found a list");
    refuses::<String>("[55296]", "expected a string, found a list");
    refuses::<char>(
        "\"ab\"",
        "invalid value: string \"ab\", expected a character",
    );
}

#[test]
fn bytes_are_binaries() {
    maps(serde_bytes::ByteBuf::from(vec![0, 255]), "<<0, 255>>");
    let payload = etf::to_vec(serde_bytes::Bytes::new(b"\0\xff")).unwrap();
    let checked = etf::check(&payload, &Limits::default()).unwrap();
    assert_eq!(checked.decode::<&[u8]>().unwrap(), [0, 255]);
}

#[test]
fn lists_are_proper() {
    maps(vec![1_u32, 2, 70000], "[1, 2, 70000]");
    maps(Vec::<u8>::new(), "[]");
    assert_eq!(etf::to_vec(&Vec::<u8>::new()).unwrap(), [131, 106]);
    refuses::<Vec<u8>>(
        "[1 | 2]",
        "expected a proper list, found the tail integer `2`",
    );
    refuses::<Vec<u8>>("{1, 2}", "expected a sequence, found a tuple of 2");
}

#[test]
fn a_packed_list_decodes_as_any_list() {
    let packed = [131, 107, 0, 2, 1, 200];
    assert_eq!(etf::from_slice::<Vec<u8>>(&packed).unwrap(), [1, 200]);
    assert_eq!(etf::from_slice::<Vec<f64>>(&packed).unwrap(), [1.0, 200.0]);
    assert_eq!(
        etf::from_slice::<Vec<Option<u8>>>(&packed).unwrap(),
        [Some(1), Some(200)]
    );
    assert_eq!(
        etf::from_slice::<Vec<Meters>>(&packed).unwrap(),
        [Meters(1), Meters(200)]
    );
    assert!(etf::from_slice::<Vec<i8>>(&packed).is_err());
    assert!(etf::from_slice::<(u8, u8)>(&packed).is_err());
}

#[test]
fn tuples_are_tuples_of_the_same_arity() {
    maps((1_u8, "a".to_owned()), "{1, \"a\"}");
    maps(Pair(1, "a".to_owned()), "{1, \"a\"}");
    maps([1_u8, 2, 3], "{1, 2, 3}");
    maps(Meters(5), "5");
    let wide = Term::tuple((0..256).map(Term::from));
    assert_eq!(etf::to_vec(&wide).unwrap()[..6], [131, 105, 0, 0, 1, 0]);
    refuses::<(u8, u8)>("{1}", "expected a tuple of size 2, found a tuple of 1");
    refuses::<(u8, u8)>(
        "{1, 2, 3}",
        "expected a tuple of size 2, found a tuple of 3",
    );
}

#[test]
fn structs_are_maps_with_atom_keys() {
    maps(Point { x: 1, y: -1 }, "%{x: 1, y: -1}");
    let point = Point { x: 1, y: 2 };
    for accepted in [
        "%Point{x: 1, y: 2}",
        "%{\"x\" => 1, \"y\" => 2}",
        "%{x: 1, y: 2, z: %{deep: [1]}}",
    ] {
        assert_eq!(from_elixir::<Point>(accepted).unwrap(), point, "{accepted}");
    }
    refuses::<Point>("%{x: 1}", "missing field `y`");
    refuses::<Point>("%{:x => 1, \"x\" => 2}", "duplicate field `x`");
    refuses::<Point>("%{1 => 2}", "expected field identifier, found integer `1`");
    refuses::<Point>("[]", "expected struct Point, found an empty list");
}

#[test]
fn the_name_of_an_elixir_struct_is_no_unknown_field() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        a: u8,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Named {
        #[serde(rename = "__struct__")]
        name: Term,
    }
    assert_eq!(
        from_elixir::<Strict>("%Foo{a: 1}").unwrap(),
        Strict { a: 1 }
    );
    refuses::<Strict>("%{a: 1, b: 2}", "unknown field `b`, expected `a`");
    assert_eq!(
        from_elixir::<Named>("%Foo{a: 1}").unwrap().name,
        term("Foo")
    );
}

#[test]
fn maps_are_maps_and_their_string_keys_are_binaries() {
    maps(BTreeMap::from([("a".to_owned(), 1_u8)]), "%{\"a\" => 1}");
    maps(
        HashMap::from([((1_u8, true), vec![1.5])]),
        "%{{1, true} => [1.5]}",
    );
    maps(BTreeMap::<u8, u8>::new(), "%{}");
    assert_eq!(
        from_elixir::<BTreeMap<Term, Term>>("%Foo{}").unwrap(),
        BTreeMap::from([(term(":__struct__"), term("Foo"))])
    );
}

#[test]
fn variants_are_atoms_and_tagged_tuples() {
    maps(Call::Ping, ":ping");
    maps(Call::Sleep(500), "{:sleep, 500}");
    maps(Call::Add(1, -2), "{:add, 1, -2}");
    let set = Call::Set {
        name: "n".into(),
        value: None,
    };
    maps(set, "{:set, %{name: \"n\", value: nil}}");
    maps(Call::Nothing(), "{:nothing}");
    maps(Ok::<u8, String>(5), "{:Ok, 5}");
    refuses::<Call>("{:ping, 1}", "expected a bare atom, found a tuple of 2");
    refuses::<Call>(":sleep", "expected a tuple, found a bare atom");
    refuses::<Call>("{:add, 1}", "expected a tuple of 3, found a tuple of 2");
    refuses::<Call>("{1, 2}", "expected an atom, found integer `1`");
    refuses::<Call>("\"ping\"", "expected enum Call, found string \"ping\"");
    assert!(
        from_elixir::<Call>(":pong")
            .unwrap_err()
            .to_string()
            .contains("`pong`")
    );
}

#[test]
fn untagged_flattened_and_ignored_parts_work() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(untagged)]
    enum Any {
        Bool(bool),
        Integer(i64),
        Float(f64),
        Text(String),
        List(Vec<Self>),
        Point(Point),
        Nothing,
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Flat {
        id: u8,
        #[serde(flatten)]
        point: Point,
    }
    maps(
        Any::List(vec![
            Any::Bool(true),
            Any::Integer(-5),
            Any::Float(0.5),
            Any::Text("a".into()),
            Any::Point(Point { x: 1, y: 2 }),
            Any::Nothing,
        ]),
        "[true, -5, 0.5, \"a\", %{x: 1, y: 2}, nil]",
    );
    assert_eq!(from_elixir::<Any>(":ok").unwrap(), Any::Text("ok".into()));
    // serde writes a flattened struct as a map, whose keys are binaries.
    let flat = Flat {
        id: 1,
        point: Point { x: 2, y: 3 },
    };
    let bytes = etf::to_vec(&flat).unwrap();
    assert_eq!(etf::from_slice::<Flat>(&bytes).unwrap(), flat);
    assert_eq!(from_elixir::<Flat>("%{id: 1, x: 2, y: 3}").unwrap(), flat);
    assert!(from_elixir::<IgnoredAny>("[1 | <<5::size(3)>>]").is_ok());
    let (_, b): (IgnoredAny, u8) = from_elixir("{%{a: [1 | 2]}, 5}").unwrap();
    assert_eq!(b, 5);
}

#[test]
fn values_borrow_from_the_payload() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Borrowed<'a> {
        name: &'a str,
    }
    let payload = etf::to_vec(&term("{7, %{name: \"n\"}}")).unwrap();
    let checked = etf::check(&payload, &Limits::default()).unwrap();
    let (_, request) = checked.pair().unwrap();
    assert_eq!(
        request.decode::<Borrowed<'_>>().unwrap(),
        Borrowed { name: "n" }
    );
    let whole: (u8, Borrowed<'_>) = checked.decode().unwrap();
    assert_eq!(whole.1.name, "n");
}

#[test]
fn a_failed_encoding_leaves_the_buffer_as_it_was() {
    let mut out = vec![131, 104, 2, 97, 1];
    let before = out.clone();
    assert!(etf::encode_into(&mut out, &("text", f64::NAN)).is_err());
    assert_eq!(out, before);
    etf::encode_into(&mut out, &Call::Ping).unwrap();
    assert_eq!(
        etf::from_slice::<(u8, Call)>(&out).unwrap(),
        (1, Call::Ping)
    );
    assert_eq!(etf::compress(out, 10), Err(EncodeError::Level(10)));
}

// Limits

/// So many tuples around an integer.
fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = vec![131];
    bytes.extend([104, 1].repeat(depth));
    bytes.extend([97, 1]);
    bytes
}

#[test]
fn a_term_may_be_as_deep_as_the_limit_and_no_deeper() {
    let too_deep = |limit| Err::<(), _>(DecodeError::Depth { limit });
    assert!(etf::from_slice::<Term>(&nested(256)).is_ok());
    assert_eq!(
        etf::from_slice::<Term>(&nested(257)).map(drop),
        too_deep(256)
    );
    for limit in [0, 1, 7, 8, 9, 100] {
        let limits = Limits::default().depth(limit);
        assert!(etf::check(&nested(limit), &limits).is_ok());
        assert_eq!(
            etf::check(&nested(limit + 1), &limits).map(drop),
            too_deep(limit)
        );
    }
    // Depth is what is open at once, not what has been.
    let wide = Term::list((0..1000).map(|_| term("[{[1]}]")));
    assert!(etf::check(&etf::to_vec(&wide).unwrap(), &Limits::default().depth(4)).is_ok());
}

#[test]
fn hostile_nesting_is_an_error() {
    for level in [
        &[104, 1][..],
        &[108, 0, 0, 0, 1],
        &[116, 0, 0, 0, 1],
        &[116, 0, 0, 0, 1, 97, 1],
    ] {
        let mut bytes = vec![131];
        bytes.extend(level.repeat(200_000));
        bytes.extend([106; 8]);
        assert_eq!(
            etf::from_slice::<Term>(&bytes),
            Err(DecodeError::Depth { limit: 256 })
        );
        assert!(etf::from_slice::<IgnoredAny>(&bytes).is_err());
    }
}

#[test]
fn recursive_types_at_the_depth_limit_fit_a_thread_of_two_mebibytes() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    enum List {
        Nil,
        Cons(i64, Box<Self>),
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Node {
        value: i64,
        next: Option<Box<Self>>,
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(untagged)]
    enum Tree {
        Leaf(i64),
        Branch(Vec<Self>),
    }
    fn decodes<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
        let bytes = etf::to_vec(value).unwrap();
        assert_eq!(&etf::from_slice::<T>(&bytes).unwrap(), value);
        let limits = Limits::default().depth(255);
        assert!(matches!(
            etf::check(&bytes, &limits),
            Err(DecodeError::Depth { .. })
        ));
    }
    let run = || {
        decodes(&(0..256).fold(List::Nil, |list, i| List::Cons(i, Box::new(list))));
        let first = Node {
            value: 0,
            next: None,
        };
        decodes(&(1..256).fold(first, |node, value| Node {
            value,
            next: Some(Box::new(node)),
        }));
        decodes(&(0..256).fold(Tree::Leaf(1), |tree, _| Tree::Branch(vec![tree])));
        decodes(&(0..256).fold(Term::from(1), |term, _| Term::tuple([term])));
        decodes(&(0..256).fold(Term::from(1), |term, _| Term::map([(term, Term::nil())])));
    };
    thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

fn zipped(announced: u32, plain: &[u8]) -> Vec<u8> {
    let mut bytes = vec![131, 80];
    bytes.extend(announced.to_be_bytes());
    let mut zip = flate2::write::ZlibEncoder::new(bytes, flate2::Compression::fast());
    zip.write_all(plain).unwrap();
    zip.finish().unwrap()
}

#[test]
fn a_compressed_term_inflates_to_the_limit_and_no_further() {
    let plain = &etf::to_vec(&"x".repeat(1000)).unwrap()[1..];
    let packed = zipped(1005, plain);
    let check = |limit| etf::check(&packed, &Limits::default().inflated(limit)).map(drop);
    assert_eq!(check(1006), Ok(()));
    assert_eq!(check(1005), Ok(()));
    assert_eq!(check(1004), Err(DecodeError::Inflated { limit: 1004 }));
}

#[test]
fn a_compressed_term_is_as_large_as_it_announces() {
    let plain = &etf::to_vec(&"x".repeat(1000)).unwrap()[1..];
    for announced in [0, 1004, 1006, 16 << 20] {
        let error = etf::from_slice::<Term>(&zipped(announced, plain)).unwrap_err();
        assert_eq!(error, DecodeError::Compressed, "{announced}");
    }
    // Nor is a compressed term within a compressed one a term.
    let twice = zipped(plain.len() as u32 + 20, &zipped(1005, plain)[1..]);
    assert!(etf::from_slice::<Term>(&twice).is_err());
    let whole = zipped(1005, plain);
    for end in 0..whole.len() {
        assert!(etf::from_slice::<Term>(&whole[..end]).is_err(), "{end}");
    }
}

#[test]
fn a_bomb_of_500_megabytes_is_refused_before_it_inflates() {
    let size = 500_000_000_u32;
    let mut bytes = vec![131, 80];
    bytes.extend((size + 5).to_be_bytes());
    let mut zip = flate2::write::ZlibEncoder::new(bytes, flate2::Compression::fast());
    let mut head = vec![109];
    head.extend(size.to_be_bytes());
    zip.write_all(&head).unwrap();
    for _ in 0..500 {
        zip.write_all(&[0; 1_000_000]).unwrap();
    }
    let mut bomb = zip.finish().unwrap();
    assert!(bomb.len() < 4_000_000);
    let limit = 16 << 20;
    assert_eq!(
        etf::from_slice::<IgnoredAny>(&bomb).map(drop),
        Err(DecodeError::Inflated { limit })
    );
    // It may lie about its size; it is inflated no further than that.
    bomb[2..6].copy_from_slice(&1000_u32.to_be_bytes());
    assert_eq!(
        etf::from_slice::<IgnoredAny>(&bomb).map(drop),
        Err(DecodeError::Compressed)
    );
}

#[test]
fn announced_lengths_reserve_nothing() {
    for tag in [105, 108, 109, 111, 116, 77] {
        for bytes in [
            [131, tag, 255, 255, 255, 255, 97, 1, 97, 1],
            [131, tag, 127, 255, 255, 255, 1, 97, 1, 106],
        ] {
            assert!(etf::from_slice::<Term>(&bytes).is_err(), "{tag}");
            assert!(etf::from_slice::<Vec<u8>>(&bytes).is_err(), "{tag}");
        }
    }
}

#[test]
fn a_map_has_every_key_once() {
    let map = |keys: &mut dyn Iterator<Item = u32>| {
        let keys: Vec<_> = keys.collect();
        let mut bytes = vec![131, 116];
        bytes.extend((keys.len() as u32).to_be_bytes());
        for key in keys {
            bytes.push(98);
            bytes.extend(key.to_be_bytes());
            bytes.push(106);
        }
        bytes
    };
    // On both sides of every way of counting: pairwise, sorted, on the heap.
    for count in [2, 15, 16, 17, 18, 100, 10_000] {
        let distinct = map(&mut (0..count));
        assert!(etf::from_slice::<IgnoredAny>(&distinct).is_ok(), "{count}");
        let twice = map(&mut (0..count - 1).chain([(count - 1) / 2]));
        let twice_ends = map(&mut (0..count - 1).chain([0]));
        for bytes in [twice, twice_ends] {
            assert_eq!(
                etf::from_slice::<IgnoredAny>(&bytes).map(drop),
                Err(DecodeError::DuplicateKey),
                "{count}"
            );
        }
    }
    // In different maps, and as key and value, the same term may stand.
    assert!(from_elixir::<Term>("[%{a: 1}, %{a: :a}, %{a: %{a: 1}, b: %{a: 1}}]").is_ok());
    // 1 and 1.0 are different keys; 1 in two forms is one key, which only the dynamic term sees.
    assert!(from_elixir::<Term>("%{1 => 1, 1.0 => 1}").is_ok());
    let two_forms = [131, 116, 0, 0, 0, 2, 97, 1, 106, 98, 0, 0, 0, 1, 106];
    assert!(etf::from_slice::<IgnoredAny>(&two_forms).is_ok());
    let error = etf::from_slice::<Term>(&two_forms).unwrap_err();
    assert_eq!(error.to_string(), DecodeError::DuplicateKey.to_string());
}

#[test]
fn keys_of_nested_maps_are_told_apart() {
    // Maps within keys, within values, deeper than what is kept inline.
    let mut map = term("%{a: 1, b: 2}");
    for i in 0..40 {
        map = Term::map([(map.clone(), Term::from(i)), (Term::from(i), map)]);
        if i > 8 {
            break;
        }
    }
    let bytes = etf::to_vec(&map).unwrap();
    assert_eq!(etf::from_slice::<Term>(&bytes).unwrap(), map);
    // %{%{1 => 2, 1 => 3} => 0}
    let inner = [116, 0, 0, 0, 2, 97, 1, 97, 2, 97, 1, 97, 3];
    let mut outer = vec![131, 116, 0, 0, 0, 1];
    outer.extend(inner);
    outer.extend([97, 0]);
    assert_eq!(
        etf::from_slice::<Term>(&outer),
        Err(DecodeError::DuplicateKey)
    );
}

// Hostile bytes

/// Whatever the bytes are, they are a value or an error.
fn survives(bytes: &[u8]) {
    for limits in [Limits::default(), Limits::default().safe(false)] {
        let Ok(checked) = etf::check(bytes, &limits) else {
            continue;
        };
        let _ = checked.decode::<Call>();
        let _ = checked.decode::<Point>();
        let _ = checked.decode::<Vec<Option<(String, f64)>>>();
        let _ = checked.decode::<HashMap<String, u128>>();
        let _ = checked.decode::<serde_json::Value>();
        assert!(checked.decode::<IgnoredAny>().is_ok());
        if let Some((first, second)) = checked.pair() {
            assert!(
                first.as_bytes().len() + second.as_bytes().len() + 2
                    <= checked.as_element().as_bytes().len()
            );
            let _ = second.decode::<Call>();
        }
        match checked.decode::<Term>() {
            Ok(term) => {
                let again = etf::to_vec(&term).unwrap();
                let again = etf::check(&again, &limits).unwrap().decode::<Term>();
                assert_eq!(again, Ok(term));
            }
            Err(error) => assert_eq!(error.to_string(), DecodeError::DuplicateKey.to_string()),
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_a_value_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        bytes.insert(0, 131);
        survives(&bytes);
    }

    #[test]
    fn random_tags_are_a_value_or_an_error(
        tags in proptest::collection::vec(
            prop_oneof![
                0..4_u8,
                proptest::sample::select(vec![
                    70_u8, 77, 80, 88, 89, 90, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107,
                    108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120,
                ]),
            ],
            0..100,
        )
    ) {
        survives(&[&[131], &tags[..]].concat());
    }

    #[test]
    fn mutated_golden_payloads_are_values_or_errors(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut payload = which.get(&GOLDEN_PAYLOADS).clone();
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        survives(&payload);
    }
}

static GOLDEN_PAYLOADS: std::sync::LazyLock<Vec<Vec<u8>>> = std::sync::LazyLock::new(|| {
    golden()
        .iter()
        .filter_map(payload)
        .filter(|payload| payload.len() > 1)
        .collect()
});

#[test]
fn every_golden_payload_cut_short_is_an_error() {
    for packet in golden() {
        if packet["kind"] != "packet" {
            continue;
        }
        let payload = payload(&packet).unwrap_or_default();
        for end in 0..payload.len() {
            assert!(
                etf::from_slice::<Term>(&payload[..end]).is_err(),
                "{} {end}",
                packet["name"]
            );
        }
    }
}

// A second opinion

/// Has Erlang decode our bytes and encode what it understood.
#[test]
fn erlang_understands_what_we_write() {
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
