//! Work of a server that a drain waits for.

use std::{fmt, sync::Arc};

use super::{Context, Server};
use crate::send_queue::SendQueue;

/// Work that a drain waits for. Made by [`Context::busy`]; the work ends when this is dropped.
#[must_use = "the work ends when this is dropped"]
pub struct Busy {
    /// `None` if the server has no connection.
    send_queue: Option<Arc<SendQueue>>,
}

impl<S: Server> Context<S> {
    /// Returns a guard during whose life the server counts as busy: a drain of its daemon waits for it, as for an
    /// unanswered call, and reads the peer's packets meanwhile.
    ///
    /// For work that no call is in flight for, such as a job that the peer has taken and will report as done with another
    /// call. The guard may be kept in the server's state or moved to another task. At the deadline that
    /// [`handle_drain`](Server::handle_drain) receives, the server is shut down, busy or not.
    ///
    /// Has no effect on a server without a connection, which is not drained.
    pub fn busy(&self) -> Busy {
        let send_queue = self.this().shared_send_queue();
        if let Some(send_queue) = &send_queue {
            send_queue.busy_began();
        }
        Busy { send_queue }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(send_queue) = &self.send_queue {
            send_queue.busy_ended();
        }
    }
}

impl fmt::Debug for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Busy").finish_non_exhaustive()
    }
}
