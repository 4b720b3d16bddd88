//! The life of a daemon: bound, listening, closed.

use std::{marker::PhantomData, sync::Arc};

use futures_channel::oneshot;

use super::{
    Daemon, DaemonBuilder, ServerSupervisor, StartDaemonError,
    accept::{self, Listening},
    drain,
    options::Settings,
    shared::Shared,
};
use crate::{
    DynamicSupervisor, ExitReason, Linked, Server, Universe,
    protocol::Checked,
    transport::{Place, Sockets},
    universe,
    wire::packet::Acceptance,
};

/// Starts a daemon in a task of its own and waits until it listens.
pub(super) async fn start<S: Server>(
    builder: DaemonBuilder<S>,
) -> Result<Daemon<S>, StartDaemonError> {
    let forwarded = builder.forward_callers.then(Universe::current);
    let life = forwarded.clone().unwrap_or(None);
    let (started, ready) = oneshot::channel();
    let spawner = builder.spawner.clone();
    let task = universe::integration::enter(&life, || {
        let what = std::any::type_name::<S>();
        let spawner = spawner.clone();
        spawner
            .clone()
            .start(format_args!("the daemon of `{what}`"), |task| async move {
                let on_start = builder.on_start.clone();
                let (listeners, shared, own_supervisor) =
                    match prepare(builder, forwarded.is_some()) {
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
                // From here on, whatever becomes of this task, nobody is left behind.
                let closing = Closing(&shared);
                let daemon = Daemon {
                    task: task.clone(),
                    shared: Arc::clone(&shared) as Arc<_>,
                    server: PhantomData,
                };
                if let Some(on_start) = on_start {
                    on_start(&daemon);
                }
                let _ = started.send(Ok(daemon));
                for address in &shared.local_addrs {
                    tracing::debug!(target: "erps", %address, "listening");
                }
                let reason = accept::run(listeners, &shared, &spawner, &task).await;
                drain::run(&shared, &task).await;
                shared.close().await;
                shared.warnings.flush();
                drop(closing);
                if let Some(supervisor) = own_supervisor {
                    supervisor.shutdown().await;
                }
                reason
            })
    });
    // Dropped with this future, it ends the daemon: also one that listens and has not been taken.
    let owner = Linked::new(task);
    let outcome = match ready.await {
        Ok(outcome) => outcome,
        Err(oneshot::Canceled) => Err(StartDaemonError::Ended(owner.exited().await)),
    };
    owner.unlink();
    outcome
}

type Prepared<S> = (
    Vec<Vec<Listening>>,
    Arc<Shared<S>>,
    Option<Linked<DynamicSupervisor>>,
);

/// Checks the settings and opens the ports, all or none.
fn prepare<S: Server>(
    builder: DaemonBuilder<S>,
    forwarded: bool,
) -> Result<Prepared<S>, StartDaemonError> {
    let mut settings = builder.settings;
    let places = settings.take_places();
    refuse_plaintext(&settings, &places)?;
    let acceptance = acceptance::<S>(builder.identifier, builder.versions)?;
    let (supervisor, own_supervisor) = match builder.supervisor {
        Some(supervisor) => (supervisor, None),
        None => {
            let own = DynamicSupervisor::builder()
                .name("servers")
                .spawner(builder.spawner.clone())
                .start_link();
            (
                ServerSupervisor::Dynamic(DynamicSupervisor::clone(&own)),
                Some(own),
            )
        }
    };
    let sockets = Sockets::new(settings.tcp.clone());
    let listen = |place: &Place| {
        let listening = Listening::at(place, &sockets, settings.accept_loops);
        listening.map_err(|source| StartDaemonError::Bind {
            address: place.endpoint(),
            source: Arc::new(source),
        })
    };
    let listeners = places.iter().map(listen).collect::<Result<Vec<_>, _>>()?;
    let local_addrs = listeners.iter().map(|it| it[0].address().clone());
    let local_addrs = local_addrs.collect();
    let shared = Shared::new(
        settings,
        acceptance,
        local_addrs,
        supervisor,
        forwarded,
        builder.spawner,
        builder.seed,
    );
    Ok((listeners, Arc::new(shared), own_supervisor))
}

fn refuse_plaintext(settings: &Settings, places: &[Place]) -> Result<(), StartDaemonError> {
    if settings.transport.is_secure() || settings.plaintext_anywhere {
        return Ok(());
    }
    let reachable = places.iter().map(Place::endpoint).find(|it| !it.is_local());
    match reachable.and_then(|it| it.inet()) {
        Some(address) => Err(StartDaemonError::Plaintext(address)),
        None => Ok(()),
    }
}

fn acceptance<S: Server>(
    identifier: Option<crate::wire::identity::Identifier>,
    versions: Option<crate::wire::identity::VersionReq>,
) -> Result<Acceptance, StartDaemonError> {
    type Protocol<S> = Checked<<S as Server>::Protocol>;
    let identifier = identifier.unwrap_or(Protocol::<S>::IDENTIFIER);
    let versions = match versions {
        Some(versions) => Some(versions),
        None => Protocol::<S>::accepts().map_err(StartDaemonError::Accepts)?,
    };
    Ok(Acceptance {
        identifier: (identifier != crate::wire::identity::Identifier::EMPTY).then_some(identifier),
        versions,
    })
}

/// Kills what is left if the daemon is killed.
struct Closing<'a, S: Server>(&'a Shared<S>);

impl<S: Server> Drop for Closing<'_, S> {
    fn drop(&mut self) {
        self.0.kill_all();
    }
}
