//! Supervised, authenticated, testable network servers.
#![warn(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit
)]

pub mod wire;
