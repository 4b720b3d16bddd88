//! The start of a server.

use std::{fmt, panic::Location, pin::pin, sync::Arc};

use futures_channel::oneshot;
use tracing::Instrument as _;

use super::{
    ConnectionRef, Context, InitError, Message, Parent, Server, ServerOptions, ServerRef,
    connection::Connection,
    driver::Driver,
    receive::send_error,
    reject::{NOT_STARTED, rejection},
    run::run,
};
use crate::{
    Endpoint, ExitReason, Linked, PeerInfo, Registration, TaskRef,
    mailbox::{Sender, mailbox},
    reply::Ends,
    task::{self, Contained, Spawner, Stopwatch},
    transport::BoxedStream,
    universe::AlreadyRegistered,
    wire::packet::Acceptance,
};

/// The connection that a server is started for. The peer has been authenticated.
pub(crate) struct Connected {
    pub(crate) stream: BoxedStream,
    pub(crate) peer: PeerInfo,
    pub(crate) acceptance: Acceptance,
    pub(crate) parent: Parent,
}

/// Receives the task of a server and its connection, before its `init`.
pub(crate) type OnSpawn = Box<dyn FnOnce(&TaskRef, Option<ConnectionRef>) + Send>;

/// Registers a server. The registry is not part of the server's type.
pub(super) type Name<S> =
    Arc<dyn Fn(&ServerRef<S>) -> Result<Registration, AlreadyRegistered> + Send + Sync>;

/// Starts a server in a task of its own and waits for its `init`.
///
/// If the future is dropped before it is ready, the server exits as soon as its `init` has returned.
pub(crate) async fn start<S: Server>(
    seed: S::Seed,
    options: &ServerOptions,
    spawner: &Spawner,
    connected: Option<Connected>,
    name: Option<Name<S>>,
    on_spawn: Option<OnSpawn>,
) -> Result<ServerRef<S>, StartError> {
    let (sender, inbox) = mailbox(options.mailbox);
    let (started, ready) = oneshot::channel();
    let server_type = std::any::type_name::<S>();
    let parent = connected.as_ref().map(|it| it.parent.clone());
    let (peer, connection) = match connected {
        Some(connected) => {
            let (peer, connection) = connected.open(options, server_type, spawner.made());
            (Some(peer), Some(connection))
        }
        None => (None, None),
    };
    let facts = Facts {
        mailbox: sender.clone(),
        peer: peer.as_ref().map(|peer| peer.address.clone()),
    };
    let handle = connection.as_ref().map(|it| it.handle());
    let send_queue = connection.as_ref().map(|it| Arc::clone(it.send_queue()));
    let title = Title {
        peer: facts.peer.clone(),
        server: server_type,
    };
    let span = span(peer.as_ref());
    let details = options.error_details;
    let mut driver = Driver {
        connection,
        stopwatch: Stopwatch::new(options.slow_callback),
        server: server_type,
    };
    let task = spawner.start(format_args!("{title}"), |task| {
        let this = ServerRef::new(task, sender, send_queue, spawner.clone());
        async move {
            let mut cx = Context::new(this.clone(), peer, parent);
            let init = Contained::new(S::init(seed, &mut cx));
            let (init, _) = driver.drive("init", pin!(init)).await;
            let failure = match init {
                Ok(Ok(server)) => match name.map(|name| name(&this)).transpose() {
                    // Held until the task exits, for whatever reason.
                    Ok(_registration) => {
                        if let Some(connection) = &driver.connection {
                            connection.set_served();
                        }
                        let _ = started.send(Ok(this));
                        return run(server, cx, inbox, driver).await;
                    }
                    Err(taken) => StartError::Registered(taken),
                },
                Ok(Err(InitError::Ignore)) => StartError::Ignored,
                Ok(Err(InitError::Stop(error))) => StartError::Failed(ExitReason::error(error)),
                Err(panic) => StartError::Failed(panic),
            };
            if let Some(connection) = driver.connection {
                send_error(
                    connection.send_queue(),
                    &rejection(failure.to_peer(details)),
                );
                connection.close().await;
            }
            let reason = failure.exit_reason();
            this.close_mailbox(&reason);
            drop(started.send(Err(failure)));
            reason
        }
        .instrument(span)
    });
    task.set_facts(facts);
    if let Some(on_spawn) = on_spawn {
        on_spawn(&task, handle);
    }
    // Dropped with this future, it shuts the server down, even if that has started.
    let owner = Linked::new(task);
    let outcome = match ready.await {
        Ok(outcome) => outcome,
        Err(oneshot::Canceled) => Err(StartError::Failed(owner.exited().await)),
    };
    owner.unlink();
    outcome
}

impl Connected {
    fn open(
        self,
        options: &ServerOptions,
        server: &'static str,
        made: &'static Location<'static>,
    ) -> (PeerInfo, Box<Connection>) {
        let ends = Ends {
            peer: self.peer.address.clone(),
            server,
            made,
        };
        let connection = Connection::new(self.stream, self.acceptance, options, ends);
        (self.peer, Box::new(connection))
    }
}

fn span(peer: Option<&PeerInfo>) -> tracing::Span {
    match peer {
        Some(peer) => {
            let name = peer.identity.as_ref().and_then(|it| it.name());
            tracing::info_span!(target: "erps", "connection", peer = %peer.address, name)
        }
        None => tracing::Span::none(),
    }
}

/// The label of a server's task.
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

/// What a server reports about itself.
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

/// Why a server did not start.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its `init` returned [`InitError::Ignore`]. Not a failure.
    #[error("the server chose not to start")]
    Ignored,
    /// Its `init` failed, panicked, or was killed.
    #[error("the server did not start: {0}")]
    Failed(ExitReason),
    /// Its name is registered already. Its `init` had succeeded; `terminate` was not called.
    #[error(transparent)]
    Registered(AlreadyRegistered),
}

impl StartError {
    /// Returns what the peer of the connection receives.
    fn to_peer(&self, details: bool) -> String {
        if details || matches!(self, Self::Ignored) {
            self.to_string()
        } else {
            NOT_STARTED.to_owned()
        }
    }

    fn exit_reason(&self) -> ExitReason {
        match self {
            Self::Ignored => ExitReason::Normal,
            Self::Failed(reason) => reason.clone(),
            Self::Registered(taken) => ExitReason::error(taken.clone()),
        }
    }
}
