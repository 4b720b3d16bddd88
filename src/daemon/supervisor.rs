//! The supervisor of a daemon's servers.

use std::{fmt, pin::Pin, sync::Arc};

use crate::{BoxError, ChildSpec, DynamicSupervisor, PeerInfo, Started};

/// The supervisor that starts and monitors the servers of a daemon. erps' `server_supervisor:`.
///
/// With each of them the daemon shuts its servers down when it exits, and closes a connection whose server does not
/// start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServerSupervisor {
    /// A dynamic supervisor, which several daemons may share.
    Dynamic(DynamicSupervisor),
    /// A user's closure: see [`ServerSupervisor::custom`].
    Custom(StartServer),
    /// No supervisor. For tests.
    Unsupervised,
}

impl ServerSupervisor {
    /// Creates a supervisor from a closure, which starts each server under any supervisor, or without one: see
    /// [`ServerSpec`].
    ///
    /// It returns the started child, [`Started::Ignore`], or an error. If it returns no child, panics, or
    /// does not return within the [`start_timeout`](crate::DaemonBuilder::start_timeout), the connection is
    /// closed, one event has the reason, and a server that it started nevertheless is shut down. The peer
    /// receives a rejection, with the reason if [`error_details`](crate::ServerOptions::error_details) is set.
    ///
    /// Once the closure has returned or timed out, or the daemon has exited, a specification that is still held starts
    /// no server.
    ///
    /// # Example
    ///
    /// ```
    /// use erps::{ServerSpec, ServerSupervisor};
    ///
    /// // Starts servers only for peers on this machine.
    /// let supervisor = ServerSupervisor::custom(|spec: ServerSpec| async move {
    ///     let peer = spec.peer();
    ///     if peer.proxy.is_some() || !peer.address.is_local() {
    ///         return Err("only from this machine".into());
    ///     }
    ///     spec.start().await
    /// });
    /// ```
    pub fn custom<F>(start: impl Fn(ServerSpec) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Started, BoxError>> + Send + 'static,
    {
        Self::Custom(StartServer(Arc::new(move |spec| Box::pin(start(spec)))))
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
pub struct StartServer(pub(super) Arc<dyn Fn(ServerSpec) -> Starting + Send + Sync>);

impl fmt::Debug for StartServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StartServer(..)")
    }
}

/// How to start the server of one connection: its type, seed, options and peer.
///
/// It can be started once. Its drop closes the connection if it was not started.
#[derive(Debug)]
pub struct ServerSpec {
    pub(super) spec: ChildSpec,
    pub(super) peer: PeerInfo,
    pub(super) server: &'static str,
}

impl ServerSpec {
    /// Returns the name of the server's type.
    #[must_use]
    pub fn server(&self) -> &'static str {
        self.server
    }

    /// Returns the peer, authenticated if the transport does that.
    #[must_use]
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// Starts the server without a supervisor, on the daemon's executor.
    ///
    /// # Errors
    ///
    /// The error of the server's `init`.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the server exits as soon as its `init` has returned.
    pub async fn start(self) -> Result<Started, BoxError> {
        self.spec.start().await
    }

    /// Returns the child specification, to be started under a supervisor of the user's.
    ///
    /// It is [`Temporary`](crate::Restart::Temporary), unless
    /// [`server_restart`](crate::DaemonBuilder::server_restart) is set.
    #[must_use]
    pub fn into_child_spec(self) -> ChildSpec {
        self.spec
    }
}

impl From<ServerSpec> for ChildSpec {
    fn from(spec: ServerSpec) -> Self {
        spec.into_child_spec()
    }
}
