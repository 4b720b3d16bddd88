//! The task of a daemon: it binds, accepts, drains, and closes.

use std::{io, net::SocketAddr, sync::Arc};

use futures_channel::oneshot;

use super::{
    ServerSupervisor,
    accept::{self, Bound},
    drain,
    factory::ServerFactory,
    settings::Settings,
    shared::Shared,
    state::State,
    table::ConnectionTable,
};
use crate::{
    DynamicSupervisor, Endpoint, ExitReason, Linked, TaskRef, Universe,
    task::Spawner,
    transport::{ListenAddress, SocketOptions},
    universe,
    wire::{identity::VersionReqError, packet::Acceptance},
};

/// Everything that a daemon is started from, whatever its servers' type.
pub(super) struct Start {
    pub(super) settings: Settings,
    pub(super) spawner: Spawner,
    pub(super) supervisor: Option<ServerSupervisor>,
    pub(super) forward_callers: bool,
    pub(super) acceptance: Result<Acceptance, StartDaemonError>,
    pub(super) factory: Arc<dyn ServerFactory>,
    pub(super) on_start: Option<OnStart>,
}

pub(super) type OnStart = Box<dyn FnOnce(&TaskRef, &Arc<Shared>) + Send>;

type Started = oneshot::Sender<Result<Arc<Shared>, StartDaemonError>>;

/// Starts a daemon in a task of its own and waits until it listens.
pub(super) async fn start(start: Start) -> Result<(TaskRef, Arc<Shared>), StartDaemonError> {
    let forwarded = start.forward_callers.then(Universe::current);
    let is_forwarded = forwarded.is_some();
    let universe = forwarded.unwrap_or(None);
    let (started, ready) = oneshot::channel();
    let spawner = start.spawner.clone();
    let task = universe::integration::enter(&universe, || {
        let server_type = start.factory.server_type();
        spawner.start(format_args!("the daemon of `{server_type}`"), |task| {
            run(task, start, is_forwarded, started)
        })
    });
    // Dropped with this future, it shuts the daemon down, even if that already listens.
    let owner = Linked::new(task);
    let outcome = match ready.await {
        Ok(outcome) => outcome,
        Err(oneshot::Canceled) => Err(StartDaemonError::Exited(owner.exited().await)),
    };
    let task = owner.unlink();
    outcome.map(|shared| (task, shared))
}

/// The body of the daemon's task.
async fn run(task: TaskRef, mut start: Start, forwarded: bool, started: Started) -> ExitReason {
    let (spawner, on_start) = (start.spawner.clone(), start.on_start.take());
    let (listeners, shared, own_supervisor) = match prepare(&task, start, forwarded) {
        Ok(prepared) => prepared,
        Err(error) => {
            let reason = ExitReason::error(error.clone());
            let _ = started.send(Err(error));
            return reason;
        }
    };
    task.set_has_children();
    if let Some(own) = &own_supervisor {
        own.show_below(&task);
    }
    // From here on no server outlives this task, even if it is killed.
    let guard = KillOnDrop(&shared);
    if let Some(on_start) = on_start {
        on_start(&task, &shared);
    }
    let _ = started.send(Ok(Arc::clone(&shared)));
    for address in &shared.local_addrs {
        tracing::debug!(target: "erps", %address, "listening");
    }
    let reason = accept::run(listeners, &shared, &spawner, &task).await;
    drain::run(&shared, &task).await;
    shared.close().await;
    shared.state.warnings.flush();
    drop(guard);
    if let Some(supervisor) = own_supervisor {
        supervisor.shutdown().await;
    }
    reason
}

type Prepared = (
    Vec<Vec<Bound>>,
    Arc<Shared>,
    Option<Linked<DynamicSupervisor>>,
);

/// Validates the settings and binds all addresses, or none.
fn prepare(task: &TaskRef, start: Start, forwarded: bool) -> Result<Prepared, StartDaemonError> {
    let mut settings = start.settings;
    let places = settings.take_addresses();
    check_plaintext(&settings, &places)?;
    let acceptance = start.acceptance?;
    let (supervisor, own_supervisor) = match start.supervisor {
        Some(supervisor) => (supervisor, None),
        None => {
            let own = DynamicSupervisor::builder()
                .name("servers")
                .spawner(start.spawner.clone())
                .start_link();
            (
                ServerSupervisor::Dynamic(DynamicSupervisor::clone(&own)),
                Some(own),
            )
        }
    };
    let sockets = SocketOptions::new(settings.tcp.clone());
    let listen = |place: &ListenAddress| {
        let bound = Bound::at(place, &sockets, settings.accept_loops);
        bound.map_err(|source| StartDaemonError::Bind {
            address: place.endpoint(),
            source: Arc::new(source),
        })
    };
    let listeners = places.iter().map(listen).collect::<Result<Vec<_>, _>>()?;
    let local_addrs = listeners.iter().map(|it| it[0].address().clone());
    let local_addrs = local_addrs.collect();
    let state = Arc::new(State::new(settings.limits));
    let shared = Shared {
        task: task.clone(),
        table: Arc::new(ConnectionTable::new(&state, settings.shutdown)),
        state,
        settings,
        acceptance,
        local_addrs,
        supervisor,
        forwarded,
        spawner: start.spawner,
        factory: start.factory,
    };
    Ok((listeners, Arc::new(shared), own_supervisor))
}

/// Rejects plaintext on addresses that other machines can reach.
fn check_plaintext(settings: &Settings, places: &[ListenAddress]) -> Result<(), StartDaemonError> {
    if settings.transport.is_secure() || settings.plaintext_anywhere {
        return Ok(());
    }
    let reachable = places
        .iter()
        .map(ListenAddress::endpoint)
        .find(|it| !it.is_local());
    match reachable.and_then(|it| it.inet()) {
        Some(address) => Err(StartDaemonError::Plaintext(address)),
        None => Ok(()),
    }
}

/// Kills all servers if the daemon is killed.
struct KillOnDrop<'a>(&'a Shared);

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        self.0.table.kill_all();
    }
}

/// Why a daemon did not start. All its listeners are closed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartDaemonError {
    /// The address cannot be bound: it is in use, or does not belong to this machine.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: Endpoint,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// Other machines can reach the address, and the transport is plaintext.
    #[error(
        "{0} can be reached from other machines, but the transport is not secure: \
         use `Tls`, or call `plaintext_anywhere()`"
    )]
    Plaintext(SocketAddr),
    /// [`Protocol::ACCEPTS`](crate::Protocol::ACCEPTS) is not a version requirement.
    #[error("`Protocol::ACCEPTS` is not a version requirement: {0}")]
    Accepts(#[source] VersionReqError),
    /// The daemon was shut down or killed while it started.
    #[error("the daemon exited while it started: {0}")]
    Exited(ExitReason),
}
