//! The start of a connection's server: the only part of a daemon that depends on the server's type.

use std::sync::{Arc, Mutex, PoisonError};

use futures_lite::future::Boxed;

use crate::{
    Server, ServerOptions, StartError, TaskRef,
    server::{self, Connected, OnSpawn},
    task::Spawner,
};

/// Starts servers of one type. Everything else in a daemon is compiled once, for all types.
pub(super) trait ServerFactory: Send + Sync {
    /// Returns the name of the server's type.
    fn server_type(&self) -> &'static str;

    /// Starts a server and waits for its `init`. `on_spawn` runs before that.
    fn start(
        self: Arc<Self>,
        spawner: Spawner,
        connected: Connected,
        on_spawn: OnSpawn,
    ) -> Boxed<Result<TaskRef, StartError>>;
}

/// Starts servers of the type `S` from a common seed.
pub(super) struct Factory<S: Server> {
    seed: Mutex<S::Seed>,
    options: ServerOptions,
}

impl<S: Server> Factory<S> {
    pub(super) fn new(seed: S::Seed, options: ServerOptions) -> Self {
        let seed = Mutex::new(seed);
        Self { seed, options }
    }

    fn seed(&self) -> S::Seed {
        let seed = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
        seed.clone()
    }
}

impl<S: Server> ServerFactory for Factory<S> {
    fn server_type(&self) -> &'static str {
        std::any::type_name::<S>()
    }

    fn start(
        self: Arc<Self>,
        spawner: Spawner,
        connected: Connected,
        on_spawn: OnSpawn,
    ) -> Boxed<Result<TaskRef, StartError>> {
        Box::pin(async move {
            let (seed, connected) = (self.seed(), Some(connected));
            let on_spawn = Some(on_spawn);
            let started =
                server::start::<S>(seed, &self.options, &spawner, connected, None, on_spawn);
            Ok(started.await?.task().clone())
        })
    }
}
