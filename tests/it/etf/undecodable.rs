//! What serde could not read from its buffer: refused when it is encoded, or kept in its encoded form.

use std::collections::{BTreeMap, HashMap};

use erps::Term;
use erps::wire::etf::{self, EncodeError};
use serde::{Deserialize, Serialize};

use super::buffered::returns;
use super::{from_elixir, term};

#[test]
fn wide_integers_are_refused_where_they_cannot_be_decoded() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(untagged)]
    enum Id {
        Num(u128),
        Text(String),
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(tag = "type")]
    enum Tagged {
        Direct { id: i128 },
        Deep { ids: Vec<Option<(u8, u128)>> },
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Flat {
        id: u128,
        #[serde(flatten)]
        rest: BTreeMap<String, i128>,
        last: i128,
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Narrow {
        id: u128,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
        last: i128,
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(transparent)]
    struct Wei(u128);
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Plain {
        id: u128,
        wei: Option<Wei>,
        cell: std::cell::RefCell<i128>,
        boxed: Box<u128>,
        many: HashMap<u128, [i128; 2]>,
    }
    fn refused<T: Serialize>(value: T) {
        let error = etf::to_vec(&value).unwrap_err();
        assert_eq!(error, EncodeError::Wide);
        assert!(
            error
                .to_string()
                .contains("use a `Term`, a string or a 64-bit integer")
        );
    }
    refused(Id::Num(7));
    refused(Some(Id::Num(7)));
    refused(Tagged::Direct { id: 7 });
    refused(Tagged::Deep {
        ids: vec![Some((1, 2))],
    });
    returns(Tagged::Deep { ids: vec![] });
    returns(Id::Text("x".into()));
    let flat = |rest| Flat {
        id: 1 << 100,
        rest,
        last: -1,
    };
    returns(flat(BTreeMap::new()));
    refused(flat(BTreeMap::from([("a".to_owned(), 1)])));
    returns(Narrow {
        id: 1 << 100,
        rest: BTreeMap::from([("a".to_owned(), 1)]),
        last: -1,
    });
    returns(Plain {
        id: u128::MAX,
        wei: Some(Wei(1 << 80)),
        cell: std::cell::RefCell::new(i128::MIN),
        boxed: Box::new(5),
        many: HashMap::from([(1, [2, -3])]),
    });
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
