//! The task-local universe: the world that a test, and everything it starts, lives in.
//!
//! # Why
//!
//! `cargo test` runs tests at once, in one process. Two tests that change one static, register one
//! name, listen on one port or replace one mailer see each other's changes, and fail now and then. The
//! usual ways out are one thread, one process per test, or every value handed through every function.
//! Tests that wait for time-outs are slow, and those of a broken network are not written at all. Here a
//! test makes a [`Universe`] and runs in it. What is sharded has one value per universe, and one more
//! for code in no universe, which is all code in production. Production code does not change.
//!
//! # How
//!
//! ```
//! use test_universe::{Sharded, Universe};
//!
//! static LIMIT: Sharded<u32> = Sharded::new(|| 10);
//!
//! fn is_full(visitors: u32) -> bool {
//!     visitors >= *LIMIT.get()
//! }
//!
//! #[test_universe::test]
//! async fn a_small_shop_is_full_sooner() {
//!     LIMIT.set(1);
//!     assert!(is_full(1));
//! }
//!
//! // Another test at the same time, or production:
//! assert!(!is_full(1));
//! # Universe::new().run(async { LIMIT.set(1); assert!(is_full(1)); });
//! ```
//!
//! - [`Sharded`]: a static with a value per universe.
//! - [`Config`]: named values, which a universe reads from outside until it changes them.
//! - [`Registry`]: names for what is running.
//! - [`Mock`]: a trait object, in production the real one.
//!
//! [`test_universe::test`](test) makes a test of an `async fn`, in many copies at once or with many seeds if it is
//! asked to. In a plain `#[test]`, [`Universe::run`] does, or [`Universe::scope`] in a `block_on`.
//!
//! # A clock and a network of its own
//!
//! A [simulated](Universe::simulated) universe also has its own [`Clock`], which stands still while
//! anybody is at work and leaps to the next time-out when all wait; its own [chance](crate::time::random),
//! which a seed decides; and its own [`network`], with its own ports, hosts, and faults
//! on demand. Minutes of back-off take microseconds, every test may listen on port 4747, and what failed
//! with a seed fails again with that seed. The library's time-outs, tasks and connections go by them,
//! unchanged; a program's own do that sleep with [`test_universe::time`](crate::time) and spawn with
//! [`test_universe::spawn`](crate::spawn).
//!
//! ```
//! use std::time::Duration;
//! use test_universe::{Universe, time};
//!
//! Universe::simulated(1).run(async {
//!     let start = time::now();
//!     time::sleep(Duration::from_secs(3600)).await;
//!     assert_eq!(time::now() - start, Duration::from_secs(3600));
//! });
//! ```
//!
//! # What is inherited, and what is not
//!
//! A universe is *current* while a future made by [`Universe::scope`] is polled or dropped, and while a
//! closure given to [`Universe::enter`] runs. It is found through the task, not through the thread:
//! futures of many universes may take turns on one thread.
//!
//! - Every task that this library spawns is in the universe that was current at the call: servers,
//!   clients, restarts by a supervisor, timers.
//! - Tasks and threads that others spawn are in none, unless one word carries the current one into them:
//!   `tokio::spawn(universe::inherit(..))`, `thread::spawn(universe::inherit_fn(..))`. The same holds for
//!   pools and for `smol::unblock`. A callback that is kept, and called many times, carries a [`Here`].
//! - What was there before the test, and belongs to none, is in a universe once that one
//!   [allows](Universe::allow) it in, by its handle or by its [name](Universe::allow_name).
//! - The [host](crate::network::Host) of a simulated network that code is on goes where its universe does.
//! - A test that is in no universe sees the values of production, as others like it do. [Strict](#strict-mode)
//!   statics find those as well.
//! - Plain statics, thread-locals, the environment, the file system, and sockets and timers that a
//!   program makes by itself are shared by all.
//!
//! # Strict mode
//!
//! A universe that was not carried along is lost without a sound: the code runs on, with the value of
//! production. A strict static ([`Sharded::strict`]) has no such value. Asked for in no universe it
//! panics or returns [`NoUniverse`], which says what was asked for, who spawned those who asked as far
//! as that is known, and what to do. Production is in no universe either, so a static of production is
//! strict in test builds only.
//!
//! # When it ends
//!
//! [`Universe::run`], and with it [`test_universe::test`](test), checks the end: what was started and never ended
//! is cancelled, and makes it fail with a list of what that is and where it was made: servers, clients,
//! calls, timers, names, listeners and connections of a simulated network. A clean end is silent.
//! [`Universe::living`] is the same list at any time.
//!
//! The values of a universe are dropped with the last handle to it, in it: destructors find the other
//! values of their universe. A future or closure that inherited it is such a handle.
//!
//! # What it costs
//!
//! In no universe: reading a [`Sharded`] takes a look at a thread-local, an uncontended lock, and a
//! handle; each poll of a task of the library sets a thread-local. In a universe: another lock, and per
//! spawn and per call a few allocations, for the trail of spawns that [`NoUniverse`] prints and for the
//! list of what lives. In a simulated one, each wake-up and poll is counted. A process that never makes
//! a universe keeps no trails and no lists. `benches/` measures all of it.
//!
//! # What it is not
//!
//! A universe separates tests; it is not a security boundary: a value's handle can be passed to another universe, and a
//! universe's handle gives access to it. The simulated network models streams and faults, not TCP.
//!
//! Only tasks and timers of the universe hold the simulated clock. A thread that has not inherited the universe, and a
//! real socket, do not: time may advance while they work. The seed does not determine everything either. TLS draws its
//! keys from the system ([`network`] says what of that is visible), threads outside the universe are scheduled by the
//! system, and `HashMap`, `select!`, `Instant::now` and `SystemTime::now` of a program behave as everywhere. For
//! reproducible runs use a `BTreeMap`, and [`test_universe::time`](crate::time). The date is not simulated.
//!
//! The model is Elixir's Multiverses, where the universe is found through `$callers`.

mod allow;
mod attribute;
mod captured;
mod check;
mod clock;
mod config;
mod context;
mod current;
mod failure;
mod future;
mod inherit;
mod inner;
pub mod integration;
mod limits;
mod mock;
pub mod network;
mod panic_log;
mod panics;
mod registry;
mod report;
mod resident;
mod resources;
mod run;
mod run_settings;
mod scope;
mod shard;
mod sharded;
mod sim;
#[cfg(feature = "smol")]
mod spawn;
mod strict;
mod teardown;
pub mod time;
mod timer;
mod trace;
#[cfg(feature = "smol")]
mod unblock;
mod universe;
mod unwind;
mod user_code;

pub use attribute::test;
pub use captured::{CapturedContext, inherit_fn};
pub use check::Check;
pub use clock::Clock;
pub use config::{Config, ConfigError};
pub use failure::Outcome;
pub use future::InUniverse;
pub use inherit::inherit;
pub use mock::Mock;
pub use network::{Host, Network};
pub use registry::{AlreadyRegistered, Key, Registration, Registry};
pub use resident::{AllowError, Resident, Resides};
pub use resources::Resource;
pub use sharded::Sharded;
#[cfg(feature = "smol")]
pub use spawn::spawn;
pub use strict::NoUniverse;
#[cfg(feature = "smol")]
pub use unblock::unblock;
pub use universe::Universe;

#[cfg(test)]
#[allow(unused_extern_crates, reason = "the test attribute names it")]
extern crate self as test_universe;
