//! The mapping between serde's types and Erlang's, in both directions.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_etf::{self as etf, DecodeError, EncodeError, Limits, Term};

use super::{Call, Point, from_elixir, term};

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Meters(u32);

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Pair(u8, String);

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Unit;

/// Asserts that a value encodes to the term and decodes from it.
#[track_caller]
fn maps<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, elixir: &str) {
    let bytes = etf::to_vec(&value).unwrap();
    assert_eq!(etf::from_slice::<Term>(&bytes).unwrap(), term(elixir));
    assert_eq!(from_elixir::<T>(elixir).unwrap(), value);
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
fn integer_out_of_range_error_names_the_integer() {
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
    refuses::<u8>("\"1\"", "expected u8, found a binary of 1 bytes");
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
    // Not the smallest form, but valid.
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
fn strings_are_binaries_and_charlists_are_accepted() {
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
    refuses::<String>("[97 | 98]", "expected a string, found a list");
    refuses::<String>("[55296]", "expected a string, found a list");
    refuses::<char>(
        "\"ab\"",
        "invalid value: a string of 2 bytes, expected a character",
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
fn the_name_of_an_elixir_struct_is_ignored() {
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
    refuses::<Call>("{:ping, 1}", "expected a bare atom, found a tuple of 2");
    refuses::<Call>(":sleep", "expected a tuple, found a bare atom");
    refuses::<Call>("{:add, 1}", "expected a tuple of 3, found a tuple of 2");
    refuses::<Call>("{1, 2}", "expected an atom, found integer `1`");
    refuses::<Call>("\"ping\"", "expected enum Call, found a binary of 4 bytes");
    assert!(
        from_elixir::<Call>(":pong")
            .unwrap_err()
            .to_string()
            .contains("`pong`")
    );
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
fn failed_encoding_restores_the_buffer() {
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

#[test]
fn visitor_that_stops_early_is_an_error() {
    struct First;

    impl<'de> Deserialize<'de> for First {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Self)
        }
    }

    impl<'de> Visitor<'de> for First {
        type Value = Self;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one of something")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
            seq.next_element::<u8>()?;
            Ok(self)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
            map.next_entry::<u8, u8>()?;
            Ok(self)
        }
    }

    for one in ["{1}", "[1]", "%{1 => 1}"] {
        assert!(from_elixir::<(First, u8)>(&format!("{{{one}, 5}}")).is_ok());
    }
    for two in ["{1, 2}", "[1, 2]", "%{1 => 1, 2 => 2}"] {
        let error = from_elixir::<(First, u8)>(&format!("{{{two}, 5}}")).map(drop);
        assert_eq!(
            error.unwrap_err().to_string(),
            "more elements than the type takes"
        );
    }
}

#[test]
fn some_whose_value_is_nil_is_rejected_by_the_encoder() {
    let rejected = [
        etf::to_vec(&Some(())),
        etf::to_vec(&Some(None::<u8>)),
        etf::to_vec(&vec![(1, Some(Term::atom("nil")))]),
    ];
    for encoded in rejected {
        assert!(matches!(encoded, Err(EncodeError::SomeNil)), "{encoded:?}");
    }
    let round_trips = [Some(Some(3)), None];
    for value in round_trips {
        let bytes = etf::to_vec(&value).unwrap();
        assert_eq!(
            etf::from_slice::<Option<Option<u8>>>(&bytes).unwrap(),
            value
        );
    }
}
