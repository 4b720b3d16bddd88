//! Entering a universe: the current one, scopes of futures and closures.

use std::panic::Location;

use crate::{
    context::{self, TaskContext},
    future::InUniverse,
    universe::Universe,
};

impl Universe {
    /// Returns the universe of the running task or closure; `None` outside of all, as in production.
    #[must_use]
    pub fn current() -> Option<Self> {
        context::with_universe(|universe| universe.cloned())
    }

    /// Wraps a future to be polled and dropped in this universe.
    ///
    /// While the future is polled, this universe replaces that of the task that awaits it.
    ///
    /// # Cancel safety
    ///
    /// The same as the future's own.
    #[track_caller]
    pub fn scope<F: Future>(&self, future: F) -> InUniverse<F> {
        self.scope_at(Location::caller(), future)
    }

    pub(crate) fn scope_at<F: Future>(
        &self,
        at: &'static Location<'static>,
        future: F,
    ) -> InUniverse<F> {
        InUniverse::new(TaskContext::entered(self, at), future)
    }

    /// Runs a closure in this universe and returns its result.
    #[track_caller]
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        TaskContext::entered(self, Location::caller()).enter(f)
    }
}
