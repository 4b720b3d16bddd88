//! The specification, as tests.

mod identity;
mod packet;
mod universe;
mod etf;
mod term;
