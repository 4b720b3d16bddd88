//! The life of a task as the library sees it: how it is asked to end, and what happens when it has.

use std::{
    sync::{MutexGuard, PoisonError, atomic::Ordering},
    task::{Context, Poll},
};

use super::{
    Shutdown, TaskRef,
    handle::{Facts, Life},
};
use crate::{ExitReason, universe::integration::contain};

impl TaskRef {
    /// Asks the task to end with `reason`. The first to ask is heard; a task that was killed hears
    /// nobody, for it might still be running and take leave of others.
    pub(crate) fn request_exit(&self, reason: ExitReason) {
        let waiter = match &mut *self.life() {
            Life::Running {
                request: request @ None,
                killed: false,
                waiter,
                ..
            } => {
                *request = Some(reason);
                self.shared.asked.store(true, Ordering::Release);
                waiter.take()
            }
            _ => None,
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        self.shared.changed.notify(usize::MAX);
    }

    /// For the task itself: ready, at every poll, once it has been asked to end.
    pub(crate) fn poll_exit_request(&self, cx: &mut Context<'_>) -> Poll<ExitReason> {
        match &mut *self.life() {
            Life::Running {
                request: Some(reason),
                ..
            }
            | Life::Ended(reason) => Poll::Ready(reason.clone()),
            Life::Running { waiter, .. } => {
                match waiter {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waiter = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    /// As [`poll_exit_request`](Self::poll_exit_request), without waiting and without a lock.
    pub(crate) fn exit_requested(&self) -> bool {
        self.shared.asked.load(Ordering::Acquire)
    }

    /// Calls `watcher` with the reason when the task has ended, or now if it has already.
    ///
    /// It runs in the task's last moments and must not block. When [`exited`](Self::exited)
    /// answers, it has run.
    pub(crate) fn on_exit(&self, watcher: impl FnOnce(&ExitReason) + Send + 'static) {
        let reason = match &mut *self.life() {
            Life::Running { watchers, .. } => {
                watchers.push(Box::new(watcher));
                return;
            }
            Life::Ended(reason) => reason.clone(),
        };
        watcher(&reason);
    }

    /// Tells whether the task was killed, or has ended: what it owns is being dropped, or is gone.
    pub(crate) fn is_doomed(&self) -> bool {
        match &*self.life() {
            Life::Running { killed, .. } => *killed,
            Life::Ended(_) => true,
        }
    }

    /// The task has children of its own: whoever ends it waits until they have ended, however long they
    /// are given.
    pub(crate) fn becomes_parent(&self) {
        self.shared.parent.store(true, Ordering::Relaxed);
    }

    /// How it is ended by those who do not say how.
    pub(super) fn usual_shutdown(&self) -> Shutdown {
        match self.shared.parent.load(Ordering::Relaxed) {
            true => Shutdown::Infinity,
            false => Shutdown::default(),
        }
    }

    /// Has the task tell this of itself. The first to say something is believed.
    pub(crate) fn tell(&self, facts: impl Facts) {
        let _ = self.shared.facts.set(Box::new(facts));
    }

    pub(crate) fn facts(&self) -> Option<&dyn Facts> {
        self.shared.facts.get().map(|facts| &**facts)
    }

    pub(crate) fn universe_id(&self) -> Option<u64> {
        self.shared.universe
    }

    /// From now on the other task is in whatever universe this one is allowed into.
    pub(crate) fn take_along(&self, other: &Self) {
        self.shared.resident.take_along(&other.shared.resident);
    }

    pub(super) fn guard(&self) -> Guard {
        Guard(Some(self.clone()))
    }

    /// Takes the executor's handle, unless the task has already run to its end.
    pub(super) fn keep(&self, handle: smol::Task<()>) {
        match &mut *self.life() {
            Life::Running { killed: true, .. } => drop(handle),
            Life::Running { task, .. } => *task = Some(handle),
            Life::Ended(_) => handle.detach(),
        }
    }

    pub(super) fn end(&self, reason: ExitReason) {
        let ended = std::mem::replace(&mut *self.life(), Life::Ended(reason.clone()));
        if let Life::Running {
            task,
            watchers,
            links,
            ..
        } = ended
        {
            if let Some(task) = task {
                task.detach();
            }
            for watcher in watchers {
                contain("a watcher of a task panicked", || watcher(&reason));
            }
            for other in links.into_values().filter_map(|it| it.upgrade()) {
                Self { shared: other }.struck(self.id(), &reason);
            }
        }
        self.shared.resident.end();
        self.shared.told.store(true, Ordering::Release);
        self.shared.changed.notify(usize::MAX);
    }

    pub(super) fn life(&self) -> MutexGuard<'_, Life> {
        self.shared
            .life
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by a task for all of its life. Dropped unused, the task was killed.
pub(super) struct Guard(Option<TaskRef>);

impl Guard {
    pub(super) fn ended(mut self, reason: ExitReason) {
        if let Some(task) = self.0.take() {
            task.end(reason);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.end(ExitReason::Killed);
        }
    }
}
