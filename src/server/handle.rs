//! The part of a server's handle that does not depend on the server's type.

use std::sync::{Arc, OnceLock};

use crate::{ExitReason, TaskRef, send_queue::SendQueue, task::Spawner};

pub(super) struct Core {
    pub(super) task: TaskRef,
    pub(super) send_queue: Option<Arc<SendQueue>>,
    pub(super) spawner: Spawner,
    /// Set once the server accepts no messages any more, before `terminate` runs.
    stopped: OnceLock<ExitReason>,
}

impl Core {
    pub(super) fn new(task: TaskRef, send_queue: Option<Arc<SendQueue>>, spawner: Spawner) -> Self {
        Self {
            task,
            send_queue,
            spawner,
            stopped: OnceLock::new(),
        }
    }

    /// Sets the reason that senders receive whose messages are not accepted any more.
    pub(super) fn set_stopped(&self, reason: &ExitReason) {
        let first = self.stopped.set(reason.clone());
        debug_assert!(first.is_ok(), "a server exits once");
    }

    pub(super) fn is_running(&self) -> bool {
        self.stopped.get().is_none() && !self.task.is_killed_or_exited()
    }

    /// Returns why the mailbox is closed. Of a killed server this is known only once it has exited.
    pub(super) async fn stopped(&self) -> ExitReason {
        match self.stopped.get() {
            Some(reason) => reason.clone(),
            None => self.task.exited().await,
        }
    }
}
