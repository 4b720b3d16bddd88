//! Isolated parallel tests in one process: statics, names, mocks, configuration, time and network per test.
//!
//! # Why
//!
//! `cargo test` runs tests in parallel in one process. Two tests that change one static, register one name, listen on one
//! port or replace one mailer see each other's changes and fail now and then. The usual remedies are one thread, one
//! process per test, or passing every value through every function. Tests that wait for time-outs are slow, and tests of a
//! broken network are rarely written. With this crate a test runs in a [`Universe`]. A static has one value per universe,
//! and one for code in no universe, which is all code in production. Production code does not change.
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
//! - [`Config`]: named values. A universe reads the outer value until it changes its own.
//! - [`Registry`]: names of running tasks.
//! - [`Mock`]: a trait object, in production the real one.
//!
//! [`test_universe::test`](test) turns an `async fn` into a test, in many copies at once or with many seeds on demand. In a
//! plain `#[test]`, use [`Universe::run`], or [`Universe::scope`] in a `block_on`.
//!
//! # Simulated time and network
//!
//! A [simulated](Universe::simulated) universe also has its own [`Clock`], which stands still while a task runs and
//! advances to the next timer when all wait; its own [random numbers](crate::time::random), drawn from a seed; and its own
//! [`network`], with ports, hosts, and faults on demand. Minutes of back-off take microseconds, every test may listen on
//! port 4747, and what failed with a seed fails again with that seed. Programs sleep with [`test_universe::time`](crate::time),
//! spawn with `test_universe::spawn` and run blocking work with `test_universe::unblock` (feature `smol`).
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
//! # What is inherited
//!
//! A universe is *current* while a future of [`Universe::scope`] is polled or dropped, and while a closure given to
//! [`Universe::enter`] runs. It belongs to the task, not to the thread: futures of many universes may take turns on one
//! thread.
//!
//! - A task that this crate spawns, or a library that is built on it, is in the universe that was current at the call.
//! - A task or thread that other code spawns is in none, unless it is wrapped: `tokio::spawn(universe::inherit(..))`,
//!   `thread::spawn(universe::inherit_fn(..))`. The same holds for thread pools. A callback that is called many times
//!   uses a [`CapturedContext`].
//! - A task that existed before the test can be [allowed](Universe::allow) into a universe, by its handle or by its
//!   [name](Universe::allow_name).
//! - The [host](crate::network::Host) of a simulated network is inherited with the universe.
//! - A test in no universe sees the production values. [Strict](#strict-mode) statics detect that.
//! - Plain statics, thread-locals, the environment, the file system, and real sockets and timers are shared by all tests.
//!
//! # Strict mode
//!
//! If a universe is not inherited, code silently uses the production value. A strict static ([`Sharded::strict`]) has no
//! such value: used in no universe it panics or returns [`NoUniverse`], which names the static, the spawns that led there as
//! far as they are known, and the fix. Production is in no universe either, so make a production static strict in test
//! builds only.
//!
//! # Leaks
//!
//! [`Universe::run`], and with it [`test_universe::test`](test), checks the end: what was started and has not ended is
//! cancelled, and fails the test with a list of what it is and where it was created: tasks, calls, timers, names, listeners
//! and connections of a simulated network. [`Universe::live_resources`] returns the same list at any time.
//!
//! The values of a universe are dropped with the last handle to it, in it, so that destructors find the other values of
//! their universe. A future or closure that inherited it is such a handle.
//!
//! # Costs
//!
//! In no universe: reading a [`Sharded`] takes a look at a thread-local, an uncontended lock and a reference count. In a
//! universe: another lock, and a few allocations per spawn, for the spawn trace that [`NoUniverse`] prints and for the list
//! of live resources. In a simulated one, each wake-up and poll is counted. A process that never creates a universe keeps no
//! traces and no lists.
//!
//! # Limits
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
//! The model is Elixir's Multiverses, which finds the universe through `$callers`.

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

/// The code in the README, compiled and run with the documentation tests.
#[cfg(all(doctest, feature = "smol"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
#[allow(unused_extern_crates, reason = "the test attribute names it")]
extern crate self as test_universe;
