//! The dynamic term: its encoding, its syntax, and its use within typed values.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_etf::term::Float;
use serde_etf::{self as etf, Limits, Term};

mod syntax;

fn parse(text: &str) -> Term {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn round_trip(term: &Term) -> Term {
    let bytes = etf::to_vec(term).unwrap();
    let limits = Limits::default().safe(false);
    etf::check(&bytes, &limits).unwrap().decode().unwrap()
}

#[track_caller]
fn prints_as_it_reads(text: &str) {
    assert_eq!(parse(text).to_string(), text);
}

#[test]
fn atoms_read_and_print() {
    for text in [
        ":ok",
        ":ok?",
        ":ok!",
        ":a@b",
        ":Foo",
        ":_",
        ":日本",
        ":ünïcode",
        ":\"with space\"",
        ":\"\"",
        ":\"1a\"",
        ":\"a\\\"b\"",
        ":\"\\u{85}\"",
        ":+",
        ":<~>",
        ":==",
        "nil",
        "true",
        "false",
        "Erps.Packet",
        "Elixir",
        ":\"Elixir.foo\"",
        ":\"Elixir.Elixir.A\"",
        ":\"a-b\"",
    ] {
        prints_as_it_reads(text);
    }
    assert_eq!(parse("Erps.Packet"), Term::atom("Elixir.Erps.Packet"));
    assert_eq!(parse("Elixir.Erps"), Term::atom("Elixir.Erps"));
    assert_eq!(parse(":nil"), Term::nil());
}

#[test]
fn integers_read_in_every_notation_and_print_in_decimal() {
    assert_eq!(parse("1_000_000"), Term::from(1_000_000));
    assert_eq!(parse("0x1F"), Term::from(31));
    assert_eq!(parse("-0x80"), Term::from(-128));
    assert_eq!(parse("0b101"), Term::from(5));
    assert_eq!(parse("0o17"), Term::from(15));
    for text in [
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "-9223372036854775809",
        "1267650600228229401496703205376",
        "1000000000000000000000000000",
    ] {
        prints_as_it_reads(text);
    }
    assert_eq!(parse("9223372036854775807"), Term::Integer(i64::MAX));
    assert!(matches!(parse("9223372036854775808"), Term::BigInteger(_)));
}

#[test]
fn an_integer_too_long_for_decimal_prints_in_hexadecimal() {
    let at_limit = Term::integer(false, &[255; 1024]);
    assert!(!at_limit.to_string().contains('x'));
    let beyond = Term::integer(true, &[255; 1025]);
    assert!(beyond.to_string().starts_with("-0xFF"));
    assert_eq!(parse(&at_limit.to_string()), at_limit);
    assert_eq!(parse(&beyond.to_string()), beyond);
}

#[test]
fn floats_print_as_erlang_prints_them() {
    // The right-hand sides are OTP 25's float_to_binary(F, [short]).
    for (value, text) in [
        (1.5, "1.5"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (5.0e-324, "5.0e-324"),
        (100.0, "100.0"),
        (f64::MAX, "1.7976931348623157e308"),
        (100_000.0, "1.0e5"),
        (1e22, "1.0e22"),
        (123_456_789.0, "123456789.0"),
        (0.0001, "0.0001"),
        (0.00001, "1.0e-5"),
        (0.00012345, "1.2345e-4"),
        (1.5e-7, "1.5e-7"),
        (9_007_199_254_740_991.0, "9007199254740991.0"),
        (9_007_199_254_740_992.0, "9.007199254740992e15"),
        (1_234_567_890_123.5, "1234567890123.5"),
        (0.0123, "0.0123"),
        (0.00234, "0.00234"),
        (1.23456e12, "1.23456e12"),
    ] {
        assert_eq!(Term::try_from(value).unwrap().to_string(), text);
        prints_as_it_reads(text);
    }
    assert_eq!(parse("1.0e+3"), Term::try_from(1000.0).unwrap());
    assert_eq!(parse("1_0.5E1"), Term::try_from(105.0).unwrap());
}

#[test]
fn strings_read_their_escapes() {
    let escapes = r#""\n\t\r\"\\\e\0\a\b\d\f\v\s\x41\x{42}\u0043\u{1F600}\#{\
.""#;
    let text = "\n\t\r\"\\\x1b\0\x07\x08\x7f\x0c\x0b ABC\u{1F600}#{.";
    assert_eq!(parse(escapes), Term::from(text));
    assert_eq!(parse(r#""\xFF""#), Term::binary([255]));
    prints_as_it_reads("\"héllo 日本\"");
    prints_as_it_reads(r#""\#{a} # b""#);
    prints_as_it_reads("<<1, 2, 255>>");
    prints_as_it_reads("<<0>>");
    prints_as_it_reads("\"\"");
}

#[test]
fn charlists_are_lists_of_integers() {
    assert_eq!(parse("'ab'").to_string(), "[97, 98]");
    assert_eq!(parse(r#"~c"日""#).to_string(), "[26085]");
    assert_eq!(parse("''"), Term::list([]));
}

#[test]
fn bitstrings_read_and_print() {
    prints_as_it_reads("<<5::size(3)>>");
    prints_as_it_reads("<<1, 2, 3::size(7)>>");
    assert_eq!(parse("<<5::size(3)>>"), Term::bits([0b1010_0000], 3));
    assert_eq!(parse("<< 65 , 66 >>"), Term::from("AB"));
    assert_eq!(parse("<<>>"), Term::from(""));
    // OTP never writes whole bytes this way, but accepts it.
    assert_eq!(
        etf::from_slice::<Term>(&[131, 77, 0, 0, 0, 1, 8, 65]),
        Ok(Term::from("A"))
    );
    // Unused bits do not count.
    assert_eq!(Term::bits([0xff], 3), Term::bits([0xe0], 3));
    assert_eq!(Term::bits([7], 8), Term::binary([7]));
}

#[test]
fn lists_tuples_and_maps_read_and_print() {
    for text in [
        "[]",
        "[1, 2]",
        "[1 | 2]",
        "[:a, \"b\" | :c]",
        "[a: 1, b: 2]",
        "[nil: 1]",
        "{}",
        "{1}",
        "{:ok, %{}}",
        "[{Foo, 1}]",
        "[\"with space\": 1]",
        "%{}",
        "%{a: 1, b: [1, 2]}",
        "%{1 => :a, \"s\" => %{}}",
        "%{Foo => 1}",
        "%{:a => 1, [] => 2}",
        "%Version{major: 1, minor: 2}",
        "%Erps.Packet{}",
        "%{1 => :a, 1.0 => :b, {:k} => \"t\", [1] => nil, \"s\" => %{}}",
    ] {
        prints_as_it_reads(text);
    }
    assert_eq!(parse("[1 | [2 | [3]]]"), parse("[1, 2, 3]"));
    assert_eq!(parse("[1 | [a: 2 | []]]"), parse("[1, {:a, 2}]"));
    assert_eq!(
        parse("[1 | [2 | {[3 | 4]}]]").to_string(),
        "[1, 2 | {[3 | 4]}]"
    );
    assert_eq!(parse("[1, a: 2]"), parse("[1, {:a, 2}]"));
    assert_eq!(parse("{1, a: 2}"), parse("{1, [{:a, 2}]}"));
    assert_eq!(parse("%{1 => 2, a: 3}"), parse("%{:a => 3, 1 => 2}"));
    assert_eq!(parse("%Foo{}"), parse("%{__struct__: Foo}"));
    assert_eq!(parse(" [ 1 ,\n2 ] "), parse("[1,2]"));
}

#[test]
fn pids_and_references_round_trip_unchanged() {
    let node = [119, 1, b'n'];
    for (tag, prefix, rest, prints) in [
        (88, vec![], 12, "#PID<"),
        (103, vec![], 9, "#PID<"),
        (101, vec![], 5, "#Reference<"),
        (114, vec![0, 2], 9, "#Reference<"),
        (90, vec![0, 3], 16, "#Reference<"),
    ] {
        let mut bytes = vec![131, 104, 1, tag];
        bytes.extend(prefix);
        bytes.extend(node);
        bytes.extend(vec![7; rest]);
        let term: Term = etf::from_slice(&bytes).unwrap();
        assert!(term.as_tuple().unwrap()[0].to_string().starts_with(prints));
        assert_eq!(etf::to_vec(&term).unwrap(), bytes);
        assert!(etf::from_slice::<Term>(&bytes[..bytes.len() - 1]).is_err());
        assert!(etf::from_slice::<(u8,)>(&bytes).is_err());
    }
}

#[test]
fn a_term_inside_a_typed_value_round_trips() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Envelope {
        id: u8,
        body: Option<Term>,
        all: Vec<Term>,
    }
    let all = "[:a, [1 | 2], <<5::size(3)>>, 36893488147419103232, {}, %{nil => :x}, 1.5]";
    let value = Envelope {
        id: 1,
        body: Some(parse("{:a, <<255>>}")),
        all: parse(all).as_list().unwrap().to_vec(),
    };
    let bytes = etf::to_vec(&value).unwrap();
    assert_eq!(etf::from_slice::<Envelope>(&bytes).unwrap(), value);
    // Also a packed list of bytes.
    let packed: Vec<Term> = etf::from_slice(&[131, 107, 0, 2, 1, 2]).unwrap();
    assert_eq!(packed, [Term::from(1), Term::from(2)]);
}

#[test]
fn other_formats_get_strings_and_sequences() {
    let json = serde_json::to_string(&parse("{:ok, \"x\", nil, true, [1, 1.5], %{a: 1}}")).unwrap();
    assert_eq!(json, r#"["ok","x",null,true,[1,1.5],{"a":1}]"#);
    let back: Term = serde_json::from_str(&json).unwrap();
    assert_eq!(
        back,
        parse("[\"ok\", \"x\", nil, true, [1, 1.5], %{\"a\" => 1}]")
    );
}

#[test]
fn an_atom_has_at_most_255_characters() {
    let wide = "é".repeat(255);
    assert_eq!(round_trip(&Term::atom(&wide)), Term::atom(&wide));
    let error = etf::to_vec(&Term::atom(&"é".repeat(256))).unwrap_err();
    assert!(matches!(error, etf::EncodeError::AtomTooLong(_)), "{error}");
}

#[test]
fn a_nested_tail_is_flattened() {
    // [1 | [2 | 3]], each part a list of its own.
    let bytes = [131, 108, 0, 0, 0, 1, 97, 1, 108, 0, 0, 0, 1, 97, 2, 97, 3];
    assert_eq!(
        etf::from_slice::<Term>(&bytes).unwrap(),
        parse("[1, 2 | 3]")
    );
    let proper = [
        131, 108, 0, 0, 0, 1, 97, 1, 108, 0, 0, 0, 1, 97, 2, 107, 0, 1, 3,
    ];
    assert_eq!(
        etf::from_slice::<Term>(&proper).unwrap(),
        parse("[1, 2, 3]")
    );
    assert_eq!(etf::from_slice::<Vec<u8>>(&proper).unwrap(), [1, 2, 3]);
}

fn any_term() -> impl Strategy<Value = Term> {
    let name = prop_oneof![
        "[a-z_][a-zA-Z0-9_@]{0,8}[?!]?",
        "Elixir(\\.[A-Z][a-zA-Z0-9_]{0,4}){0,3}",
        "[-+*/<>=!&|~^.:%{}]{1,3}",
        "\\PC{0,12}",
        ".{0,12}",
        Just("nil".to_owned()),
    ];
    let float = any::<f64>().prop_filter_map("finite", |x| Float::try_from(x).ok());
    let leaf = prop_oneof![
        any::<i64>().prop_map(Term::Integer),
        (-300_i64..300).prop_map(Term::Integer),
        (any::<bool>(), vec(any::<u8>(), 0..300)).prop_map(|(n, m)| Term::integer(n, &m)),
        float.prop_map(Term::Float),
        name.prop_map(|name| Term::atom(&name)),
        vec(any::<u8>(), 0..20).prop_map(Term::Binary),
        ".{0,20}".prop_map(Term::from),
        (vec(any::<u8>(), 0..5), 0..9_u8).prop_map(|(bytes, used)| Term::bits(bytes, used)),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Term::Tuple),
            vec(inner.clone(), 0..8).prop_map(Term::List),
            vec(("[a-z]{1,3}", inner.clone()), 0..4).prop_map(|pairs| Term::list(
                pairs
                    .into_iter()
                    .map(|(key, value)| Term::tuple([Term::atom(&key), value]))
            )),
            (vec(inner.clone(), 1..5), inner.clone())
                .prop_map(|(elements, tail)| Term::list_with_tail(elements, tail)),
            btree_map(inner.clone(), inner.clone(), 0..8).prop_map(Term::Map),
            btree_map("[a-z]{1,3}".prop_map(|name| Term::atom(&name)), inner, 0..4)
                .prop_map(Term::Map),
        ]
    })
}

proptest! {
    #[test]
    fn term_round_trips_through_its_encoding(term in any_term()) {
        prop_assert_eq!(round_trip(&term), term);
    }

    #[test]
    fn term_round_trips_through_its_syntax(term in any_term()) {
        let text = term.to_string();
        prop_assert_eq!(text.parse::<Term>(), Ok(term), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "[\\[\\]{}%:'\"<>~c#\\\\xu0-9a-zA-Z_.,| =-]{0,40}") {
        let _ = text.parse::<Term>();
    }

    #[test]
    fn truncated_term_is_an_error(term in any_term(), cut in any::<prop::sample::Index>()) {
        let bytes = etf::to_vec(&term).unwrap();
        let cut = cut.index(bytes.len());
        prop_assert!(etf::from_slice::<Term>(&bytes[..cut]).is_err());
    }

    #[test]
    fn compressed_term_decodes_to_the_same_term(term in any_term(), level in 0..10_u8) {
        let plain = etf::to_vec(&Term::list([term.clone(), term.clone(), term])).unwrap();
        let packed = etf::compress(plain.clone(), level).unwrap();
        prop_assert!(packed.len() <= plain.len());
        prop_assert_eq!(
            etf::from_slice::<Term>(&packed).unwrap(),
            etf::from_slice::<Term>(&plain).unwrap()
        );
    }
}
