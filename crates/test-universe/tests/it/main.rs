//! The specification, as tests.

mod network;
mod settings;
mod support;
mod universe;
