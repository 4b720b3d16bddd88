//! Futures that inherit the current universe, and resources that are listed in it.

use std::{fmt, panic::Location};

#[cfg(doc)]
use crate::inherit_fn;
use crate::{
    context::{self, TaskContext},
    future::InUniverse,
    resources::{Entry, Resource},
    universe::Universe,
};

/// Wraps a future to run in the current universe wherever it is spawned.
///
/// The universe is the one that is current at this call, not at the first poll.
///
/// In a [simulated](Universe::simulated) universe the future counts as awake from now on, since it is about to be spawned:
/// the clock stands still until the future is polled or dropped.
///
/// # Completion in a simulated universe
///
/// A task that awaits the handle of another executor's task, as of tokio or `smol::spawn`, is woken by that executor after
/// the task's future has returned. No code of this crate runs then, so it cannot know when the waiter has been woken.
/// Therefore the clock stands still for ten milliseconds of real time after a future has completed on another executor's
/// thread. If that thread is not scheduled for longer, the clock may already have advanced to the next timer, as if the
/// future had taken that long. No wake-up is lost.
///
/// This does not concern a task that waits for something the future does before it returns, such as a message on a
/// channel: it counts as awake at once. Nor does it concern [`spawn`](crate::spawn) in a universe that is
/// [run](Universe::run). The same holds for [`inherit_fn`] and the thread or pool that runs the closure.
///
/// # Example
///
/// ```
/// use test_universe::{self as universe, Universe};
///
/// let seen = Universe::new().enter(|| smol::spawn(universe::inherit(async { Universe::current() })));
/// assert!(smol::block_on(seen).is_some());
/// ```
#[track_caller]
pub fn inherit<F: Future>(future: F) -> InUniverse<F> {
    let spawned = TaskContext::spawned(format_args!("a future"), Location::caller());
    InUniverse::to_spawn_elsewhere(spawned, future)
}

/// Wraps a future to run in the current universe, listed under `description` and as created at `at`.
///
/// Unlike [`inherit`] it is for a future that the [executor](Universe::executor) of the universe runs.
pub fn spawned<F: Future>(
    description: fmt::Arguments<'_>,
    at: &'static Location<'static>,
    future: F,
) -> InUniverse<F> {
    InUniverse::to_spawn(TaskContext::spawned(description, at), future)
}

/// Lists a pending operation of the current universe, such as a call, until the entry is dropped.
///
/// If the main future of a run hangs, the report names its newest operation.
#[inline]
pub fn enlist(description: fmt::Arguments<'_>, at: &'static Location<'static>) -> Entry {
    context::with_universe(|universe| {
        let resources = &universe?.inner.resources;
        let entry = resources.add(Resource::new(description, at));
        if is_main() {
            resources.is_awaited(&entry);
        }
        Some(entry)
    })
    .unwrap_or_default()
}

/// Lists what the running code owns, such as a name, in the current universe, until the entry is dropped.
pub(crate) fn enlist_owned(
    description: fmt::Arguments<'_>,
    at: &'static Location<'static>,
) -> Entry {
    context::with_universe(|universe| {
        let resources = &universe?.inner.resources;
        Some(resources.add(Resource::new(description, at)))
    })
    .unwrap_or_default()
}

/// Lists a timer of the current universe, if the main future or a [scope](Universe::scope) has created it.
///
/// The timer of a task is not listed. A task of this universe is listed itself; one that was
/// [allowed](Universe::allow) in, or that existed before the run, is no leak of the run.
#[inline]
pub fn enlist_timer(at: &'static Location<'static>) -> Entry {
    enlist_main(format_args!("{RUNNING_TIMER}"), at)
}

/// Lists a pending operation if the main future or a [scope](Universe::scope) has begun it.
pub(crate) fn enlist_main(
    description: fmt::Arguments<'_>,
    at: &'static Location<'static>,
) -> Entry {
    let is_guest = || context::with_universe(|it| it.is_none_or(Universe::is_guest));
    match !is_main() || is_guest() {
        true => Entry::default(),
        false => enlist(description, at),
    }
}

/// Whether the running code is no spawned task.
fn is_main() -> bool {
    context::trace().is_some_and(|trace| trace.innermost().is_none())
}

pub(crate) const RUNNING_TIMER: &str = "a running timer";
