//! The specification, as tests.

mod universe;
