//! The builder of a daemon.

mod admission;
mod listening;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    Daemon, ServerSupervisor, StartDaemonError,
    factory::Factory,
    run::{self, OnStart, Start},
    settings::Settings,
};
use crate::{
    ChildSpec, Linked, Restart, Server, ServerOptions, Shutdown, Started,
    protocol::Checked,
    task::Spawner,
    transport::{TcpOptions, Transport},
    universe::CapturedContext,
    wire::{
        identity::{Identifier, VersionReq},
        packet::Acceptance,
    },
};

/// Builds a [`Daemon`]. Made by [`Daemon::builder`].
#[must_use = "a builder does nothing until started"]
pub struct DaemonBuilder<S: Server> {
    seed: S::Seed,
    settings: Settings,
    spawner: Spawner,
    supervisor: Option<ServerSupervisor>,
    forward_callers: bool,
    identifier: Option<Identifier>,
    versions: Option<VersionReq>,
    on_start: Option<Arc<Callback<S>>>,
}

type Callback<S> = dyn Fn(&Daemon<S>) + Send + Sync;

impl<S: Server> Daemon<S> {
    /// Returns a builder of a daemon whose servers are all made from `seed`.
    #[track_caller]
    pub fn builder(seed: S::Seed) -> DaemonBuilder<S> {
        DaemonBuilder {
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
}

impl<S: Server> DaemonBuilder<S> {
    /// Sets how connections are secured. Default: [`Tcp`](crate::Tcp), plaintext.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.settings.transport = Arc::new(transport);
        self
    }

    /// Allows a plaintext [`transport`](Self::transport) on addresses that other machines can reach. Every host that
    /// can connect to the port can then use the servers, and every host on the network path can read and change the
    /// traffic.
    pub fn plaintext_anywhere(mut self) -> Self {
        self.settings.plaintext_anywhere = true;
        self
    }

    /// Sets the TCP options of listeners and connections. Default: [`TcpOptions::new`].
    pub fn tcp(mut self, options: TcpOptions) -> Self {
        self.settings.tcp = options;
        self
    }

    /// Sets the executor of the daemon and its servers. The caller must run it and keep it alive. Default:
    /// smol's global executor, which runs by itself.
    pub fn executor(mut self, executor: Arc<smol::Executor<'static>>) -> Self {
        self.spawner = self.spawner.on(&executor);
        self
    }

    /// Sets the tokio runtime in which the daemon's hooks and its servers' callbacks run. Default: the runtime in which this builder was made, if any.
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

    /// Sets the options of every server. Default: [`ServerOptions::new`].
    pub fn server_options(mut self, options: ServerOptions) -> Self {
        self.settings.server = options;
        self
    }

    /// Sets the supervisor of the servers: a [`DynamicSupervisor`](crate::DynamicSupervisor) or another
    /// [`ServerSupervisor`]. Default: a dynamic supervisor owned by the daemon.
    pub fn server_supervisor(mut self, supervisor: impl Into<ServerSupervisor>) -> Self {
        self.supervisor = Some(supervisor.into());
        self
    }

    /// Sets the restart type of the servers. Default: [`Restart::Temporary`].
    ///
    /// A server's connection is closed when it exits, so a restart returns [`Started::Ignore`].
    pub fn server_restart(mut self, restart: Restart) -> Self {
        self.settings.restart = restart;
        self
    }

    /// Sets how servers are shut down. Default: [`Shutdown::default`], 5 seconds.
    pub fn server_shutdown(mut self, shutdown: Shutdown) -> Self {
        self.settings.shutdown = shutdown;
        self
    }

    /// Sets how long a daemon that is shut down lets its servers answer the calls that have arrived, before
    /// it shuts them down. Default: 3 seconds.
    ///
    /// It applies to a shutdown by its supervisor, by
    /// [`request_shutdown`](crate::TaskRef::request_shutdown), or by the drop of the owner returned by
    /// [`start_link`](Self::start_link). Nothing that peers send from then on is read, and a server that
    /// has answered all its calls exits at once. So no reply is lost when a supervision tree is shut down.
    /// [`Daemon::drain`] does more: it still reads for a while, has one limit for everything, and returns
    /// a report. With zero a server only finishes its current message.
    ///
    /// It is part of the [shutdown](Self::server_shutdown) time of the servers, and at most three quarters of that, so
    /// that `terminate` has the rest. With [`Shutdown::BrutalKill`] it is zero.
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.settings.drain_timeout = limit;
        self
    }

    /// Sets whether the daemon and its servers run in the [`Universe`](crate::Universe) of the task that
    /// starts the daemon, whichever supervisor starts the servers. Default: true.
    ///
    /// If false, the daemon runs in no universe, and its servers in that of their supervisor. *erps* has it
    /// off by default. Without a universe it has no effect.
    pub fn forward_callers(mut self, forward: bool) -> Self {
        self.forward_callers = forward;
        self
    }

    /// Sets the identifier that packets must carry. Default: [`Protocol::IDENTIFIER`](crate::Protocol).
    pub fn identifier(mut self, identifier: Identifier) -> Self {
        self.identifier = Some(identifier);
        self
    }

    /// Sets the versions that are accepted. Default: [`Protocol::ACCEPTS`](crate::Protocol).
    pub fn versions(mut self, versions: VersionReq) -> Self {
        self.versions = Some(versions);
        self
    }

    /// Sets the time limit for the start of a server: its supervisor's reply, and its `init`. OTP's
    /// `timeout` of a start. Default: 60 seconds.
    ///
    /// At the limit the connection is closed, whatever the supervisor does. A server that runs `init` is
    /// killed, one that has finished it is [shut down](Self::server_shutdown), and none starts later.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.settings.start_timeout = limit;
        self
    }

    /// Sets a callback that receives a handle each time the daemon has started. After a restart by a
    /// supervisor it is the way to get the new handle, and the new port if none was set.
    pub fn on_start(mut self, callback: impl Fn(&Daemon<S>) + Send + Sync + 'static) -> Self {
        self.on_start = Some(Arc::new(callback));
        self
    }

    /// Starts the daemon, in the universe of the task that awaits this, and waits until it listens.
    ///
    /// It runs until it is shut down, drained or killed, or a listener fails
    /// [too often](Self::max_listener_rebinds); handles do not keep it alive.
    ///
    /// # Errors
    ///
    /// A [`StartDaemonError`] that says what to change. All listeners are closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, all listeners are closed.
    pub async fn start(self) -> Result<Daemon<S>, StartDaemonError> {
        let (task, shared) = run::start(self.into_start()).await?;
        Ok(Daemon::new(task, shared))
    }

    fn into_start(self) -> Start {
        let options = self.settings.server.clone();
        Start {
            settings: self.settings,
            spawner: self.spawner,
            supervisor: self.supervisor,
            forward_callers: self.forward_callers,
            acceptance: acceptance::<S>(self.identifier, self.versions),
            factory: Arc::new(Factory::<S>::new(self.seed, options)),
            on_start: self.on_start.map(|callback| -> OnStart {
                Box::new(move |task, shared| {
                    callback(&Daemon::new(task.clone(), Arc::clone(shared)));
                })
            }),
        }
    }

    /// Starts the daemon as [`start`](Self::start) does, and returns an owner, whose drop shuts it down.
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

    /// Returns a specification of the daemon as a child of a supervisor. It keeps the universe current at
    /// this call through every restart, and its port if one was set.
    ///
    /// Its shutdown is [`Shutdown::Infinity`], as it waits for its servers, which have their own
    /// time limits: the calls that have arrived are answered
    /// ([`drain_timeout`](Self::drain_timeout)), then `terminate` runs
    /// ([`server_shutdown`](Self::server_shutdown)).
    #[track_caller]
    pub fn child_spec(self, id: impl Into<String>) -> ChildSpec {
        let here = CapturedContext::capture();
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

fn acceptance<S: Server>(
    identifier: Option<Identifier>,
    versions: Option<VersionReq>,
) -> Result<Acceptance, StartDaemonError> {
    type Protocol<S> = Checked<<S as Server>::Protocol>;
    let identifier = identifier.unwrap_or(Protocol::<S>::IDENTIFIER);
    let versions = match versions {
        Some(versions) => Some(versions),
        None => Protocol::<S>::accepts().map_err(StartDaemonError::Accepts)?,
    };
    Ok(Acceptance {
        identifier: (identifier != Identifier::EMPTY).then_some(identifier),
        versions,
    })
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
