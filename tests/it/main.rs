//! The specification, as tests.

mod identity;
mod packet;
mod universe;
