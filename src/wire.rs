//! The wire protocol of Elixir's erps 0.7: packets and terms, without I/O.
//!
//! Reexports two crates: [erps-wire](erps_wire) for packets, [serde_etf] for their payloads.

pub(crate) use erps_wire::{codec, rejection};
pub use erps_wire::{decoder, identity, packet, proxy};
pub use serde_etf::{self as etf, term};
