//! From a seed to a running server.

use std::{fmt, hash::Hash, pin::pin, sync::Arc};

use futures_channel::oneshot;
use tracing::Instrument as _;

use super::{
    ConnectionRef, Context, InitError, Message, Server, ServerOptions, ServerRef,
    connection::Connection,
    run::{drive, run},
};
use crate::{
    Endpoint, ExitReason, Linked, PeerInfo, Registration, Registry, TaskRef,
    mailbox::{Sender, mailbox},
    reply::Ends,
    task::{self, Contained, Spawner},
    transport::BoxedStream,
    universe::AlreadyRegistered,
    wire::packet::Acceptance,
};

/// The connection a server is started for. The peer has been authenticated.
pub(crate) struct Connected {
    pub(crate) stream: BoxedStream,
    pub(crate) peer: PeerInfo,
    pub(crate) acceptance: Acceptance,
}

/// Starts a server in a task of its own and waits for its `init`. `born` is told of the task and of its
/// connection before that.
///
/// If the future is dropped before it is ready, the server ends as soon as its `init` is done.
pub(crate) async fn start<S: Server>(
    seed: S::Seed,
    options: &ServerOptions,
    spawner: &Spawner,
    connected: Option<Connected>,
    name: Option<Name<S>>,
    born: impl FnOnce(&TaskRef, Option<ConnectionRef>),
) -> Result<ServerRef<S>, StartError> {
    let (sender, inbox) = mailbox(options.mailbox);
    let (started, ready) = oneshot::channel();
    let (peer, mut connection) = match connected {
        Some(Connected {
            stream,
            peer,
            acceptance,
        }) => {
            let ends = Ends {
                peer: peer.address.clone(),
                server: std::any::type_name::<S>(),
                made: spawner.made(),
            };
            let connection = Connection::new(stream, acceptance, options, ends);
            (Some(peer), Some(Box::new(connection)))
        }
        None => (None, None),
    };
    let facts = Facts {
        mailbox: sender.clone(),
        peer: peer.as_ref().map(|peer| peer.address.clone()),
    };
    let handle = connection.as_ref().map(|it| it.handle());
    let outbox = connection.as_ref().map(|it| Arc::clone(it.outbox()));
    let title = Title {
        peer: facts.peer.clone(),
        server: std::any::type_name::<S>(),
    };
    let span = match &peer {
        Some(peer) => tracing::info_span!(target: "erps", "connection", peer = %peer.address),
        None => tracing::Span::none(),
    };
    let task = spawner.start(format_args!("{title}"), |task| {
        let this = ServerRef::new(task, sender, outbox, spawner.clone());
        async move {
            let mut cx = Context::new(this.clone(), peer);
            let init = Contained::new(S::init(seed, &mut cx));
            let (init, _) = drive(pin!(init), &mut connection).await;
            let failure = match init {
                Ok(Ok(server)) => match name.map(|name| name(&this)).transpose() {
                    // Held until the task is gone, however it ends.
                    Ok(_registration) => {
                        if let Some(connection) = &connection {
                            connection.meet();
                        }
                        let _ = started.send(Ok(this));
                        return run(server, cx, inbox, connection).await;
                    }
                    Err(taken) => StartError::Registered(taken),
                },
                Ok(Err(InitError::Ignore)) => StartError::Ignored,
                Ok(Err(InitError::Stop(error))) => StartError::Failed(ExitReason::error(error)),
                Err(panic) => StartError::Failed(panic),
            };
            if let Some(connection) = connection {
                connection.close().await;
            }
            let reason = failure.exit_reason();
            this.ending(&reason);
            drop(started.send(Err(failure)));
            reason
        }
        .instrument(span)
    });
    task.set_facts(facts);
    born(&task, handle);
    // Dropped with this future, it ends the server: also one that runs and has not been taken.
    let owner = Linked::new(task);
    let outcome = match ready.await {
        Ok(outcome) => outcome,
        Err(oneshot::Canceled) => Err(StartError::Failed(owner.exited().await)),
    };
    owner.unlink();
    outcome
}

/// What a server is called where there are many.
struct Title {
    peer: Option<Endpoint>,
    server: &'static str,
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.peer {
            Some(peer) => write!(f, "the server of {peer}"),
            None => write!(f, "the server `{}`", self.server),
        }
    }
}

/// What a server tells of itself.
struct Facts<S: Server> {
    mailbox: Sender<Message<S>>,
    peer: Option<Endpoint>,
}

impl<S: Server> task::Facts for Facts<S> {
    fn mailbox(&self) -> Option<usize> {
        Some(self.mailbox.len())
    }

    fn peer(&self) -> Option<Endpoint> {
        self.peer.clone()
    }
}

/// Prepares a server without a connection. Made by [`ServerRef::builder`].
#[must_use = "a builder does nothing until started"]
pub struct ServerBuilder<S: Server> {
    seed: S::Seed,
    options: ServerOptions,
    spawner: Spawner,
    name: Option<Name<S>>,
}

/// Registers a server. Its registry is no concern of the server's type.
type Name<S> = Arc<dyn Fn(&ServerRef<S>) -> Result<Registration, AlreadyRegistered> + Send + Sync>;

impl<S: Server> ServerBuilder<S> {
    #[track_caller]
    pub(super) fn new(seed: S::Seed) -> Self {
        Self {
            seed,
            options: ServerOptions::default(),
            spawner: Spawner::new(),
            name: None,
        }
    }

    /// Its limits. Default: [`ServerOptions::new`].
    pub fn options(mut self, options: ServerOptions) -> Self {
        self.options = options;
        self
    }

    /// The executor that runs the server; whoever gives one has to run it, and to keep it. Default: smol's global
    /// one, which runs itself.
    pub fn executor(mut self, executor: Arc<smol::Executor<'static>>) -> Self {
        self.spawner = self.spawner.on(&executor);
        self
    }

    /// Registers the server, in its universe, once its `init` has succeeded. Default: no name.
    ///
    /// The name is free again when the server's task is gone, for whatever reason: at the latest when
    /// [`exited`](TaskRef::exited) answers.
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

    /// Starts the server, in the universe of whoever awaits this, and waits for its `init`.
    ///
    /// It lives until it stops, is told to end, or is killed; handles do not keep it alive.
    ///
    /// # Errors
    ///
    /// - [`StartError::Ignored`]: `init` returned [`InitError::Ignore`].
    /// - [`StartError::Failed`]: `init` failed or panicked, or was killed.
    /// - [`StartError::Registered`]: somebody has the [name](Self::name) it was given.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the server ends as soon as its `init` is done.
    pub async fn start(self) -> Result<ServerRef<S>, StartError> {
        let Self {
            seed,
            options,
            spawner,
            name,
        } = self;
        start(seed, &options, &spawner, None, name, |_, _| ()).await
    }

    /// As [`start`](Self::start), and the server ends when what is returned is dropped.
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

/// Why there is no server.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its `init` had nothing to do, which is no failure.
    #[error("the server chose not to start")]
    Ignored,
    /// Its `init` failed, panicked, or was killed.
    #[error("the server did not start: {0}")]
    Failed(ExitReason),
    /// Somebody has its name. Its `init` had succeeded; `terminate` was not called.
    #[error(transparent)]
    Registered(AlreadyRegistered),
}

impl StartError {
    fn exit_reason(&self) -> ExitReason {
        match self {
            Self::Ignored => ExitReason::Normal,
            Self::Failed(reason) => reason.clone(),
            Self::Registered(taken) => ExitReason::error(taken.clone()),
        }
    }
}
