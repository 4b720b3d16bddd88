//! A payload, decoded under any limits, as any term and as some types.
//!
//! ```text
//! limits  | payload
//! ```

use std::{collections::BTreeMap, fmt::Debug};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_bytes::ByteBuf;
use serde_etf::{self as etf, Checked, DecodeError, Limits, Term};

const DEPTHS: [usize; 4] = [0, 1, 12, 200];
const INFLATED: [usize; 4] = [0, 64, 4096, 1 << 20];

pub(crate) fn run(data: &[u8]) {
    let Some((&limits, payload)) = data.split_first() else {
        return;
    };
    let depth = DEPTHS[usize::from(limits & 3)];
    let inflated = INFLATED[usize::from(limits >> 2 & 3)];
    let safe = limits & 16 == 0;
    let limits = |depth| Limits::default().depth(depth).inflated(inflated).safe(safe);
    let Ok(checked) = etf::check(payload, &limits(depth)) else {
        return;
    };
    named(payload, &checked);
    let bytes = checked.as_element().as_bytes();
    assert!(bytes.len() <= payload.len().max(inflated));
    // A charlist adds one level: it is written as a list of integers.
    let limits = limits(depth + 1);
    let taken = round_trip::<Term>(&checked, &limits);
    if let Ok(term) = &taken {
        assert!(height(term) <= depth + 1, "{term}");
        any(term, &checked, &limits, safe);
    } else {
        let why = taken.unwrap_err();
        let too_large = matches!(why, DecodeError::TermMemory { .. });
        // Keys that are equal but encoded in different bytes, which no node writes.
        let twice = why.to_string() == DecodeError::DuplicateKey.to_string();
        assert!(too_large || twice, "{why}");
    }
    types(&checked, &limits);
}

/// Asserts that the elements of a pair are found without decoding it.
fn named(payload: &[u8], checked: &Checked<'_>) {
    const MAX: usize = 1 << 20;

    let first = etf::first_of_pair(payload, MAX);
    let second = etf::second_of_pair(payload, MAX, &Limits::default());
    let Some(pair) = checked.pair() else {
        assert!(first.is_none() && second.is_none());
        return;
    };
    for (found, element) in [(first, pair.0), (second, pair.1)] {
        // An element that cannot be sent back is not found.
        if let Some(found) = found {
            assert_eq!(&found[1..], element.as_bytes());
        }
    }
}

/// Checks properties of any term.
fn any(term: &Term, checked: &Checked<'_>, limits: &Limits, safe: bool) {
    let pair = checked.pair();
    match (term.as_tuple(), pair) {
        (Some([first, second]), Some(pair)) => {
            assert_eq!(pair.0.decode::<Term>().as_ref(), Ok(first));
            assert_eq!(pair.1.decode::<Term>().as_ref(), Ok(second));
        }
        (_, pair) => assert!(pair.is_none(), "{term}"),
    }
    let bytes = etf::to_vec(term).unwrap();
    let packed = etf::compress(bytes.clone(), 6).unwrap();
    assert!(packed.len() <= bytes.len());
    let generous = limits.clone().inflated(bytes.len());
    let inflated = etf::check(&packed, &generous).unwrap();
    assert_eq!(inflated.as_element().as_bytes(), &bytes[1..]);

    if safe && !has_opaque(term) {
        let text = term.to_string();
        let parsed: Result<Term, _> = text.parse();
        assert_eq!(parsed.as_ref(), Ok(term), "{text}");
    } else {
        assert!(!term.to_string().is_empty());
    }
}

/// Checks types of the usual kinds: a decoded value encodes to bytes that decode to the same value.
fn types(checked: &Checked<'_>, limits: &Limits) {
    let _ = round_trip::<Request>(checked, limits);
    let _ = round_trip::<Order>(checked, limits);
    let _ = round_trip::<BTreeMap<Term, Term>>(checked, limits);
    let _ = round_trip::<BTreeMap<String, Vec<Request>>>(checked, limits);
    let _ = round_trip::<Vec<(Term, Option<i128>)>>(checked, limits);
    let _ = round_trip::<Vec<u8>>(checked, limits);
    let _ = round_trip::<(u64, char, bool)>(checked, limits);
    let _ = round_trip::<Option<Box<Request>>>(checked, limits);
    let _ = round_trip::<String>(checked, limits);
    let _ = round_trip::<ByteBuf>(checked, limits);
    let _ = round_trip::<f64>(checked, limits);
    let _ = round_trip::<f32>(checked, limits);
    let _ = round_trip::<Result<u8, String>>(checked, limits);
    let _ = round_trip::<[u8; 3]>(checked, limits);
    let _ = round_trip::<u128>(checked, limits);
    let _ = round_trip::<()>(checked, limits);
    // These types go through serde's own representation and need not encode to the same bytes.
    let _ = checked.decode::<Shape>();
    let _ = checked.decode::<Loose>();
    let _ = checked.decode::<Tagged>();
    let _ = checked.decode::<Flat>();
    if let Ok(borrowed) = checked.decode::<Borrowed<'_>>() {
        assert!(
            borrowed.name.len() + borrowed.bytes.len() <= checked.as_element().as_bytes().len()
        );
    }
    assert!(checked.decode::<IgnoredAny>().is_ok());
}

fn round_trip<T>(checked: &Checked<'_>, limits: &Limits) -> Result<T, DecodeError>
where
    T: Debug + PartialEq + Serialize + DeserializeOwned,
{
    let value: T = checked.decode()?;
    let bytes = etf::to_vec(&value).unwrap();
    let again: T = etf::check(&bytes, limits).unwrap().decode().unwrap();
    assert_eq!(again, value);
    assert_eq!(etf::to_vec(&again).unwrap(), bytes);
    Ok(value)
}

/// The nesting depth; empty containers count as zero.
fn height(term: &Term) -> usize {
    let highest = |terms: &mut dyn Iterator<Item = &Term>| terms.map(|it| height(it) + 1).max();
    let height = match term {
        Term::Tuple(elements) | Term::List(elements) => highest(&mut elements.iter()),
        Term::ImproperList(elements, tail) => highest(&mut elements.iter().chain([&**tail])),
        Term::Map(pairs) => highest(&mut pairs.iter().flat_map(|(k, v)| [k, v])),
        _ => None,
    };
    height.unwrap_or(0)
}

fn has_opaque(term: &Term) -> bool {
    match term {
        Term::Opaque(_) => true,
        Term::Tuple(elements) | Term::List(elements) => elements.iter().any(has_opaque),
        Term::ImproperList(elements, tail) => elements.iter().any(has_opaque) || has_opaque(tail),
        Term::Map(pairs) => pairs.iter().any(|(k, v)| has_opaque(k) || has_opaque(v)),
        _ => false,
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Ping,
    Add(i64),
    Move(i8, u32),
    Name {
        name: String,
        size: Option<f64>,
        tags: Vec<u16>,
    },
    Raw(#[serde(with = "serde_bytes")] Vec<u8>),
    Any(Term),
    All(Vec<Self>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    name: String,
    #[serde(default)]
    size: Option<i32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    requests: Vec<Request>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is only read")]
enum Shape {
    Point(i64, i64),
    Named { name: String },
    Other(Term),
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "it is only read")]
struct Loose {
    name: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Term>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "it is only read")]
struct Flat {
    size: Option<u16>,
    #[serde(flatten)]
    order: Order,
    #[serde(flatten)]
    others: BTreeMap<i64, Request>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
#[expect(dead_code, reason = "it is only read")]
enum Tagged {
    Ping,
    Size { size: u8 },
}

#[derive(Debug, Deserialize)]
struct Borrowed<'a> {
    name: &'a str,
    bytes: &'a [u8],
}
