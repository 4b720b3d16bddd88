//! The specification, as tests.

mod calls;
mod etf;
mod hostile;
mod identity;
mod packet;
mod supervisor;
mod support;
mod term;
mod transport;
mod universe;
