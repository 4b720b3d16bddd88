//! The specification, as tests.

mod identity;
mod packet;
mod supervisor;
mod support;
mod transport;
mod universe;
mod etf;
mod term;
