//! The specification, as tests.

mod admission;
mod calls;
mod etf;
mod handles;
mod healing;
mod hostile;
mod identity;
mod local;
mod packet;
mod push;
mod supervisor;
mod support;
mod term;
mod transport;
mod universe;
mod wormhole;
