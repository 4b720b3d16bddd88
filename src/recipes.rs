//! What of this library can be a child of a supervisor, besides daemons and supervisors.
//!
//! Servers and clients know of no supervisor, and supervisors of neither.

use std::sync::{Mutex, PoisonError};

use crate::{
    ChildSpec, ClientBuilder, Protocol, Server, ServerBuilder, StartError, Started, universe::Here,
};

impl<S: Server> ServerBuilder<S> {
    /// The server as a child of a supervisor. It keeps the universe current at this call through
    /// every restart. Others find it by its [name](Self::name).
    ///
    /// An `init` that returns [`InitError::Ignore`](crate::InitError::Ignore) makes it a child that had nothing to run.
    #[track_caller]
    pub fn child_spec(self, id: impl Into<String>) -> ChildSpec {
        let here = Here::capture();
        // A seed need not be shared by threads to be cloned for each start.
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
    /// The client as a child of a supervisor. It keeps the universe current at this call through
    /// every restart, and lives until it ends or is ended, whoever has a handle.
    ///
    /// It does not wait for a connection: it heals from the beginning. One that does not
    /// [reconnect](Self::reconnect) ends with its connection, and is restarted.
    #[track_caller]
    pub fn child_spec(self, id: impl Into<String>) -> ChildSpec {
        let here = Here::capture();
        let start = move || {
            let builder = self.clone();
            here.scope(async move {
                let client = builder.start();
                let task = client.task().clone();
                // A client ends with its last handle. This one is dropped when it has ended.
                task.on_exit(move |_| drop(client));
                Ok(Started::Running(task))
            })
        };
        ChildSpec::new(id, start)
    }
}
