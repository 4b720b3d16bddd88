//! What is done with arbitrary bytes: each target panics if it finds something wrong.
//!
//! The fuzzer of `fuzz/` includes this file, and runs the same code.

pub(crate) mod decoder;
pub(crate) mod handshake;
pub(crate) mod identity;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod term;
pub(crate) mod text;
