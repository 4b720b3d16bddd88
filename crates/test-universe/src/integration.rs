//! Building blocks for a library that spawns tasks, keeps timers and runs its users' code.
//!
//! [erps](https://docs.rs/erps) is built on these. A program needs none of them: see the [crate root](crate).
//!
//! - *Tasks.* [`spawned`] puts a future into the current universe and lists it in
//!   [`Universe::live_resources`](crate::Universe::live_resources) under a name. [`Universe::executor`](crate::Universe::executor)
//!   is where it is to be spawned while that universe is being [run](crate::Universe::run).
//! - *Timers.* [`Alarm`], [`Clock`], [`sleep`] and [`timeout`] use the clock of the current universe. Unlike
//!   those in [`time`](crate::time) they are not listed.
//! - *Panics.* [`catch_panic`] and [`contain`] catch panics of users' code and drop their payloads safely;
//!   [`note_panic`] fails the test in whose universe the panic happened.

pub use crate::{
    current::{enter, is_simulated},
    inherit::{enlist, enlist_timer, spawned},
    network::StreamTimeouts,
    panics::{contain, note as note_panic},
    resources::Entry,
    timer::{Alarm, Clock, FOR_EVER, deadline, random_below, sleep, timeout, wall_clock},
    unwind::{Panic, Shown, catch as catch_panic},
    user_code::{Contained, Foreign},
};
