//! Bounds on the cost of a payload: work, memory, stack and text.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::{fmt, thread};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_etf::{self as etf, DecodeError, Limits, Term};

use super::term;

/// Appends a tag and four bytes of length.
pub(super) fn head(out: &mut Vec<u8>, tag: u8, length: u32) {
    out.push(tag);
    out.extend(length.to_be_bytes());
}

pub(super) fn list_of(count: u32, element: &[u8]) -> Vec<u8> {
    let mut bytes = vec![131];
    head(&mut bytes, 108, count);
    bytes.extend(element.repeat(count as usize));
    bytes.push(106);
    bytes
}

fn zipped(plain: &[u8]) -> Vec<u8> {
    let mut bytes = vec![131];
    head(&mut bytes, 80, plain.len() as u32 - 1);
    let mut zip = flate2::write::ZlibEncoder::new(bytes, flate2::Compression::best());
    zip.write_all(&plain[1..]).unwrap();
    zip.finish().unwrap()
}

pub(super) fn decode(payload: &[u8], limits: &Limits) -> Result<Term, DecodeError> {
    etf::check(payload, limits)?.decode()
}

#[test]
fn numbers_count_as_a_quarter_of_an_element() {
    let limits = |elements| Limits::default().elements(elements);
    let check = |payload: &[u8], elements| etf::check(payload, &limits(elements)).map(drop);
    let over = |limit| Err(DecodeError::Elements { limit });
    // The list, its elements and its tail.
    let nils = list_of(100, &[106]);
    assert_eq!(check(&nils, 102), Ok(()));
    assert_eq!(check(&nils, 101), over(101));
    for number in [
        &[97, 1][..],
        &[98, 0, 1, 0, 0],
        &[70, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let numbers = list_of(100, number);
        assert_eq!(check(&numbers, 27), Ok(()), "{number:?}");
        assert_eq!(check(&numbers, 26), over(26), "{number:?}");
    }
    let packed = [&[131, 107, 0, 80][..], &[7; 80]].concat();
    assert_eq!(check(&packed, 11), Ok(()));
    assert_eq!(check(&packed, 10), over(10));
    // Three pairs: the map, a key and a value each, and each key once more.
    let map = etf::to_vec(&term("%{a: :x, b: :x, c: :x}")).unwrap();
    assert_eq!(check(&map, 10), Ok(()));
    assert_eq!(check(&map, 9), over(9));
}

#[test]
fn by_default_lists_of_numbers_fill_16_mebibytes() {
    let limits = Limits::default();
    let limit = limits.max_elements();
    let check = |payload: &[u8]| etf::check(payload, &limits).map(drop);
    let most = 4 * (limit as u32 - 2);
    assert!(list_of(most, &[97, 1]).len() > (16 << 20) - 32);
    assert_eq!(check(&list_of(most, &[97, 1])), Ok(()));
    let over = Err(DecodeError::Elements { limit });
    assert_eq!(check(&list_of(most + 1, &[97, 1])), over);
    assert_eq!(check(&list_of(limit as u32 - 1, &[106])), over);
    assert_eq!(check(&list_of(limit as u32 - 2, &[106])), Ok(()));
}

#[test]
fn compressed_term_over_the_ratio_limit_is_rejected() {
    let limit = 256;
    for (plain, refused) in [
        (vec![0; (1 << 20) - 5], false),
        (vec![0; 1 << 20], true),
        (vec![0; (16 << 20) - 5], true),
    ] {
        let payload = etf::to_vec(serde_bytes::Bytes::new(&plain)).unwrap();
        let packed = zipped(&payload);
        assert!(packed.len() * limit < plain.len());
        let checked = etf::check(&packed, &Limits::default()).map(drop);
        match refused {
            true => assert_eq!(checked, Err(DecodeError::Ratio { limit })),
            false => assert_eq!(checked, Ok(())),
        }
        let generous = Limits::default().ratio(2000);
        assert!(etf::check(&packed, &generous).is_ok());
        // The encoder does not compress what the default limits would reject.
        let ours = etf::compress(payload.clone(), 9).unwrap();
        assert_eq!(ours == payload, refused);
        assert!(etf::check(&ours, &Limits::default()).is_ok());
    }
}

#[test]
fn ten_mebibyte_binary_is_within_the_default_limits() {
    let term = Term::tuple([Term::from(1), Term::binary(vec![7; 10 << 20])]);
    let payload = etf::to_vec(&term).unwrap();
    assert_eq!(etf::from_slice::<Term>(&payload).unwrap(), term);
}

/// On a quarter of the stack of a thread, in a debug build.
#[test]
fn terms_at_the_depth_limit_fit_a_thread_of_512_kibibytes() {
    let levels = Limits::default().max_depth() - 1;
    let nest = |wrap: fn(Term) -> Term| (0..levels).fold(Term::list([]), |term, _| wrap(term));
    let terms = [
        nest(|term| Term::list([term])),
        nest(|term| Term::tuple([term, Term::nil()])),
        nest(|term| Term::map([(Term::nil(), term)])),
        nest(|term| Term::map([(term, Term::nil())])),
        (0..levels / 2).fold(Term::nil(), |term, _| {
            Term::list_with_tail([Term::nil()], Term::tuple([term]))
        }),
    ];
    let run = move || {
        for term in terms {
            let copy = term.clone();
            assert_eq!(copy, term);
            assert!(term.cmp(&copy).is_eq());
            let hash = |term: &Term| {
                let mut hasher = DefaultHasher::new();
                term.hash(&mut hasher);
                hasher.finish()
            };
            assert_eq!(hash(&copy), hash(&term));
            assert_eq!(format!("{term:?}"), term.to_string());
            assert_eq!(format!("{term:#?}"), term.to_string());
            assert_eq!(term.to_string().parse().as_ref(), Ok(&term));
            let payload = etf::to_vec(&term).unwrap();
            assert_eq!(etf::from_slice::<Term>(&payload).unwrap(), term);
            let within = etf::to_vec(&vec![Some(term)]).unwrap();
            assert_eq!(within[6..within.len() - 1], payload[1..]);
        }
    };
    let small = thread::Builder::new().stack_size(512 << 10);
    small.spawn(run).unwrap().join().unwrap();
}

#[test]
fn nested_tails_are_one_list() {
    let mut bytes = vec![131];
    for _ in 0..300 {
        head(&mut bytes, 108, 2);
        bytes.extend([97, 1, 106]);
    }
    let cut = bytes.len();
    bytes.extend([107, 0, 2, 5, 6]);
    let list: Term = etf::from_slice(&bytes).unwrap();
    assert_eq!(list.as_list().unwrap().len(), 602);
    assert_eq!(list.as_list().unwrap()[601], Term::from(6));
    bytes.truncate(cut);
    bytes.extend([104, 1, 97, 9]);
    let Term::ImproperList(elements, tail) = etf::from_slice(&bytes).unwrap() else {
        panic!("a proper list");
    };
    assert_eq!((elements.len(), *tail), (600, term("{9}")));
    bytes.truncate(cut);
    bytes.extend([108, 0, 0, 0, 0, 106]);
    assert_eq!(
        etf::from_slice::<Term>(&bytes).unwrap(),
        Term::list(elements)
    );
}

/// Copying the elements of the next level at each level would take minutes.
#[test]
fn nested_tails_are_decoded_in_linear_time() {
    let mut bytes = vec![131];
    for _ in 0..50_000 {
        bytes.extend([108, 0, 0, 0, 1, 106]);
    }
    head(&mut bytes, 108, 400_000);
    bytes.resize(bytes.len() + 400_001, 106);
    let list = decode(&bytes, &Limits::default().depth(50_001)).unwrap();
    assert_eq!(list.as_list().unwrap().len(), 450_000);
}

#[test]
fn error_texts_are_bounded_for_any_payload() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is only read")]
    struct Strict {
        a: u8,
    }
    #[derive(Debug, Deserialize)]
    enum One {
        A,
    }
    /// Its own error quotes its input.
    #[derive(Debug)]
    struct Quoting;

    impl<'de> Deserialize<'de> for Quoting {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            Err(D::Error::custom(format_args!("not taken: {text}é{text}")))
        }
    }
    fn quiet<T: fmt::Debug + serde::de::DeserializeOwned>(term: &Term) {
        let error = etf::from_slice::<T>(&etf::to_vec(term).unwrap()).unwrap_err();
        let text = error.to_string();
        assert!(text.len() <= 256, "{text}");
        assert!(!text.contains("secret"), "{text}");
        assert!(format!("{error:?}").len() < 300);
    }
    let long = Term::from("x".repeat(1 << 20));
    let name = Term::atom(&"é".repeat(255));
    let secret = Term::from("the secret");
    for term in [&long, &name, &secret] {
        quiet::<char>(term);
        quiet::<u8>(term);
        quiet::<f32>(term);
        quiet::<One>(term);
        quiet::<Vec<u16>>(term);
        quiet::<Option<bool>>(term);
        quiet::<std::net::IpAddr>(&Term::tuple([Term::atom("V4"), term.clone()]));
        quiet::<Strict>(&Term::map([(Term::atom("a"), term.clone())]));
        quiet::<One>(&Term::tuple([name.clone(), term.clone()]));
    }
    quiet::<Strict>(&Term::map([(long.clone(), Term::from(1))]));
    quiet::<Strict>(&Term::map([(name, Term::from(1))]));
    quiet::<Quoting>(&long);
    for length in 238..=245 {
        quiet::<Quoting>(&Term::from(
            "é".repeat(length / 2) + &"x".repeat(length % 2),
        ));
    }
    quiet::<u8>(&Term::integer(true, &[7; 100_000]));
    quiet::<Vec<u8>>(&Term::list_with_tail([Term::from(1)], long));
}

#[test]
fn long_integers_are_parsed_in_hexadecimal_and_refused_in_decimal() {
    let digits = |count: usize| "9".repeat(count).parse::<Term>();
    for count in [19, 20, 38, 2466, 2467, 20_000] {
        // In hexadecimal, a power of ten ends with as many zero bits as it has tens.
        let term = digits(count).unwrap();
        assert_eq!(term.to_string().parse().as_ref(), Ok(&term), "{count}");
        let ten = format!("1{}", "0".repeat(count)).parse::<Term>().unwrap();
        let Term::BigInteger(ten) = ten else {
            panic!("{count}");
        };
        let zeros = ten
            .magnitude()
            .iter()
            .take_while(|&&byte| byte == 0)
            .count();
        assert_eq!(zeros, count / 8);
        assert_eq!(ten.magnitude()[zeros].trailing_zeros() as usize, count % 8);
    }
    assert!(digits(200_000).is_ok());
    for count in [200_001, 1_000_000] {
        let error = digits(count).unwrap_err();
        assert!(
            error.expected().contains("200000 decimal digits"),
            "{error}"
        );
    }
    let magnitude: Vec<u8> = (1..=200).cycle().take(500_000).collect();
    let term = Term::integer(true, &magnitude);
    assert_eq!(term.to_string().parse(), Ok(term));
    assert_eq!("0o1777777777777777777777".parse(), Ok(Term::from(u64::MAX)));
    assert_eq!("-0b10000000001".parse(), Ok(Term::from(-1025)));
    assert_eq!("0x0".parse(), Ok(Term::from(0)));
}
