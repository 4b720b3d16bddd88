//! What carries a universe to where no future goes: closures and callbacks.

use std::{fmt, panic::Location, sync::Arc};

use crate::unwind;
use crate::{
    InUniverse, Universe,
    census::Entry,
    panics,
    place::Place,
    sim::{Sim, Watch},
};

/// The current universe, to be gone back to from elsewhere, as often as one likes.
///
/// For callbacks that are kept and called many times, by whomever, with whatever arguments. What runs
/// once is carried by [`inherit`](crate::inherit) and [`inherit_fn`].
///
/// It is a handle to the universe, which lasts as long as the callback is kept. So a callback that is kept
/// in a static of that very universe keeps it, and itself, for ever: [clear](crate::Sharded::clear) the
/// static at the end. Captured in no universe, it leads to none.
///
/// # Example
///
/// ```
/// use test_universe::{Sharded, Universe, Here};
/// use std::{sync::Mutex, thread};
///
/// static TOTAL: Sharded<Mutex<u32>> = Sharded::new(Mutex::default);
///
/// let test = Universe::new();
/// let here = test.enter(Here::capture);
/// let add = move |n: u32| here.enter(|| *TOTAL.get().lock().unwrap() += n);
/// thread::spawn(move || (1..4).for_each(add)).join().unwrap();
/// assert_eq!(test.enter(|| *TOTAL.get().lock().unwrap()), 6);
/// assert_eq!(*TOTAL.get().lock().unwrap(), 0);
/// ```
#[derive(Clone)]
pub struct Here {
    place: Place,
}

impl Here {
    /// Where the caller is.
    #[must_use]
    pub fn capture() -> Self {
        Self {
            place: Place::here(),
        }
    }

    /// Runs a closure there and returns what it returns.
    ///
    /// In a [simulated](Universe::simulated) universe the clock stands still meanwhile. So a closure
    /// that waits for that clock waits for ever; [`scope`](Self::scope) is for those.
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        let _awake = Awake::begin(self.place.sim());
        self.place.enter(f)
    }

    /// Makes a future that lives there.
    ///
    /// A thread that waits for the clock of a simulated universe does so with it:
    /// `block_on(here.scope(time::sleep(..)))`.
    ///
    /// # Cancel safety
    ///
    /// The same as the future's own.
    pub fn scope<F: Future>(&self, future: F) -> InUniverse<F> {
        InUniverse::new(self.place.clone(), future)
    }

    /// The universe that it leads to.
    #[must_use]
    pub fn universe(&self) -> Option<&Universe> {
        self.place.universe.as_ref()
    }
}

impl fmt::Debug for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Here").field(&self.place.universe).finish()
    }
}

/// Carries the current universe into a closure that runs elsewhere: on a thread, or in a pool.
///
/// In a [simulated](Universe::simulated) universe the clock stands still from now on until the
/// closure has run, or has been dropped: who waits for it is asleep, and no time-out is to pass
/// meanwhile; who waits by a handle of the thread, as [`inherit`](crate::inherit#its-end-in-a-simulated-universe)
/// says. So a thread that itself waits for that clock would wait for ever. It is given a
/// [`Here`] instead, and waits in [`Here::scope`].
///
/// # Example
///
/// ```
/// use test_universe::{self as universe, Universe};
///
/// let thread = Universe::new().enter(|| std::thread::spawn(universe::inherit_fn(Universe::current)));
/// assert!(thread.join().unwrap().is_some());
/// ```
#[track_caller]
pub fn inherit_fn<R>(f: impl FnOnce() -> R) -> impl FnOnce() -> R {
    let (place, entry) = Place::spawned(format_args!("a closure"), Location::caller());
    let carried = Carried {
        f: Some(f),
        _awake: Awake::begin(place.sim()),
        _entry: entry,
        place,
    };
    move || carried.run()
}

/// A closure that is run, or dropped, where it was made.
struct Carried<F> {
    f: Option<F>,
    place: Place,
    // Until all of the closure is gone.
    _awake: Awake,
    _entry: Entry,
}

impl<F> Carried<F> {
    fn run<R>(mut self) -> R
    where
        F: FnOnce() -> R,
    {
        let f = self
            .f
            .take()
            .expect("it is taken once, by those who have it");
        self.place.enter(|| {
            // Whoever runs it may keep its panic to itself.
            unwind::catch(f).unwrap_or_else(|panic| {
                panics::note(&panic);
                panic.resume()
            })
        })
    }
}

/// If it has not been run. What it owns is dropped in its universe, as what a future owns.
impl<F> Drop for Carried<F> {
    fn drop(&mut self) {
        if let Some(f) = self.f.take() {
            self.place.enter(|| drop(f));
        }
    }
}

/// Counts as awake in a simulated universe, until it is dropped.
struct Awake {
    _watch: Watch,
}

impl Awake {
    fn begin(sim: Option<&Arc<Sim>>) -> Self {
        let _watch = Watch::begin_abroad(sim);
        Self { _watch }
    }
}
