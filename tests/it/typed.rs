//! Typed protocols: every call has a reply type of its own.

mod by_hand;
mod evolution;
mod jobs;
mod wire;
