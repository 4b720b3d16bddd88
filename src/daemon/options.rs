//! How a daemon is made.

mod admission;
mod listening;
mod settings;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{Daemon, ServerSupervisor, StartDaemonError, run};
use crate::{
    ChildSpec, Linked, Restart, Server, ServerOptions, Shutdown, Started,
    task::Spawner,
    transport::{TcpOptions, Transport},
    universe::Here,
    wire::identity::{Identifier, VersionReq},
};

pub(super) use settings::Settings;

/// Prepares a daemon. Made by [`Daemon::builder`].
#[must_use = "a builder does nothing until started"]
pub struct DaemonBuilder<S: Server> {
    pub(super) seed: S::Seed,
    pub(super) settings: Settings,
    pub(super) spawner: Spawner,
    pub(super) supervisor: Option<ServerSupervisor>,
    pub(super) forward_callers: bool,
    pub(super) identifier: Option<Identifier>,
    pub(super) versions: Option<VersionReq>,
    pub(super) on_start: Option<OnStart<S>>,
}

pub(super) type OnStart<S> = Arc<dyn Fn(&Daemon<S>) + Send + Sync>;

impl<S: Server> DaemonBuilder<S> {
    #[track_caller]
    pub(super) fn new(seed: S::Seed) -> Self {
        Self {
            seed,
            settings: Settings::default(),
            spawner: Spawner::new(),
            supervisor: None,
            forward_callers: true,
            identifier: None,
            versions: None,
            on_start: None,
        }
    }

    /// How connections are secured. Default: [`Tcp`](crate::Tcp), which does nothing.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.settings.transport = Arc::new(transport);
        self
    }

    /// Accepts plaintext from other machines: whoever reaches the port reaches the servers, and
    /// whoever is on the way reads and changes what is said.
    pub fn plaintext_anywhere(mut self) -> Self {
        self.settings.plaintext_anywhere = true;
        self
    }

    /// Options of the listener and its connections. Default: [`TcpOptions::new`].
    pub fn tcp(mut self, options: TcpOptions) -> Self {
        self.settings.tcp = options;
        self
    }

    /// The executor that runs the daemon and its servers; whoever gives one has to run it, and to keep it.
    /// Default: smol's global one, which runs itself.
    pub fn executor(mut self, executor: Arc<smol::Executor<'static>>) -> Self {
        self.spawner = self.spawner.on(&executor);
        self
    }

    /// Limits and habits of every server. Default: [`ServerOptions::new`].
    pub fn server_options(mut self, options: ServerOptions) -> Self {
        self.settings.server = options;
        self
    }

    /// Who supervises the servers: a [`DynamicSupervisor`](crate::DynamicSupervisor), or a
    /// [`ServerSupervisor`]. Default: a dynamic supervisor of the daemon's own.
    pub fn server_supervisor(mut self, supervisor: impl Into<ServerSupervisor>) -> Self {
        self.supervisor = Some(supervisor.into());
        self
    }

    /// The restart type of the servers. Default: [`Restart::Temporary`].
    ///
    /// A server whose connection is gone has nothing to come back to: restarted, it is ignored.
    pub fn server_restart(mut self, restart: Restart) -> Self {
        self.settings.restart = restart;
        self
    }

    /// How servers are made to end. Default: [`Shutdown::default`], 5 seconds.
    pub fn server_shutdown(mut self, shutdown: Shutdown) -> Self {
        self.settings.shutdown = shutdown;
        self
    }

    /// How long a daemon that is told to end lets its servers answer the calls that have arrived, before
    /// it makes them end. Default: 3 seconds.
    ///
    /// Told by its supervisor, by [`request_shutdown`](crate::TaskRef::request_shutdown), or by the drop of
    /// what [`start_link`](Self::start_link) returns. What its peers send from then on is not read, and a
    /// server that has answered all its calls ends at once. So no reply is lost when a tree is taken
    /// down; [`Daemon::drain`] is for those who want more: a time of listening, one limit over all, and a
    /// report. Zero: a server finishes the message it is at.
    ///
    /// It is part of the time that servers have by their [shutdown](Self::server_shutdown), and three quarters of
    /// that at most, so that `terminate` has the rest. With [`Shutdown::BrutalKill`] there is none.
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.settings.drain_timeout = limit;
        self
    }

    /// Whether the daemon and its servers live in the [`Universe`](crate::Universe) of whoever starts the daemon,
    /// whoever's supervisor starts the servers. Default: true.
    ///
    /// If not, the daemon lives in no universe, and its servers in that of their supervisor.
    /// *erps* has it off by default; but where nobody makes universes, it has no effect.
    pub fn forward_callers(mut self, forward: bool) -> Self {
        self.forward_callers = forward;
        self
    }

    /// The name that packets must carry. Default: [`Protocol::IDENTIFIER`](crate::Protocol).
    pub fn identifier(mut self, identifier: Identifier) -> Self {
        self.identifier = Some(identifier);
        self
    }

    /// The versions that are accepted. Default: [`Protocol::ACCEPTS`](crate::Protocol).
    pub fn versions(mut self, versions: VersionReq) -> Self {
        self.versions = Some(versions);
        self
    }

    /// How long the start of a server may take: its supervisor's answer, and its `init`. OTP's
    /// `timeout` of a start. Default: 60 seconds.
    ///
    /// Then the connection is closed, whatever the supervisor does. A server that is at its `init` is
    /// killed, one that is beyond is [shut down](Self::server_shutdown), and none comes later.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.settings.start_timeout = limit;
        self
    }

    /// Called whenever the daemon has started: also when a supervisor restarts it, which is how
    /// to learn of the new handle and, if none was given, the new port.
    pub fn on_start(mut self, callback: impl Fn(&Daemon<S>) + Send + Sync + 'static) -> Self {
        self.on_start = Some(Arc::new(callback));
        self
    }

    /// Starts the daemon, in the universe of whoever awaits this, and is ready once it listens.
    ///
    /// It lives until it is told to end, or is killed, or a listener fails
    /// [too often](Self::max_listener_restarts); handles do not keep it alive.
    ///
    /// # Errors
    ///
    /// A [`StartDaemonError`] that says what to change. Nothing is left listening.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is left listening.
    pub async fn start(self) -> Result<Daemon<S>, StartDaemonError> {
        run::start(self).await
    }

    /// As [`start`](Self::start), and the daemon ends when what is returned is dropped.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// As [`start`](Self::start).
    pub async fn start_link(self) -> Result<Linked<Daemon<S>>, StartDaemonError> {
        self.start().await.map(Linked::new)
    }

    /// The daemon as a child of a supervisor. It keeps the universe current at this call through
    /// every restart, and its port if one was given.
    ///
    /// Its shutdown is [`Shutdown::Infinity`], as it waits for its servers, who have their own
    /// time limits: the calls that have arrived are answered
    /// ([`drain_timeout`](Self::drain_timeout)), then `terminate` runs
    /// ([`server_shutdown`](Self::server_shutdown)).
    #[track_caller]
    pub fn child_spec(self, id: impl Into<String>) -> ChildSpec {
        let here = Here::capture();
        let builder = Mutex::new(self);
        let start = move || {
            let builder = builder
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            here.scope(async move {
                let daemon = builder.start().await?;
                Ok(Started::Running(daemon.task().clone()))
            })
        };
        ChildSpec::new(id, start).shutdown(Shutdown::Infinity)
    }
}

impl<S: Server> Clone for DaemonBuilder<S> {
    fn clone(&self) -> Self {
        Self {
            seed: self.seed.clone(),
            settings: self.settings.clone(),
            spawner: self.spawner.clone(),
            supervisor: self.supervisor.clone(),
            forward_callers: self.forward_callers,
            identifier: self.identifier,
            versions: self.versions.clone(),
            on_start: self.on_start.clone(),
        }
    }
}

impl<S: Server> fmt::Debug for DaemonBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaemonBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
