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
//! use erps::{Sharded, Universe};
//!
//! static LIMIT: Sharded<u32> = Sharded::new(|| 10);
//!
//! fn is_full(visitors: u32) -> bool {
//!     visitors >= *LIMIT.get()
//! }
//!
//! #[erps::test]
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
//! [`erps::test`](test) makes a test of an `async fn`, in many copies at once or with many seeds if it is
//! asked to. In a plain `#[test]`, [`Universe::run`] does, or [`Universe::scope`] in a `block_on`.
//!
//! # A clock and a network of its own
//!
//! A [simulated](Universe::simulated) universe also has its own [`Clock`], which stands still while
//! anybody is at work and leaps to the next time-out when all wait; its own [chance](crate::time::random),
//! which a seed decides; and its own [`network`](crate::network), with its own ports, hosts, and faults
//! on demand. Minutes of back-off take microseconds, every test may listen on port 4747, and what failed
//! with a seed fails again with that seed. The library's time-outs, tasks and connections go by them,
//! unchanged; a program's own do that sleep with [`erps::time`](crate::time) and spawn with
//! [`erps::spawn`](crate::spawn).
//!
//! ```
//! use std::time::Duration;
//! use erps::{Universe, time};
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
//! [`Universe::run`], and with it [`erps::test`](test), checks the end: what was started and never ended
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
//! It separates tests; it is no security boundary. What holds a handle to a value may pass it on to
//! another universe, and a handle to a universe lets everybody in. The simulated network models streams
//! and faults, not TCP. What takes no part in the counting, a thread that was not carried along or a
//! real socket, does not hold the clock: time may leap while it works. Nor is all of it the seed's: TLS
//! draws its keys from the system ([`network`](crate::network) says what of that can be seen), threads of
//! others run when they run, and a program's own `HashMap`s, `select!`s, `Instant::now` and `SystemTime::now`
//! are what they are everywhere: a `BTreeMap`, and [`erps::time`](crate::time), are the same with the same seed.
//! The date is not simulated.
//!
//! The model is Elixir's Multiverses, where the universe is found through `$callers`.

mod allow;
mod attribute;
mod census;
mod check;
mod clock;
mod config;
mod current;
mod failure;
mod future;
mod here;
mod inherit;
mod mock;
mod order;
mod panics;
mod place;
mod registry;
mod run;
mod sharded;
mod sim;
mod slot;
mod spin;
mod strict;
mod verdict;
mod world;

use std::{
    fmt,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use place::Place;
pub(crate) use sim::Sim;
use world::World;

pub use allow::{AllowError, Resident, Resides};
pub use attribute::test;
pub(crate) use census::Entry;
pub use census::Made;
pub use check::Check;
pub use clock::Clock;
pub(crate) use clock::Timer;
pub use config::{Config, ConfigError};
pub(crate) use current::{
    enter, enter_host, extension, host, is_sim, is_simulated, now, sim, timer, within_host,
};
pub use failure::Outcome;
pub use future::InUniverse;
pub use here::{Here, inherit_fn};
pub use inherit::inherit;
pub(crate) use inherit::{enlist, enlist_timer, spawned};
pub use mock::Mock;
pub(crate) use panics::{contain, note as note_panic};
pub use registry::{AlreadyRegistered, Key, Registration, Registry};
pub use sharded::Sharded;
pub use strict::NoUniverse;

/// One world. Clones are handles to the same world; its values are dropped with the last one.
///
/// # Example
///
/// ```
/// use erps::Universe;
///
/// assert_eq!(Universe::current(), None);
/// let universe = Universe::new();
/// universe.enter(|| assert_eq!(Universe::current(), Some(universe.clone())));
/// ```
pub struct Universe {
    world: Arc<World>,
    /// Whether it goes on is for those to say who have a part in this. Tasks that were
    /// [allowed](Self::allow) in have none.
    life: Option<Arc<()>>,
}

impl Universe {
    /// Makes a universe in which nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with(None)
    }

    /// Makes a universe with a clock of its own and chance of its own, which `seed` decides.
    ///
    /// The time-outs of this library, and what is drawn and slept by way of [`time`](crate::time),
    /// go by that [`Clock`]. [Run](Self::run) by itself, it does the same whenever it has the same
    /// seed.
    #[must_use]
    pub fn simulated(seed: u64) -> Self {
        Self::with(Some(Arc::new(Sim::new(seed))))
    }

    fn with(sim: Option<Arc<Sim>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        place::keep_trails();
        let mut world = World::new(NEXT.fetch_add(1, Ordering::Relaxed), sim);
        let life = Arc::new(());
        world.life = Arc::downgrade(&life);
        Self {
            world: Arc::new(world),
            life: Some(life),
        }
    }

    /// Gives it a name, for those who read of it: that of a test, say.
    ///
    /// # Example
    ///
    /// ```
    /// use erps::Universe;
    ///
    /// let universe = Universe::new().named("shop::is_full");
    /// assert!(format!("{universe:?}").contains("shop::is_full"));
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        self.world.set_name(name.into().into());
        self
    }

    /// The universe of the running task or closure; `None` outside of all, as in production.
    #[must_use]
    pub fn current() -> Option<Self> {
        place::with_universe(|universe| universe.cloned())
    }

    /// A number that no other universe of this process has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.world.id
    }

    /// What lives in it, in the order it was made: tasks, calls that wait for a reply, calls to be
    /// answered, names, listeners and ends of connections of a simulated [`network`](crate::network),
    /// what was carried in by [`inherit`] and has not ended, and [sleep and time-outs](crate::time) that
    /// have begun. Of those only that no task has begun: a task is listed itself, as long as it waits.
    #[must_use]
    pub fn living(&self) -> Vec<Made> {
        self.world.census.living_since(0).into_values().collect()
    }

    /// Its own clock; `None` if it is not [simulated](Self::simulated).
    #[must_use]
    pub fn clock(&self) -> Option<Clock> {
        self.world.sim.clone().map(Clock)
    }

    /// What decides its chance; `None` if it is not [simulated](Self::simulated).
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        Some(self.world.sim.as_ref()?.seed)
    }

    /// Makes a future that lives in this universe: whenever it is polled, and when it is dropped.
    ///
    /// It replaces the universe of whoever awaits it, for that future only.
    ///
    /// # Cancel safety
    ///
    /// The same as the future's own.
    #[track_caller]
    pub fn scope<F: Future>(&self, future: F) -> InUniverse<F> {
        self.scope_at(Location::caller(), future)
    }

    fn scope_at<F: Future>(&self, at: &'static Location<'static>, future: F) -> InUniverse<F> {
        InUniverse::new(Place::entered(self, at), future)
    }

    /// Runs a closure in this universe and returns what it returns.
    #[track_caller]
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        Place::entered(self, Location::caller()).enter(f)
    }
}

impl Default for Universe {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Universe {
    fn clone(&self) -> Self {
        let life = self.life.clone();
        Self {
            world: Arc::clone(&self.world),
            life: life.or_else(|| self.world.life.upgrade()),
        }
    }
}

/// Handles are equal when they are handles to the same universe.
impl PartialEq for Universe {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Universe {}

impl fmt::Debug for Universe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("Universe");
        tuple.field(&self.id());
        if let Some(name) = self.world.name() {
            tuple.field(&name);
        }
        tuple.finish()
    }
}

impl Universe {
    /// How it is called in what people read.
    fn title(&self) -> String {
        title(self.id(), self.world.name().as_deref())
    }
}

/// How a universe is called in what people read.
fn title(id: u64, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("the universe `{name}`"),
        None => format!("universe {id}"),
    }
}
