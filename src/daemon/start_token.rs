//! The token that lets a connection start one server.
//!
//! ```text
//! Unused --> Taken --> Starting --> Ready      the start function of the server's specification runs
//!    |         |          |           |
//!    +---------+----------+-----------+--> Void      no reply in time, or no child started
//! ```
//!
//! It has two holders: the specification of the server, wherever the supervisor keeps it, and the
//! connection's own task, which enforces the time limit.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::permit::Permit;
use crate::{PeerInfo, Shutdown, TaskRef, transport::BoxedStream};

/// The token that lets a connection start one server.
#[derive(Clone)]
pub(super) struct StartToken(Arc<Mutex<Stage>>);

/// A connection whose handshake is complete.
pub(super) type Secured = (Permit, BoxedStream, PeerInfo);

enum Stage {
    Unused(Secured),
    Taken,
    /// Its server runs `init`.
    Starting(TaskRef),
    Ready(TaskRef),
    /// No server may start. One that is spawned later is killed.
    Void,
}

impl StartToken {
    pub(super) fn new(connection: Secured) -> Self {
        Self(Arc::new(Mutex::new(Stage::Unused(connection))))
    }

    /// Takes the connection, to start its server. Only the first call returns it.
    pub(super) fn take(&self) -> Option<Secured> {
        let mut stage = self.stage();
        match mem::replace(&mut *stage, Stage::Taken) {
            Stage::Unused(connection) => Some(connection),
            other => {
                *stage = other;
                None
            }
        }
    }

    pub(super) fn is_taken(&self) -> bool {
        !matches!(*self.stage(), Stage::Unused(_))
    }

    /// Notes that the server is spawned, and about to run `init`.
    pub(super) fn spawned(&self, server: &TaskRef) {
        let mut stage = self.stage();
        if matches!(*stage, Stage::Void) {
            drop(stage);
            server.kill();
        } else {
            *stage = Stage::Starting(server.clone());
        }
    }

    /// Notes that `init` has succeeded.
    pub(super) fn ready(&self) {
        let mut stage = self.stage();
        if let Stage::Starting(server) = &*stage {
            *stage = Stage::Ready(server.clone());
        }
    }

    /// Closes a connection that has no server yet. A specification that was kept starts nothing
    /// afterwards.
    pub(super) fn close(&self) {
        let mut stage = self.stage();
        if matches!(*stage, Stage::Unused(_)) {
            let unused = mem::replace(&mut *stage, Stage::Void);
            // The stream may be the user's: it is dropped without the lock.
            drop(stage);
            drop(unused);
        }
    }

    /// Closes the connection, and shuts its server down, if any. A server that is still in `init` is
    /// killed: `init` might never return.
    pub(super) fn cancel(&self, how: Shutdown) {
        let stage = mem::replace(&mut *self.stage(), Stage::Void);
        match stage {
            Stage::Starting(server) => server.kill(),
            Stage::Ready(server) => server.begin_shutdown(how),
            Stage::Unused(_) | Stage::Taken | Stage::Void => {}
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token as held by the connection's own task: its drop closes an unused connection.
pub(super) struct CloseOnDrop(pub(super) StartToken);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
