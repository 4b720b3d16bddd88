//! Encoding and decoding of typed values and of `Term`s in one run: `cargo bench -p serde_etf`.
//!
//! Compare ratios within a run; times differ between machines.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_etf::{Limits, Term, check, from_slice, to_vec};

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Call {
    Move { name: String, x: i64, y: i64 },
}

#[derive(Deserialize, Serialize)]
struct Order {
    id: u64,
    customer: String,
    price: f64,
    tags: Vec<String>,
}

/// The fastest of several rounds, per operation.
fn time<T>(mut operation: impl FnMut() -> T) -> Duration {
    let mut rounds = 0_u32;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(20) {
        black_box(operation());
        rounds += 1;
    }
    let round = || {
        let start = Instant::now();
        for _ in 0..rounds {
            black_box(operation());
        }
        start.elapsed() / rounds
    };
    std::iter::repeat_with(round)
        .take(7)
        .min()
        .unwrap_or_default()
}

fn measure<T: Serialize + DeserializeOwned>(name: &str, value: &T) {
    let payload = to_vec(value).expect("the value is encodable");
    let term: Term = from_slice(&payload).expect("the payload is a term");
    let limits = Limits::default();
    let checked = check(&payload, &limits).expect("the payload is within the limits");

    let encode = time(|| to_vec(value));
    let encode_term = time(|| to_vec(&term));
    let decode = time(|| from_slice::<T>(&payload));
    let decode_term = time(|| from_slice::<Term>(&payload));
    let check_only = time(|| check(&payload, &limits).is_ok());
    let decode_only = time(|| checked.decode::<T>());
    println!(
        "{name:>8} {:>7} {encode:>10.1?} {encode_term:>10.1?} {decode:>10.1?} {decode_term:>10.1?} \
         {check_only:>10.1?} {decode_only:>10.1?} {:>5.0}%",
        payload.len(),
        100.0 * check_only.as_secs_f64() / decode.as_secs_f64(),
    );
}

fn main() {
    println!(
        "   value   bytes     encode  from Term     decode    to Term      check    decode*  check/decode"
    );
    let call = Call::Move {
        name: "knight".to_owned(),
        x: 3,
        y: 70_000,
    };
    measure("call", &(1_u64, call));
    let order = |id| Order {
        id,
        customer: format!("customer {id}"),
        price: id as f64 / 3.0,
        tags: vec!["new".to_owned(), "paid".to_owned()],
    };
    measure("orders", &(0..1000).map(order).collect::<Vec<_>>());
    measure("integers", &(0..100_000_i64).collect::<Vec<_>>());
    let map: BTreeMap<String, u64> = (0..1000).map(|it| (format!("key {it}"), it)).collect();
    measure("map", &map);
    measure("string", &"x".repeat(1 << 20));
    println!("*after the check, which `decode` includes");
}
