//! The specification, as tests.

mod admission;
mod attribute;
mod calls;
mod chaos;
mod drain;
mod erlang;
mod etf;
mod examples;
mod executors;
mod handles;
mod healing;
mod hostile;
mod identity;
mod local;
mod network;
mod packet;
mod peer;
mod push;
mod stubborn;
mod supervisor;
mod support;
mod term;
mod tidy;
mod transport;
mod universe;
mod wormhole;
