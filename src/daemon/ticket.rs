//! The right of one connection to one server.
//!
//! ```text
//! Unused --> Taken --> Starting --> Ready      whoever has the recipe follows it
//!    |         |          |           |
//!    +---------+----------+-----------+--> Void      no answer in time, or not a child
//! ```
//!
//! Two hold it: the recipe, wherever the supervisor keeps that, and the connection's own task, which
//! knows how long all may take.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::visit::Permit;
use crate::{PeerInfo, Server, Shutdown, TaskRef, transport::BoxedStream};

pub(super) struct Ticket<S: Server>(Arc<Mutex<State<S>>>);

/// What one connection needs to get its one server.
pub(super) type Fare<S> = (Permit<S>, BoxedStream, PeerInfo);

enum State<S: Server> {
    Unused(Fare<S>),
    Taken,
    /// Its server is at its `init`.
    Starting(TaskRef),
    Ready(TaskRef),
    /// There is to be no server. One that comes later is ended.
    Void,
}

impl<S: Server> Ticket<S> {
    pub(super) fn new(fare: Fare<S>) -> Self {
        Self(Arc::new(Mutex::new(State::Unused(fare))))
    }

    /// Whoever takes it starts the server.
    pub(super) fn take(&self) -> Option<Fare<S>> {
        let mut state = self.state();
        match mem::replace(&mut *state, State::Taken) {
            State::Unused(fare) => Some(fare),
            other => {
                *state = other;
                None
            }
        }
    }

    pub(super) fn is_taken(&self) -> bool {
        !matches!(*self.state(), State::Unused(_))
    }

    /// The server is born, and about to run its `init`.
    pub(super) fn born(&self, server: &TaskRef) {
        let mut state = self.state();
        if matches!(*state, State::Void) {
            drop(state);
            server.kill();
        } else {
            *state = State::Starting(server.clone());
        }
    }

    /// The `init` has succeeded.
    pub(super) fn ready(&self) {
        let mut state = self.state();
        if let State::Starting(server) = &*state {
            *state = State::Ready(server.clone());
        }
    }

    /// Closes a connection that has no server yet. A recipe that is kept starts nothing any more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        if matches!(*state, State::Unused(_)) {
            let unused = mem::replace(&mut *state, State::Void);
            // Streams may be the user's.
            drop(state);
            drop(unused);
        }
    }

    /// Closes the connection, and ends its server if there is one: `how` if it has got through its
    /// `init`, else at once, for nothing else ends one that never does.
    pub(super) fn cancel(&self, how: Shutdown) {
        let state = mem::replace(&mut *self.state(), State::Void);
        match state {
            State::Starting(server) => server.kill(),
            State::Ready(server) => server.begin_shutdown(how),
            State::Unused(_) | State::Taken | State::Void => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Server> Clone for Ticket<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The ticket as the connection's own task has it: closed when that is gone.
pub(super) struct Closing<S: Server>(pub(super) Ticket<S>);

impl<S: Server> Drop for Closing<S> {
    fn drop(&mut self) {
        self.0.close();
    }
}
