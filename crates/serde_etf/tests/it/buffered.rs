//! Parts of values that serde reads without their type: flattened, tagged and untagged.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use proptest::prelude::*;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_etf::{self as etf, Term};

use super::{Point, from_elixir, term};

#[track_caller]
pub(super) fn returns<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let payload = etf::to_vec(&value).unwrap_or_else(|error| panic!("{value:?}: {error}"));
    let decoded = etf::from_slice::<T>(&payload);
    let wire: Term = etf::from_slice(&payload).unwrap();
    assert_eq!(decoded.as_ref(), Ok(&value), "{wire}");
}

#[track_caller]
fn maps<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, elixir: &str) {
    let wire: Term = etf::from_slice(&etf::to_vec(&value).unwrap()).unwrap();
    assert_eq!(wire, term(elixir));
    returns(value);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Color {
    Red,
    Blue,
}

/// A variant of every kind.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Inner {
    Unit,
    One(i64),
    Two(i64, String),
    None(),
    Named { x: i64, color: Color },
    Many(Vec<Self>),
    Maybe(Option<Box<Self>>),
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Pair(f32, char);

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Newtype(Inner);

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Nothing;

/// A field of every kind.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Fields {
    inner: Inner,
    inners: Vec<Inner>,
    by_name: BTreeMap<String, Inner>,
    by_number: BTreeMap<i64, Newtype>,
    by_color: HashMap<Color, u8>,
    optional: Option<Inner>,
    pair: Pair,
    tuple: (u8, bool, Option<i8>, Inner),
    colors: Vec<Option<Color>>,
    newtype: Newtype,
    nothing: Nothing,
    unit: (),
    bytes: ByteBuf,
    list: Vec<u8>,
    float: f64,
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skipped: Option<u16>,
    #[serde(default)]
    defaulted: i16,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Flat {
    id: u64,
    wide: i128,
    #[serde(flatten)]
    fields: Fields,
    #[serde(flatten)]
    optional: Option<Point>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Internal {
    Unit,
    Struct { fields: Fields },
    New(Fields),
    Flat(Flat),
    Map(BTreeMap<String, Inner>),
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(
    tag = "t",
    content = "c",
    rename_all = "snake_case",
    deny_unknown_fields
)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would be another kind of field"
)]
enum Adjacent {
    Unit,
    New(Fields),
    Two(Inner, i128),
    Struct { inner: Inner, wide: u128 },
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would be another kind of field"
)]
enum Untagged {
    Number(i64),
    Inner(Inner),
    Text(String),
    Internal(Internal),
    Fields(Box<Fields>),
    Unit,
    List(Vec<Self>),
}

fn inner() -> impl Strategy<Value = Inner> {
    let color = prop_oneof![Just(Color::Red), Just(Color::Blue)];
    let leaf = prop_oneof![
        Just(Inner::Unit),
        Just(Inner::None()),
        any::<i64>().prop_map(Inner::One),
        any::<(i64, String)>().prop_map(|(a, b)| Inner::Two(a, b)),
        (any::<i64>(), color).prop_map(|(x, color)| Inner::Named { x, color }),
        Just(Inner::Maybe(None)),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Inner::Many),
            inner.prop_map(|inner| Inner::Maybe(Some(Box::new(inner)))),
        ]
    })
}

fn fields() -> impl Strategy<Value = Fields> {
    let plain = any::<(
        u8,
        bool,
        Option<i8>,
        f32,
        char,
        Vec<u8>,
        f64,
        String,
        Option<u16>,
        i16,
    )>();
    (proptest::collection::vec(inner(), 5), plain).prop_map(|(inners, plain)| {
        let (a, b, c, single, char, bytes, float, text, skipped, defaulted) = plain;
        let [inner, second, third, fourth, fifth] = inners.try_into().unwrap();
        Fields {
            by_name: BTreeMap::from([
                (text.clone(), inner.clone()),
                ("other".into(), second.clone()),
            ]),
            by_number: BTreeMap::from([
                (-1, Newtype(third.clone())),
                (i64::from(a), Newtype(fifth.clone())),
            ]),
            by_color: HashMap::from([(Color::Red, a), (Color::Blue, 0)]),
            inners: vec![third, fourth.clone()],
            optional: c.map(|_| fifth),
            // A float that is not finite is refused.
            pair: Pair(if single.is_finite() { single } else { 0.5 }, char),
            tuple: (a, b, c, second),
            colors: vec![c.map(|_| Color::Blue), Some(Color::Red)],
            newtype: Newtype(fourth),
            inner,
            nothing: Nothing,
            unit: (),
            list: bytes.clone(),
            bytes: ByteBuf::from(bytes),
            float: if float.is_finite() { float } else { -0.0 },
            text,
            skipped,
            defaulted,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn values_in_serdes_buffer_round_trip(fields in fields(), wide: i128, id: u64, x: i32) {
        returns(fields.clone());
        let optional = (x > 0).then_some(Point { x, y: -x });
        let flat = Flat { id, wide, fields: fields.clone(), optional };
        returns(flat.clone());
        let small = Flat { wide: 5, ..flat };
        returns(BTreeMap::from([("a".to_owned(), vec![small])]));
        let map = fields.by_name.clone();
        for internal in [
            Internal::Unit,
            Internal::Struct { fields: fields.clone() },
            Internal::New(fields.clone()),
            Internal::Map(map),
        ] {
            returns(vec![internal.clone()]);
            returns(Untagged::Internal(internal));
        }
        for adjacent in [
            Adjacent::Unit,
            Adjacent::New(fields.clone()),
            Adjacent::Two(fields.inner.clone(), wide),
            Adjacent::Struct { inner: fields.inner.clone(), wide: wide.unsigned_abs() },
        ] {
            returns(adjacent);
        }
        let list = [
            Untagged::Number(x.into()),
            Untagged::Inner(fields.inner.clone()),
            Untagged::Text(fields.text.clone()),
            Untagged::Unit,
        ];
        returns(Untagged::List(list.to_vec()));
        returns(Some(Untagged::Fields(Box::new(fields))));
    }
}

#[test]
fn a_flattened_struct_has_atoms_for_keys() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Flat {
        a: i64,
        #[serde(flatten)]
        point: Point,
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Rest<K: Ord> {
        a: i64,
        #[serde(flatten)]
        rest: BTreeMap<K, i64>,
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Variants {
        a: i64,
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    enum Outer {
        Flat {
            a: i64,
            #[serde(flatten)]
            point: Point,
        },
    }
    let point = Point { x: 2, y: 3 };
    maps(Flat { a: 1, point }, "%{a: 1, x: 2, y: 3}");
    let point = Point { x: 2, y: 3 };
    maps(Outer::Flat { a: 1, point }, "{:Flat, %{a: 1, x: 2, y: 3}}");
    for elixir in [
        "%Shop.Item{a: 1, x: 2, y: 3}",
        "%{\"a\" => 1, \"x\" => 2, \"y\" => 3}",
    ] {
        let flat: Flat = from_elixir(elixir).unwrap();
        assert_eq!((flat.a, flat.point), (1, Point { x: 2, y: 3 }));
    }
    let rest = BTreeMap::from([("b".to_owned(), 2)]);
    maps(Rest { a: 1, rest }, "%{:a => 1, \"b\" => 2}");
    let rest = BTreeMap::from([(7, 2), (-7, 3)]);
    maps(Rest { a: 1, rest }, "%{:a => 1, 7 => 2, -7 => 3}");
    let rest = BTreeMap::from([(true, 2)]);
    maps(Rest { a: 1, rest }, "%{a: 1, true: 2}");
    let rest = BTreeMap::from([(Color::Red, 2)]);
    maps(Rest { a: 1, rest }, "%{a: 1, red: 2}");
    let rest: Rest<String> = from_elixir("%Shop.Item{a: 1, b: 2}").unwrap();
    assert_eq!(rest.rest, BTreeMap::from([("b".to_owned(), 2)]));
    for inner in [
        Inner::Unit,
        Inner::One(1),
        Inner::Two(1, "a".into()),
        Inner::Many(vec![Inner::Unit]),
    ] {
        returns(Variants { a: 1, inner });
    }
    // The keys of a map stay what they are.
    maps(BTreeMap::from([("a".to_owned(), 1)]), "%{\"a\" => 1}");
    assert!(from_elixir::<BTreeMap<Term, Term>>("%Foo{}").unwrap().len() == 1);
}

#[test]
fn a_flattened_struct_denies_unknown_fields_except_the_struct_name() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        a: i64,
        #[serde(flatten)]
        point: Point,
    }
    let point = Point { x: 2, y: 3 };
    maps(Strict { a: 1, point }, "%{a: 1, x: 2, y: 3}");
    assert!(from_elixir::<Strict>("%Foo{a: 1, x: 2, y: 3}").is_ok());
    assert!(from_elixir::<Strict>("%{a: 1, x: 2, y: 3, z: 4}").is_err());
}

#[test]
fn tuples_and_results_are_distinguished_from_variants() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(untagged)]
    enum Any {
        Pair((Color, i64)),
        Outcome(Result<i64, String>),
        Inner(Inner),
        Triple(String, i64, bool),
    }
    maps(Any::Pair((Color::Red, 1)), "{:red, 1}");
    maps(Any::Outcome(Ok(1)), "{:ok, 1}");
    maps(Any::Outcome(Err("no".into())), "{:error, \"no\"}");
    maps(Any::Inner(Inner::One(1)), "{:one, 1}");
    maps(Any::Triple("a".into(), 1, true), "{\"a\", 1, true}");
    assert!(from_elixir::<Any>("{:green, 1}").is_err());
    // Without serde's buffer, tuples are what they were.
    let json: serde_json::Value = from_elixir("{:ok, 1}").unwrap();
    assert_eq!(json, serde_json::json!(["ok", 1]));
}

#[test]
fn a_content_that_comes_before_its_tag_is_decoded() {
    let content = "{:named, %{x: 1, color: :red}}";
    let adjacent = |elixir: &str| from_elixir::<AdjacentOf>(elixir).unwrap();
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "tag", content = "content", rename_all = "snake_case")]
    enum AdjacentOf {
        Inner(Inner),
        Two(Inner, u8),
    }
    let named = Inner::Named {
        x: 1,
        color: Color::Red,
    };
    assert_eq!(
        adjacent(&format!("%{{content: {content}, tag: :inner}}")),
        AdjacentOf::Inner(named.clone())
    );
    assert_eq!(
        adjacent(&format!("%{{content: {{{content}, 5}}, tag: :two}}")),
        AdjacentOf::Two(named, 5)
    );
}

#[test]
fn untagged_and_ignored_values_are_decoded() {
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
    assert!(from_elixir::<IgnoredAny>("[1 | <<5::size(3)>>]").is_ok());
    let (_, b): (IgnoredAny, u8) = from_elixir("{%{a: [1 | 2]}, 5}").unwrap();
    assert_eq!(b, 5);
}
