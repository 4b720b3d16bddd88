//! The builder of a server without a connection.

use std::{fmt, hash::Hash, sync::Arc};

use super::{
    Server, ServerOptions, ServerRef, StartError,
    start::{Name, start},
};
use crate::{Linked, Registry, task::Spawner};

/// Builds a server without a connection. Made by [`ServerRef::builder`].
#[must_use = "a builder does nothing until started"]
pub struct ServerBuilder<S: Server> {
    seed: S::Seed,
    options: ServerOptions,
    spawner: Spawner,
    name: Option<Name<S>>,
}

impl<S: Server> ServerRef<S> {
    /// Returns a builder of a server without a connection: a plain GenServer.
    #[track_caller]
    pub fn builder(seed: S::Seed) -> ServerBuilder<S> {
        ServerBuilder {
            seed,
            options: ServerOptions::default(),
            spawner: Spawner::new(),
            name: None,
        }
    }
}

impl<S: Server> ServerBuilder<S> {
    /// Sets its options. Default: [`ServerOptions::new`].
    pub fn options(mut self, options: ServerOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets the executor of the server. The caller must run it and keep it alive. Default: smol's global
    /// executor, which runs by itself.
    pub fn executor(mut self, executor: Arc<smol::Executor<'static>>) -> Self {
        self.spawner = self.spawner.on(&executor);
        self
    }

    /// Sets the tokio runtime in which the server's callbacks run. Default: the runtime in which this builder was made, if any.
    ///
    /// tokio's timers and sockets, `tokio::spawn`, and libraries built on them work there. The tasks themselves
    /// run on smol's executor, or on that of the builder; the runtime only has to be kept alive. In simulated time,
    /// tokio's timers and sockets do not hold the clock, so that timeouts strike while they are awaited: mock what uses
    /// them ([`Mock`](crate::Mock)), or await it in [`erps::unblock`](crate::unblock), which holds the clock.
    #[cfg(feature = "tokio")]
    pub fn tokio(mut self, runtime: tokio::runtime::Handle) -> Self {
        let runtime = crate::task::Runtime::of(runtime);
        self.spawner = self.spawner.in_runtime(runtime);
        self
    }

    /// Registers the server, in its universe, once its `init` has succeeded. Default: no name.
    ///
    /// The name is released when the server's task exits, for whatever reason: at the latest when
    /// [`exited`](crate::TaskRef::exited) returns.
    ///
    /// # Example
    ///
    /// ```
    /// use erps::{Registry, ServerRef};
    /// # use erps::{BoxError, Context, InitError, Never, Protocol, ReplyTo, Server};
    /// # struct Shop;
    /// # impl Protocol for Shop {
    /// #     type Call = ();
    /// #     type Reply = u32;
    /// #     type Cast = ();
    /// #     type Push = ();
    /// # }
    /// # struct ShopServer;
    /// # impl Server for ShopServer {
    /// #     type Protocol = Shop;
    /// #     type Seed = ();
    /// #     type Info = ();
    /// #     async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Self) }
    /// #     async fn handle_call(&mut self, _: (), from: ReplyTo<u32>, _: &mut Context<Self>) -> Result<(), BoxError> {
    /// #         from.reply(7);
    /// #         Ok(())
    /// #     }
    /// # }
    ///
    /// static SHOPS: Registry<&str, ServerRef<ShopServer>> = Registry::unique();
    ///
    /// # smol::block_on(async {
    /// let _server = ServerRef::<ShopServer>::builder(()).name(&SHOPS, "corner").start_link().await?;
    /// let shop = SHOPS.find("corner").expect("it has just started");
    /// assert_eq!(shop.call(()).await?, 7);
    /// # Ok::<_, BoxError>(()) }).unwrap();
    /// ```
    pub fn name<K>(mut self, registry: &'static Registry<K, ServerRef<S>>, key: K) -> Self
    where
        K: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static,
    {
        self.name = Some(Arc::new(move |server| {
            registry.register(key.clone(), server.clone())
        }));
        self
    }

    /// Starts the server, in the universe of the task that awaits this, and waits for its `init`.
    ///
    /// It runs until it stops, is shut down, or is killed; handles do not keep it alive.
    ///
    /// # Errors
    ///
    /// - [`StartError::Ignored`]: `init` returned [`InitError::Ignore`](crate::InitError::Ignore).
    /// - [`StartError::Failed`]: `init` failed or panicked, or was killed.
    /// - [`StartError::Registered`]: its [name](Self::name) is taken.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the server exits as soon as its `init` has returned.
    pub async fn start(self) -> Result<ServerRef<S>, StartError> {
        let Self {
            seed,
            options,
            spawner,
            name,
        } = self;
        start(seed, &options, &spawner, None, name, None).await
    }

    /// As [`start`](Self::start), but returns an owner, whose drop shuts the server down.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// As [`start`](Self::start).
    pub async fn start_link(self) -> Result<Linked<ServerRef<S>>, StartError> {
        self.start().await.map(Linked::new)
    }
}

impl<S: Server> Clone for ServerBuilder<S> {
    fn clone(&self) -> Self {
        Self {
            seed: self.seed.clone(),
            options: self.options.clone(),
            spawner: self.spawner.clone(),
            name: self.name.clone(),
        }
    }
}

impl<S: Server> fmt::Debug for ServerBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
