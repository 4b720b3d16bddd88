//! The memory of terms, and the estimate the limit is based on.

use std::process::Command;
use std::{fmt, fs, thread};

use serde::de::{IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};
use serde_etf::{self as etf, DecodeError, Limits, Term};

use super::bounds::{decode, head, list_of};
use super::term;

#[test]
fn terms_within_one_value_share_one_memory_limit() {
    #[derive(Debug, Deserialize)]
    struct Both {
        a: Term,
        b: Vec<Term>,
    }
    let text = "%{a: [1, 2, 3, 4], b: [[1], :x, \"y\"]}";
    let payload = etf::to_vec(&term(text)).unwrap();
    let with = |bytes| etf::check(&payload, &Limits::default().term_memory(bytes));
    let fits = |bytes: &usize| with(*bytes).unwrap().decode::<Both>().is_ok();
    let needed = (0..10_000).find(fits).unwrap();
    let checked = with(needed - 1).unwrap();
    assert_eq!(
        checked.decode::<Both>().map(drop),
        Err(DecodeError::TermMemory { limit: needed - 1 })
    );
    let both: Both = with(needed).unwrap().decode().unwrap();
    let each = |term: &Term| {
        let payload = etf::to_vec(term).unwrap();
        let fits = |bytes: &usize| decode(&payload, &Limits::default().term_memory(*bytes)).is_ok();
        (0..10_000).find(fits).unwrap()
    };
    let sum: usize = both.b.iter().chain([&both.a]).map(each).sum();
    assert_eq!(needed, sum);
}

#[test]
fn values_in_serdes_buffer_count_towards_the_memory_limit() {
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "it is only read")]
    enum Loose {
        Number(u8),
        Any(Term),
    }
    let maps = list_of(50_000, &[116, 0, 0, 0, 1, 106, 106]);
    let limits = Limits::default();
    let limit = limits.max_term_memory();
    let checked = etf::check(&maps, &limits).unwrap();
    let over = Some(DecodeError::TermMemory { limit });
    assert_eq!(checked.decode::<Term>().err(), over);
    assert_eq!(checked.decode::<Vec<Term>>().err(), over);
    assert_eq!(checked.decode::<Loose>().err(), over);
    assert_eq!(checked.decode::<serde_json::Value>().err(), over);
    assert!(checked.decode::<IgnoredAny>().is_ok());
}

/// Returns the resident memory of the process in bytes; zero if the system does not provide it.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.unwrap_or(0_usize) * 1024
}

type Shape = fn() -> Vec<u8>;

/// Payloads of terms that take a few megabytes each, by name.
const SHAPES: [(&str, Shape); 15] = [
    ("small maps", || {
        list_of(5_000, &[116, 0, 0, 0, 1, 106, 106])
    }),
    ("empty maps", || list_of(80_000, &[116, 0, 0, 0, 0])),
    ("pairs", || list_of(25_000, &[104, 2, 97, 1, 106])),
    ("single tuples", || list_of(40_000, &[104, 1, 106])),
    ("nested lists", || {
        let lists = [108, 0, 0, 0, 1].repeat(400);
        list_of(100, &[lists, vec![106; 401]].concat())
    }),
    ("nested tuples", || {
        list_of(100, &[[104, 1].repeat(400), vec![106]].concat())
    }),
    ("improper lists", || {
        list_of(20_000, &[108, 0, 0, 0, 1, 106, 97, 1])
    }),
    ("joined tails", || {
        let tails = [108, 0, 0, 0, 1, 106].repeat(400);
        list_of(120, &[tails, vec![106]].concat())
    }),
    ("nils", || list_of(120_000, &[106])),
    ("atoms", || list_of(50_000, &[119, 2, b'o', b'k'])),
    ("strings", || {
        list_of(40_000, &[&[109, 0, 0, 0, 20][..], &[7; 20]].concat())
    }),
    ("packed lists", || {
        list_of(1_500, &[&[107, 0, 100][..], &[7; 100]].concat())
    }),
    ("large integers", || {
        list_of(25_000, &[&[110, 20, 0][..], &[7; 20]].concat())
    }),
    ("binaries", || {
        list_of(50, &[&[109, 0, 1, 0, 0][..], &[7; 1 << 16]].concat())
    }),
    ("big map", || {
        let mut map = vec![131];
        head(&mut map, 116, 50_000);
        for key in (0..50_000_u32).rev() {
            map.push(98);
            map.extend(key.to_be_bytes());
            map.push(106);
        }
        map
    }),
];

/// Counted like a [`Term`] and discarded.
struct Counted;

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct("$serde_etf::Term", Self)
    }
}

impl Visitor<'_> for Counted {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any term")
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Self, E> {
        Ok(self)
    }
}

/// Measures each shape in its own process, which runs this test again.
#[test]
fn estimated_memory_is_close_to_allocated_memory() {
    const SHAPE: &str = "ERPS_TEST_SHAPE";

    if resident() == 0 {
        println!("skipped: the system does not tell how much memory a process takes");
        return;
    }
    if let Ok(name) = std::env::var(SHAPE) {
        let (_, shape) = SHAPES.iter().find(|it| it.0 == name).unwrap();
        let payload = shape();
        let limits = |bytes| Limits::default().term_memory(bytes);
        let fits = |bytes| {
            etf::check(&payload, &limits(bytes))
                .unwrap()
                .decode::<Counted>()
                .is_ok()
        };
        let (mut low, mut limit) = (0, 16 << 20);
        while limit - low > low / 64 {
            let middle = (low + limit) / 2;
            match fits(middle) {
                true => limit = middle,
                false => low = middle,
            }
        }
        let before = resident();
        let term = decode(&payload, &limits(limit)).unwrap();
        let taken = resident() - before;
        println!("{name}: estimated {limit} bytes, took {taken}");
        assert!(
            limit < taken * 3 / 2 && taken < limit * 3 / 2,
            "{name}: {limit}, {taken}"
        );
        drop(term);
        return;
    }
    for (name, _) in SHAPES {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "--nocapture", thread::current().name().unwrap()]);
        let output = again.env(SHAPE, name).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{output:?}");
        let measured = text.lines().find(|line| line.contains("estimated"));
        println!("{}", measured.expect("it was measured"));
    }
}
