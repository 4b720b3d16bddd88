//! What happens when a task exits: its watchers run, and linked tasks exit with it.

use std::sync::{Arc, atomic::Ordering};

use super::{TaskRef, handle::Life};
use crate::{ExitReason, universe::integration::contain};

impl TaskRef {
    /// Links two tasks: when one exits with any reason but [`Normal`](ExitReason::Normal), the other is
    /// asked to exit with the same reason, and killed if it has not exited after five seconds. A
    /// supervisor or a daemon is not killed: its children have their own time limits. OTP's link.
    ///
    /// A second link between the same two has no effect. If one of them has exited already, the other
    /// is treated as if it exited now. Unlike in OTP the exit cannot be trapped, and the linked task
    /// has time for an orderly exit.
    pub fn link(&self, other: &Self) {
        if self == other {
            return;
        }
        for (one, of) in [(self, other), (other, self)] {
            let exited = match &mut *one.life() {
                Life::Running { links, .. } => {
                    links.insert(of.id(), Arc::downgrade(&of.shared));
                    continue;
                }
                Life::Exited(reason) => reason.clone(),
            };
            return of.linked_exited(one.id(), &exited);
        }
    }

    /// Removes the link between two tasks.
    pub fn unlink(&self, other: &Self) {
        for (one, of) in [(self, other), (other, self)] {
            if let Life::Running { links, .. } = &mut *one.life() {
                links.remove(&of.id());
            }
        }
    }

    /// Handles the exit of the linked task with this id.
    pub(super) fn linked_exited(&self, id: u64, reason: &ExitReason) {
        if let Life::Running { links, .. } = &mut *self.life() {
            links.remove(&id);
        }
        if !matches!(reason, ExitReason::Normal) {
            self.request_exit(reason.clone());
            self.begin_shutdown(self.default_shutdown());
        }
    }

    /// Calls `watcher` with the reason when the task exits, or now if it has exited.
    ///
    /// It runs as the last thing in the task and must not block. It has run when
    /// [`exited`](Self::exited) returns.
    pub(crate) fn on_exit(&self, watcher: impl FnOnce(&ExitReason) + Send + 'static) {
        let reason = match &mut *self.life() {
            Life::Running { watchers, .. } => {
                watchers.push(Box::new(watcher));
                return;
            }
            Life::Exited(reason) => reason.clone(),
        };
        watcher(&reason);
    }

    pub(super) fn guard(&self) -> Guard {
        Guard(Some(self.clone()))
    }

    /// Takes the executor's handle, unless the task has already exited.
    pub(super) fn keep(&self, handle: smol::Task<()>) {
        match &mut *self.life() {
            Life::Running { killed: true, .. } => drop(handle),
            Life::Running { task, .. } => *task = Some(handle),
            Life::Exited(_) => handle.detach(),
        }
    }

    fn exit(&self, reason: ExitReason) {
        let before = std::mem::replace(&mut *self.life(), Life::Exited(reason.clone()));
        if let Life::Running {
            task,
            watchers,
            links,
            ..
        } = before
        {
            if let Some(task) = task {
                task.detach();
            }
            for watcher in watchers {
                contain("a watcher of a task panicked", || watcher(&reason));
            }
            for other in links.into_values().filter_map(|it| it.upgrade()) {
                Self { shared: other }.linked_exited(self.id(), &reason);
            }
        }
        self.shared.resident.end();
        self.shared.reported.store(true, Ordering::Release);
        self.shared.changed.notify(usize::MAX);
    }
}

/// Held by a task while it runs. Dropped unused, it reports that the task was killed.
pub(super) struct Guard(Option<TaskRef>);

impl Guard {
    pub(super) fn exited(mut self, reason: ExitReason) {
        if let Some(task) = self.0.take() {
            task.exit(reason);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.exit(ExitReason::Killed);
        }
    }
}
