//! What is carried into a universe, and what is listed there.

use std::{fmt, panic::Location};

use crate::{
    InUniverse,
    census::{Entry, Made},
    place::{self, Place},
};
#[cfg(doc)]
use crate::{Universe, inherit_fn};

/// Carries the current universe into a future that someone else spawns.
///
/// The universe is the one current *now*, at this call, not at the first poll.
///
/// In a [simulated](Universe::simulated) universe the future counts as awake from now on, for it is about
/// to be spawned: until it is polled for the first time, or dropped, the clock stands still.
///
/// # Its end in a simulated universe
///
/// Whoever waits for a task by the handle of another executor, as of tokio or of `smol::spawn`, is woken by
/// that executor when the task's future has returned. Nothing of this library is called then, so that it
/// cannot know when that has happened. It guesses: the clock stands still for ten milliseconds of real time
/// after the end of a future on a thread of others. An executor whose thread gets no turn for so long wakes
/// its waiter late, and only then the clock may have leapt meanwhile to the next time-out of all, as if the
/// future had taken that long. Nothing else comes of it: no wake-up is lost.
///
/// It cannot happen to who waits for something that the future itself does before it returns, as to send its
/// result on a channel: who is woken by that counts as awake at once. Nor with [`spawn`](crate::spawn)
/// in a universe that is [run](Universe::run). The same holds for [`inherit_fn`] and the thread or pool
/// that runs the closure.
///
/// # Example
///
/// ```
/// use test_universe::{self as universe, Universe};
///
/// let seen = Universe::new().enter(|| smol::spawn(universe::inherit(async { Universe::current() })));
/// assert!(async_io::block_on(seen).is_some());
/// ```
#[track_caller]
pub fn inherit<F: Future>(future: F) -> InUniverse<F> {
    let spawned = Place::spawned(format_args!("a future"), Location::caller());
    InUniverse::to_hand_out(spawned, future)
}

/// As [`inherit`], for what has a name of its own and was made elsewhere.
pub fn spawned<F: Future>(
    what: fmt::Arguments<'_>,
    at: &'static Location<'static>,
    future: F,
) -> InUniverse<F> {
    InUniverse::to_spawn(Place::spawned(what, at), future)
}

/// Lists something among what lives in the current universe, if there is one, until it is dropped.
#[inline]
pub fn enlist(what: fmt::Arguments<'_>, at: &'static Location<'static>) -> Entry {
    place::with_universe(|universe| {
        let census = &universe?.world.census;
        Some(census.enter(Made::new(what, at)))
    })
    .unwrap_or_default()
}

/// As [`enlist`], for a timer that the main future begins, or one that was put in a
/// [scope](Universe::scope). That of a task is the task's affair, which is listed itself if it is one of
/// this universe: it may have been there before the run, or [allowed](Universe::allow) in.
#[inline]
pub fn enlist_timer(at: &'static Location<'static>) -> Entry {
    let is_guest = || place::with_universe(|it| it.is_none_or(|it| it.life.is_none()));
    let is_task = || place::trail().is_none_or(|path| !path.hops.is_empty());
    match is_guest() || is_task() {
        true => Entry::default(),
        false => enlist(format_args!("{RUNNING_TIMER}"), at),
    }
}

pub(crate) const RUNNING_TIMER: &str = "a running timer";
