//! The packets of the Elixir library [erps](https://hex.pm/packages/erps) 0.7: encoding, decoding and limits, without I/O
//! or clocks.
//!
//! ```text
//! socket bytes --> decoder --> packet: header + payload --> payload codec --> values
//!                  limits      identity: service and version
//! ```
//!
//! - [`packet`] writes packets into a buffer, and checks their headers.
//! - [`decoder`] reads packets from a stream that arrives in any pieces.
//! - [`identity`] holds the service identifier and version in each header.
//! - [`codec`] writes packets whose payloads are Erlang terms; to all others a payload is opaque bytes.
//! - [`rejection`] is the message by which a server rejects a connection.
//! - [`proxy`] reads a PROXY protocol header, which may precede the first packet.

pub mod codec;
pub mod decoder;
pub mod identity;
pub mod packet;
pub mod proxy;
pub mod rejection;
mod requirement;

/// The code in the README, compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
