//! Both sides of every limit.

use std::fmt::Debug;
use std::io::Write;
use std::thread;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_etf::{self as etf, DecodeError, Limits, Term};

use super::{from_elixir, term};

/// Nests an integer in this many tuples.
fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = vec![131];
    bytes.extend([104, 1].repeat(depth));
    bytes.extend([97, 1]);
    bytes
}

#[test]
fn term_over_the_depth_limit_is_rejected() {
    let too_deep = |limit| Err::<(), _>(DecodeError::Depth { limit });
    assert!(etf::from_slice::<Term>(&nested(512)).is_ok());
    assert_eq!(
        etf::from_slice::<Term>(&nested(513)).map(drop),
        too_deep(512)
    );
    for limit in [0, 1, 7, 8, 9, 100] {
        let limits = Limits::default().depth(limit);
        assert!(etf::check(&nested(limit), &limits).is_ok());
        assert_eq!(
            etf::check(&nested(limit + 1), &limits).map(drop),
            too_deep(limit)
        );
    }
    // Depth counts open levels, not closed ones.
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
            Err(DecodeError::Depth { limit: 512 })
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
        let limits = Limits::default().depth(511);
        assert!(matches!(
            etf::check(&bytes, &limits),
            Err(DecodeError::Depth { .. })
        ));
    }
    let run = || {
        decodes(&(0..512).fold(List::Nil, |list, i| List::Cons(i, Box::new(list))));
        let first = Node {
            value: 0,
            next: None,
        };
        decodes(&(1..512).fold(first, |node, value| Node {
            value,
            next: Some(Box::new(node)),
        }));
        decodes(&(0..512).fold(Tree::Leaf(1), |tree, _| Tree::Branch(vec![tree])));
        decodes(&(0..512).fold(Term::from(1), |term, _| Term::tuple([term])));
        decodes(&(0..512).fold(Term::from(1), |term, _| Term::map([(term, Term::nil())])));
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
fn compressed_term_over_the_size_limit_is_rejected() {
    let plain = &etf::to_vec(&"x".repeat(1000)).unwrap()[1..];
    let packed = zipped(1005, plain);
    let check = |limit| etf::check(&packed, &Limits::default().inflated(limit)).map(drop);
    assert_eq!(check(1006), Ok(()));
    assert_eq!(check(1005), Ok(()));
    assert_eq!(check(1004), Err(DecodeError::Inflated { limit: 1004 }));
}

#[test]
fn compressed_term_with_a_wrong_announced_size_is_rejected() {
    let plain = &etf::to_vec(&"x".repeat(1000)).unwrap()[1..];
    for announced in [0, 1004, 1006, 1 << 20] {
        let error = etf::from_slice::<Term>(&zipped(announced, plain)).unwrap_err();
        assert_eq!(error, DecodeError::Compressed, "{announced}");
    }
    // A compressed term within a compressed one is invalid.
    let twice = zipped(plain.len() as u32 + 20, &zipped(1005, plain)[1..]);
    assert!(etf::from_slice::<Term>(&twice).is_err());
    let whole = zipped(1005, plain);
    for end in 0..whole.len() {
        assert!(etf::from_slice::<Term>(&whole[..end]).is_err(), "{end}");
    }
}

#[test]
fn zip_bomb_is_rejected_before_it_inflates() {
    let size = 500_000_000_u32;
    let mut bytes = vec![131, 80];
    bytes.extend((size + 5).to_be_bytes());
    let mut zip = flate2::write::ZlibEncoder::new(bytes, flate2::Compression::fast());
    let mut head = vec![109];
    head.extend(size.to_be_bytes());
    zip.write_all(&head).unwrap();
    let mut block_starts = 0;
    for _ in 0..2 {
        block_starts = zip.get_ref().len();
        zip.write_all(&[0; 1_000_000]).unwrap();
        zip.flush().unwrap();
    }
    // Compressing all of it would take seconds. The second block refers to zeros only, so it can be repeated.
    let mut bomb = zip.get_ref().clone();
    let block = bomb[block_starts..].to_vec();
    bomb.extend(block.repeat(498));
    assert!(bomb.len() < 4_000_000);
    let limit = 16 << 20;
    assert_eq!(
        etf::from_slice::<IgnoredAny>(&bomb).map(drop),
        Err(DecodeError::Inflated { limit })
    );
    // Its announced size can be false; inflating stops at that size.
    bomb[2..6].copy_from_slice(&1000_u32.to_be_bytes());
    let before = peak_memory();
    assert_eq!(
        etf::from_slice::<IgnoredAny>(&bomb).map(drop),
        Err(DecodeError::Compressed)
    );
    assert!(peak_memory() - before < 100_000_000);
}

/// Returns the peak memory of this process; zero if the system does not provide it.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.unwrap_or(0_usize) * 1000
}

#[test]
fn announced_lengths_allocate_no_memory() {
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
fn duplicate_map_keys_are_rejected() {
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
    // On both sides of each algorithm's threshold: pairwise, sorted, on the heap.
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
    // The same term may occur in different maps, and as key and value.
    assert!(from_elixir::<Term>("[%{a: 1}, %{a: :a}, %{a: %{a: 1}, b: %{a: 1}}]").is_ok());
    // 1 and 1.0 are different keys; 1 in two forms is one key, which only the dynamic term sees.
    assert!(from_elixir::<Term>("%{1 => 1, 1.0 => 1}").is_ok());
    let two_forms = [131, 116, 0, 0, 0, 2, 97, 1, 106, 98, 0, 0, 0, 1, 106];
    assert!(etf::from_slice::<IgnoredAny>(&two_forms).is_ok());
    let error = etf::from_slice::<Term>(&two_forms).unwrap_err();
    assert_eq!(error.to_string(), DecodeError::DuplicateKey.to_string());
}

#[test]
fn equal_keys_of_nested_maps_are_no_duplicates() {
    // Maps within keys and values, deeper than what is stored inline.
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

#[test]
fn an_atom_is_decoded_up_to_255_characters() {
    let atom = |tag: u8, text: &[u8]| {
        let mut bytes = vec![131, tag];
        bytes.extend((text.len() as u16).to_be_bytes());
        bytes.extend(text);
        etf::from_slice::<Term>(&bytes)
    };
    for (tag, character) in [(118, "a"), (118, "日"), (100, "a")] {
        let name = character.repeat(255);
        assert_eq!(atom(tag, name.as_bytes()), Ok(Term::atom(&name)));
        let longer = character.repeat(256);
        assert_eq!(atom(tag, longer.as_bytes()), Err(DecodeError::Atom));
    }
    assert_eq!(atom(100, &[0xe9; 255]), Ok(Term::atom(&"é".repeat(255))));
    assert_eq!(atom(100, &[0xe9; 256]), Err(DecodeError::Atom));
}

#[test]
fn compound_keys_are_compared_as_a_whole() {
    assert!(from_elixir::<Term>("%{{1, 2} => 0, {3, 2} => 0, [1 | 2] => 0}").is_ok());
    let twice = [
        131, 116, 0, 0, 0, 2, 104, 1, 97, 1, 97, 0, 104, 1, 97, 1, 97, 0,
    ];
    assert_eq!(
        etf::from_slice::<Term>(&twice),
        Err(DecodeError::DuplicateKey)
    );
}
