//! From a seed to a running server.

use std::{fmt, net::SocketAddr, pin::pin, sync::Arc};

use futures_channel::oneshot;

use super::{
    Context, InitError, Message, Server, ServerOptions, ServerRef,
    connection::Connection,
    run::{drive, run},
};
use crate::{
    ExitReason, Linked, PeerInfo, TaskRef,
    mailbox::{Sender, mailbox},
    task::{self, Spawner},
    transport::BoxedStream,
    wire::packet::Acceptance,
};

/// The connection a server is started for. The peer has been authenticated.
pub(crate) struct Connected {
    pub(crate) stream: BoxedStream,
    pub(crate) peer: PeerInfo,
    pub(crate) acceptance: Acceptance,
}

/// Starts a server in a task of its own and waits for its `init`. `born` is told of the task before
/// that.
///
/// If the future is dropped before it is ready, the server ends as soon as its `init` is done.
pub(crate) async fn start<S: Server>(
    seed: S::Seed,
    options: &ServerOptions,
    spawner: &Spawner,
    connected: Option<Connected>,
    born: impl FnOnce(&TaskRef),
) -> Result<ServerRef<S>, StartError> {
    let (sender, inbox) = mailbox(options.mailbox);
    let (started, ready) = oneshot::channel();
    let (peer, mut connection) = match connected {
        Some(Connected {
            stream,
            peer,
            acceptance,
        }) => (
            Some(peer),
            Some(Box::new(Connection::new(stream, acceptance, options))),
        ),
        None => (None, None),
    };
    let facts = Facts {
        mailbox: sender.clone(),
        peer: peer.as_ref().map(|peer| peer.address),
    };
    let outbox = connection.as_ref().map(|it| Arc::clone(it.outbox()));
    let task = spawner.start(|task| {
        let this = ServerRef::new(task, sender, outbox, spawner.clone());
        async move {
            let mut cx = Context::new(this.clone(), peer);
            let (init, _) = drive(pin!(S::init(seed, &mut cx)), &mut connection).await;
            let failure = match init {
                Ok(Ok(server)) => {
                    let _ = started.send(Ok(this));
                    return run(server, cx, inbox, connection).await;
                }
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
    });
    task.tell(facts);
    born(&task);
    // Dropped with this future, it ends the server: also one that runs and has not been taken.
    let owner = Linked::new(task);
    let outcome = match ready.await {
        Ok(outcome) => outcome,
        Err(oneshot::Canceled) => Err(StartError::Failed(owner.exited().await)),
    };
    owner.unlink();
    outcome
}

/// What a server tells of itself.
struct Facts<S: Server> {
    mailbox: Sender<Message<S>>,
    peer: Option<SocketAddr>,
}

impl<S: Server> task::Facts for Facts<S> {
    fn mailbox(&self) -> Option<usize> {
        Some(self.mailbox.len())
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

/// Prepares a server without a connection. Made by [`ServerRef::builder`].
#[must_use = "a builder does nothing until started"]
pub struct ServerBuilder<S: Server> {
    seed: S::Seed,
    options: ServerOptions,
    spawner: Spawner,
}

impl<S: Server> ServerBuilder<S> {
    pub(super) fn new(seed: S::Seed) -> Self {
        Self {
            seed,
            options: ServerOptions::default(),
            spawner: Spawner::default(),
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
        self.spawner = Spawner::on(&executor);
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
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the server ends as soon as its `init` is done.
    pub async fn start(self) -> Result<ServerRef<S>, StartError> {
        start(self.seed, &self.options, &self.spawner, None, |_| ()).await
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
}

impl StartError {
    fn exit_reason(&self) -> ExitReason {
        match self {
            Self::Ignored => ExitReason::Normal,
            Self::Failed(reason) => reason.clone(),
        }
    }
}
