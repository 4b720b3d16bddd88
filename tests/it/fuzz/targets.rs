//! Fuzz targets: functions of arbitrary bytes that panic on a bug.
//!
//! The fuzzer of `fuzz/` includes this file and runs the same code.

pub(crate) mod decoder;
pub(crate) mod handshake;
pub(crate) mod identity;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod term;
pub(crate) mod text;
