//! Under whose supervision the servers of a daemon run.

use std::{fmt, pin::Pin, sync::Arc};

use crate::{BoxError, ChildSpec, DynamicSupervisor, PeerInfo, Started};

/// Who starts the servers of a daemon, and sees them end.
///
/// Whoever it is, the daemon ends the servers it caused when it ends itself, and a connection for
/// which no server starts is closed. erps' `server_supervisor:`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServerSupervisor {
    /// A dynamic supervisor, which may serve many daemons.
    Dynamic(DynamicSupervisor),
    /// The user's own: see [`ServerSupervisor::custom`].
    Custom(StartServer),
    /// Nobody. For tests.
    Unsupervised,
}

impl ServerSupervisor {
    /// Servers are started by `start`, wherever it likes: see [`ServerRecipe`].
    ///
    /// It may answer with the started child, with [`Started::Ignore`], or with an error. With
    /// anything but a child, and if it panics, or has not answered within the
    /// [`start_timeout`](crate::DaemonBuilder::start_timeout), the connection is closed and one event
    /// says why; a server that it started all the same is ended. The peer is not told why, only
    /// disconnected, as by a server whose `init` fails.
    ///
    /// A recipe that is kept for later starts nothing any more once the closure has answered, or
    /// its time is over, or the daemon has ended.
    ///
    /// # Example
    ///
    /// ```
    /// use erps::{ServerRecipe, ServerSupervisor};
    ///
    /// // One connection at a time from each address, say; here: none from beyond this machine.
    /// let supervisor = ServerSupervisor::custom(|recipe: ServerRecipe| async move {
    ///     let peer = recipe.peer();
    ///     if peer.proxy.is_some() || !peer.address.is_local() {
    ///         return Err("only from this machine".into());
    ///     }
    ///     recipe.start().await
    /// });
    /// ```
    pub fn custom<F>(start: impl Fn(ServerRecipe) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Started, BoxError>> + Send + 'static,
    {
        Self::Custom(StartServer(Arc::new(move |recipe| Box::pin(start(recipe)))))
    }
}

impl From<DynamicSupervisor> for ServerSupervisor {
    fn from(supervisor: DynamicSupervisor) -> Self {
        Self::Dynamic(supervisor)
    }
}

type Starting = Pin<Box<dyn Future<Output = Result<Started, BoxError>> + Send>>;

/// A user's closure that starts servers. Made by [`ServerSupervisor::custom`].
#[derive(Clone)]
pub struct StartServer(pub(super) Arc<dyn Fn(ServerRecipe) -> Starting + Send + Sync>);

impl fmt::Debug for StartServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StartServer(..)")
    }
}

/// How to start the server of one connection: its type, its seed, its options, its peer.
///
/// It can be followed once, for there is one connection. Dropped unused, the connection is
/// closed.
#[derive(Debug)]
pub struct ServerRecipe {
    pub(super) spec: ChildSpec,
    pub(super) peer: PeerInfo,
    pub(super) server: &'static str,
}

impl ServerRecipe {
    /// The name of the server's type.
    #[must_use]
    pub fn server(&self) -> &'static str {
        self.server
    }

    /// Who is at the other end of the connection, authenticated if the transport does that.
    #[must_use]
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// Starts the server right here, on the daemon's executor.
    ///
    /// # Errors
    ///
    /// What the server's `init` failed with.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the server ends as soon as its `init` is done.
    pub async fn start(self) -> Result<Started, BoxError> {
        self.spec.start().await
    }

    /// The recipe as a child, to be started under a supervisor of the user's.
    ///
    /// It is [`Temporary`](crate::Restart::Temporary) unless the daemon was told otherwise.
    #[must_use]
    pub fn into_child_spec(self) -> ChildSpec {
        self.spec
    }
}

impl From<ServerRecipe> for ChildSpec {
    fn from(recipe: ServerRecipe) -> Self {
        recipe.into_child_spec()
    }
}
