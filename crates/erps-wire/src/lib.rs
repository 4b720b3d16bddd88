//! The bytes of erps 0.7: pure functions and buffers, no I/O, no clock.
//!
//! ```text
//! socket bytes --> decoder --> packet: header + payload --> payload codec --> values
//!                  limits      identity: who speaks, in which version
//! ```
//!
//! [`packet`] lays a packet out in a write buffer and says what its header means; [`decoder`] takes packets
//! out of a stream that arrives in any pieces; [`identity`] holds the names and versions by which the two
//! ends recognise each other. To all of them a payload is opaque bytes. [`proxy`] reads
//! what a proxy says before the first of them.

pub mod codec;
pub mod decoder;
pub mod identity;
pub mod packet;
pub mod proxy;
pub mod refusal;
mod requirement;
