//! The specification, as tests.

mod identity;
mod packet;
mod supervisor;
mod universe;
mod etf;
mod term;
