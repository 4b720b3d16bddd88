//! Closures and callbacks that run in the universe of the code that made them.

use std::{fmt, panic::Location, sync::Arc};

use crate::{
    context::TaskContext,
    future::InUniverse,
    panics,
    resources::Entry,
    sim::{Sim, watch::Watch},
    universe::Universe,
    unwind,
};

/// The current universe and host, captured to be entered again from other code, any number of times.
///
/// It is for callbacks that are kept and called many times. For a future or a closure that runs once, use
/// [`inherit`](crate::inherit) and [`inherit_fn`].
///
/// It keeps the universe alive as long as the callback is kept. A callback in a static of that very universe therefore
/// keeps itself alive for ever: [clear](crate::Sharded::clear) the static at the end. Captured in no universe, it enters
/// none.
///
/// # Example
///
/// ```
/// use test_universe::{CapturedContext, Sharded, Universe};
/// use std::{sync::Mutex, thread};
///
/// static TOTAL: Sharded<Mutex<u32>> = Sharded::new(Mutex::default);
///
/// let test = Universe::new();
/// let context = test.enter(CapturedContext::capture);
/// let add = move |n: u32| context.enter(|| *TOTAL.get().lock().unwrap() += n);
/// thread::spawn(move || (1..4).for_each(add)).join().unwrap();
/// assert_eq!(test.enter(|| *TOTAL.get().lock().unwrap()), 6);
/// assert_eq!(*TOTAL.get().lock().unwrap(), 0);
/// ```
#[derive(Clone)]
pub struct CapturedContext {
    context: TaskContext,
}

impl CapturedContext {
    /// Captures the context of the caller.
    #[must_use]
    pub fn capture() -> Self {
        Self {
            context: TaskContext::current(),
        }
    }

    /// Runs a closure in the captured context and returns its result.
    ///
    /// In a [simulated](Universe::simulated) universe the clock stands still meanwhile, so that a closure that waits for
    /// that clock never returns. Use [`scope`](Self::scope) for that.
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        let _awake = Awake::begin(self.context.sim());
        self.context.enter(f)
    }

    /// Wraps a future to run in the captured context.
    ///
    /// A thread can wait for the clock of a simulated universe with it: `block_on(context.scope(time::sleep(..)))`.
    ///
    /// # Cancel safety
    ///
    /// The same as the future's own.
    pub fn scope<F: Future>(&self, future: F) -> InUniverse<F> {
        InUniverse::new(self.context.clone(), future)
    }

    /// Returns the captured universe.
    #[must_use]
    pub fn universe(&self) -> Option<&Universe> {
        self.context.universe.as_ref()
    }
}

impl fmt::Debug for CapturedContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CapturedContext")
            .field(&self.context.universe)
            .finish()
    }
}

/// Wraps a closure to run in the current universe, on a thread or in a pool.
///
/// In a [simulated](Universe::simulated) universe the clock stands still from now on until the closure has returned or was
/// dropped: a task that waits for it is asleep, and no time-out is to fire meanwhile. A task that waits for the handle of
/// the thread is woken [later](crate::inherit#completion-in-a-simulated-universe). A thread that itself waits for that clock
/// would wait for ever: capture a [`CapturedContext`] for it and wait in [`CapturedContext::scope`].
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
    let (context, entry) = TaskContext::spawned(format_args!("a closure"), Location::caller());
    let inheriting = Inheriting {
        f: Some(f),
        _awake: Awake::begin(context.sim()),
        _entry: entry,
        context,
    };
    move || inheriting.run()
}

/// A closure that is run or dropped in the context it was made in.
struct Inheriting<F> {
    f: Option<F>,
    context: TaskContext,
    // Dropped after the closure.
    _awake: Awake,
    _entry: Entry,
}

impl<F> Inheriting<F> {
    fn run<R>(mut self) -> R
    where
        F: FnOnce() -> R,
    {
        let f = self
            .f
            .take()
            .expect("only `run` and the destructor take it out");
        self.context.enter(|| {
            // The thread or pool may not report the panic.
            unwind::catch(f).unwrap_or_else(|panic| {
                panics::note(&panic);
                panic.resume()
            })
        })
    }
}

/// Drops a closure that was not run in its universe: destructors use statics.
impl<F> Drop for Inheriting<F> {
    fn drop(&mut self) {
        if let Some(f) = self.f.take() {
            self.context.enter(|| drop(f));
        }
    }
}

/// Counts as an awake future of a simulated universe until it is dropped.
struct Awake {
    _watch: Watch,
}

impl Awake {
    fn begin(sim: Option<&Arc<Sim>>) -> Self {
        let _watch = Watch::begin_foreign(sim);
        Self { _watch }
    }
}
