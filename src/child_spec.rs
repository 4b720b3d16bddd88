//! Child specifications of servers and clients.
//!
//! They are here because servers and clients do not depend on supervisors, nor the reverse.

use std::sync::{Mutex, PoisonError};

use crate::{
    ChildSpec, ClientBuilder, Protocol, Server, ServerBuilder, StartError, Started,
    universe::CapturedContext,
};

impl<S: Server> ServerBuilder<S> {
    /// Returns a specification of the server as a child of a supervisor. It keeps the universe current at
    /// this call through every restart. Other tasks find it by its [name](Self::name).
    ///
    /// If `init` returns [`InitError::Ignore`](crate::InitError::Ignore), the child is ignored.
    #[track_caller]
    pub fn child_spec(self, id: impl Into<String>) -> ChildSpec {
        let here = CapturedContext::capture();
        // The seed need not be `Sync`.
        let builder = Mutex::new(self);
        let start = move || {
            let builder = builder.lock().unwrap_or_else(PoisonError::into_inner);
            let builder = builder.clone();
            here.scope(async move {
                match builder.start().await {
                    Ok(server) => Ok(Started::Running(server.task().clone())),
                    Err(StartError::Ignored) => Ok(Started::Ignore),
                    Err(error) => Err(error.into()),
                }
            })
        };
        ChildSpec::new(id, start)
    }
}

impl<P: Protocol> ClientBuilder<P> {
    /// Returns a specification of the client as a child of a supervisor. It keeps the universe current at
    /// this call through every restart, and runs until it exits or is shut down, even without a handle.
    ///
    /// Its start does not wait for a connection. A client that does not [reconnect](Self::reconnect) exits
    /// with its connection, and is restarted.
    #[track_caller]
    pub fn child_spec(self, id: impl Into<String>) -> ChildSpec {
        let here = CapturedContext::capture();
        let start = move || {
            let builder = self.clone();
            here.scope(async move {
                let client = builder.start();
                let task = client.task().clone();
                // A client exits with its last handle. This one is dropped when it has exited.
                task.on_exit(move |_| drop(client));
                Ok(Started::Running(task))
            })
        };
        ChildSpec::new(id, start)
    }
}
