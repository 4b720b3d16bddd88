//! Values that serde could not decode from its buffer are rejected by the encoder, or kept in encoded form.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_etf::{self as etf, EncodeError, Term};

use super::buffered::returns;
use super::{from_elixir, term};

#[track_caller]
fn assert_refused<T: Serialize>(value: T) {
    let error = etf::to_vec(&value).unwrap_err();
    assert_eq!(error, EncodeError::Wide);
    let text = error.to_string();
    assert!(text.contains("use a `Term`, a string or"), "{text}");
}

#[test]
fn encoder_rejects_wide_integers_behind_a_tag_or_in_a_flattened_map() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(tag = "type")]
    enum Tagged {
        Direct { id: i128 },
        Deep { ids: Vec<Option<(u8, u128)>> },
        Inner(Inner),
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Inner {
        id: u128,
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Flat<T> {
        id: u128,
        #[serde(flatten)]
        rest: BTreeMap<String, T>,
        last: i128,
    }
    fn flat<T>(rest: BTreeMap<String, T>) -> Flat<T> {
        Flat {
            id: 1 << 100,
            rest,
            last: -1,
        }
    }
    assert_refused(Tagged::Direct { id: 7 });
    assert_refused(Tagged::Deep {
        ids: vec![Some((1, 2))],
    });
    assert_refused(Tagged::Inner(Inner { id: 7 }));
    assert_refused(flat(BTreeMap::from([("a".to_owned(), 1_i128)])));

    returns(Tagged::Deep { ids: vec![] });
    returns(flat(BTreeMap::<_, i128>::new()));
    returns(flat(BTreeMap::from([("a".to_owned(), 1_u8)])));
}

#[test]
fn wide_integers_outside_of_buffers_round_trip() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(transparent)]
    struct Wei(u128);
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    enum Enum {
        Newtype(u128),
        Tuple(i128, u128),
        Struct { id: u128 },
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(tag = "type", content = "content")]
    enum Adjacent {
        Id(u128),
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Plain {
        id: u128,
        wei: Option<Wei>,
        cell: RefCell<i128>,
        boxed: Box<u128>,
        many: HashMap<u128, [i128; 2]>,
        tuple: (u128, String, i128),
        result: Result<u128, i128>,
        enums: Vec<Enum>,
        adjacent: Adjacent,
    }
    returns(Plain {
        id: u128::MAX,
        wei: Some(Wei(1 << 80)),
        cell: RefCell::new(i128::MIN),
        boxed: Box::new(5),
        many: HashMap::from([(1, [2, -3])]),
        tuple: (1 << 90, "x".to_owned(), -1),
        result: Ok(u128::MAX),
        enums: vec![
            Enum::Newtype(1 << 100),
            Enum::Tuple(-1, 2),
            Enum::Struct { id: u128::MAX },
        ],
        adjacent: Adjacent::Id(1 << 100),
    });
}

/// When encoded, these look like an untagged enum, so they are rejected too.
#[test]
fn encoder_rejects_large_types_that_write_only_a_wide_integer() {
    #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
    #[serde(into = "u128", from = "u128")]
    struct Into {
        id: u128,
        checksum: u64,
    }
    impl From<u128> for Into {
        fn from(id: u128) -> Self {
            let checksum = id as u64 ^ 7;
            Self { id, checksum }
        }
    }
    impl From<Into> for u128 {
        fn from(value: Into) -> Self {
            value.id
        }
    }
    #[derive(Debug, PartialEq)]
    struct ByHand {
        id: u128,
        name: String,
    }
    impl Serialize for ByHand {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u128(self.id)
        }
    }
    impl<'de> Deserialize<'de> for ByHand {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let id = u128::deserialize(deserializer)?;
            let name = id.to_string();
            Ok(Self { id, name })
        }
    }
    assert_refused(Into::from(1 << 100));
    assert_refused(Some(Into::from(7)));
    assert_refused((Into::from(7), [Into::from(8)]));
    assert_refused(ByHand {
        id: 7,
        name: "7".to_owned(),
    });
}

#[test]
fn encoder_rejects_wide_integers_in_a_flattened_tagged_enum() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Outer {
        first: u8,
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(tag = "type")]
    enum Inner {
        Wide { id: u128 },
        Narrow { id: u64 },
    }
    let outer = |inner| Outer { first: 1, inner };
    assert_refused(outer(Inner::Wide { id: 7 }));
    returns(outer(Inner::Narrow { id: 7 }));
}

#[test]
fn encoder_rejects_wide_integers_in_an_untagged_enum() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(untagged)]
    enum Id {
        Num(u128),
        Text(String),
    }
    assert_refused(Id::Num(7));
    assert_refused(Some(Id::Num(7)));
    returns(Id::Text("x".into()));
}

#[test]
fn decoder_rejects_a_wide_integer_in_a_buffer_with_advice() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Outer {
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Inner {
        id: u128,
    }
    let bytes = etf::to_vec(&Outer {
        inner: Inner { id: 7 },
    })
    .unwrap();
    let error = etf::from_slice::<Outer>(&bytes).unwrap_err().to_string();
    assert!(error.contains("use a `Term`, a string or"), "{error}");
}

#[test]
fn a_flattened_map_has_keys_that_can_be_decoded() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Flat {
        a: u8,
        #[serde(flatten)]
        rest: BTreeMap<(i64, i64), u8>,
    }
    let flat = |rest| Flat { a: 1, rest };
    returns(flat(BTreeMap::new()));
    let error = etf::to_vec(&flat(BTreeMap::from([((1, 2), 3)]))).unwrap_err();
    assert_eq!(error, EncodeError::Key);
}

#[test]
fn terms_in_a_buffer_lose_atoms_and_tuples_only() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Flat {
        a: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, Term>,
    }
    let pid: Term =
        etf::from_slice(&[131, 88, 119, 1, b'n', 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]).unwrap();
    let kept = [
        term("1180591620717411303424"),
        term("-1180591620717411303424"),
        term("<<1, 1::size(1)>>"),
        term("[1, 2.5, \"x\", <<255>>, %{\"a\" => [nil, true]}]"),
        pid.clone(),
        Term::list([pid]),
    ];
    for value in kept {
        returns(Flat {
            a: 1,
            rest: BTreeMap::from([("b".to_owned(), value)]),
        });
    }
    let lost: Flat = from_elixir("%{a: 1, b: {:ok, [:c]}}").unwrap();
    let b = &lost.rest["b"];
    assert!(b.as_map().is_some() || b.as_list().is_some(), "{b}");
}
