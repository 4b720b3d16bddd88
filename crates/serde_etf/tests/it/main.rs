//! The External Term Format and the dynamic term.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_etf::{self as etf, DecodeError, Term};

mod bounds;
mod buffered;
mod golden;
mod hostile;
mod interop;
mod limits;
mod mapping;
mod memory;
mod pairs;
mod term;
mod undecodable;

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Call {
    Ping,
    Sleep(u64),
    Add(i32, i32),
    Set { name: String, value: Option<i64> },
    Nothing(),
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Point {
    x: i32,
    y: i32,
}

fn from_elixir<T: DeserializeOwned>(elixir: &str) -> Result<T, DecodeError> {
    etf::from_slice(&etf::to_vec(&term(elixir)).unwrap())
}

fn term(elixir: &str) -> Term {
    elixir
        .parse()
        .unwrap_or_else(|error| panic!("{elixir}: {error}"))
}
