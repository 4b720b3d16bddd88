//! From an accepted socket to a supervised server, in a task of the connection's own.
//!
//! ```text
//! accepted --> handshake, under a time limit --> supervisor --> init --> the server's own task
//! ```
//!
//! Whatever fails on the way, or takes too long, closes the socket and makes one event. The peer is
//! told nothing more: why no server starts is no business of somebody who has not been let in.

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

use futures_lite::FutureExt as _;

use super::{
    ServerRecipe, ServerSupervisor,
    shared::{Permit, Shared},
    ticket::{Closing, Ticket},
};
use crate::{
    BoxError, ChildSpec, ExitReason, PeerInfo, Server, StartError, Started, TaskRef,
    server::{self, Connected, ConnectionRef},
    task::{self, Spawner},
    transport::BoxedStream,
    universe::Here,
};

pub(super) fn start<S: Server>(
    shared: &Arc<Shared<S>>,
    spawner: &Spawner,
    stream: BoxedStream,
    address: SocketAddr,
) {
    let permit = shared.permit();
    let shared = Arc::clone(shared);
    let own_spawner = spawner.clone();
    spawner.start(format_args!("the connection of {address}"), |task| async move {
        let Some(arriving) = shared.begin_handshake(&task) else {
            return ExitReason::Shutdown;
        };
        // A user's transport may panic.
        let handshake = async { shared.settings.transport.accept(stream, address).await };
        let handshake = AssertUnwindSafe(handshake).catch_unwind();
        let failure = match task::timeout(shared.settings.handshake_timeout, handshake).await {
            Ok(Ok(Ok(_))) if !arriving.end_handshake() => return ExitReason::Shutdown,
            Ok(Ok(Ok(secured))) => {
                let peer = PeerInfo {
                    address,
                    identity: secured.identity,
generation: secured.generation,
                };
                match supervise(&shared, own_spawner, permit, secured.stream, peer).await {
                    Ok(()) => return ExitReason::Normal,
                    Err(error) => ("start", error),
                }
            }
            Ok(Ok(Err(error))) => ("handshake", error.into()),
            Ok(Err(panic)) => ("handshake", ExitReason::panic(&*panic).to_string().into()),
            Err(task::Elapsed) => ("handshake", "it took too long".into()),
        };
        shared.count_failed();
        let (stage, error) = failure;
        tracing::warn!(target: "erps", peer = %address, stage, %error, "no server for a connection");
        ExitReason::Normal
    });
}

/// Has the server started by whoever supervises it.
async fn supervise<S: Server>(
    shared: &Arc<Shared<S>>,
    spawner: Spawner,
    permit: Permit<S>,
    stream: BoxedStream,
    peer: PeerInfo,
) -> Result<(), BoxError> {
    let ticket = Closing(Ticket::new((permit, stream, peer.clone())));
    let starting = ask(shared, spawner, peer, ticket.0.clone());
    let limit = shared.settings.start_timeout;
    let outcome = match task::timeout(limit, starting).await {
        Ok(Ok(Started::Running(_))) if ticket.0.is_taken() => return Ok(()),
        Ok(Ok(Started::Running(_))) => Err("the supervisor started something else".into()),
        Ok(Ok(Started::Ignore)) => Err("ignored".into()),
        Ok(Err(error)) => Err(error),
        Err(task::Elapsed) => Err(format!("there was none within {limit:?}").into()),
    };
    // Whatever was answered, or not, there may be a server by now.
    ticket.0.cancel(shared.settings.shutdown);
    outcome
}

/// Asks the supervisor for the server, and waits for its answer.
async fn ask<S: Server>(
    shared: &Arc<Shared<S>>,
    spawner: Spawner,
    peer: PeerInfo,
    ticket: Ticket<S>,
) -> Result<Started, BoxError> {
    let spec = recipe(shared, spawner, &peer, ticket);
    match &shared.supervisor {
        ServerSupervisor::Dynamic(supervisor) => Ok(supervisor.start_child(spec).await?.into()),
        ServerSupervisor::Custom(start) => {
            let recipe = ServerRecipe {
                spec,
                peer,
                server: std::any::type_name::<S>(),
            };
            // The closure itself may panic, and so may its future.
            let start = async { (start.0)(recipe).await };
            match AssertUnwindSafe(start).catch_unwind().await {
                Ok(started) => started,
                Err(panic) => Err(ExitReason::panic(&*panic).to_string().into()),
            }
        }
        ServerSupervisor::Unsupervised => spec.start().await,
    }
}

/// The recipe for the server of one connection, to be followed once, by whomever.
///
/// It carries the daemon's universe with it, so that the server lives there whoever starts it.
fn recipe<S: Server>(
    shared: &Arc<Shared<S>>,
    spawner: Spawner,
    peer: &PeerInfo,
    ticket: Ticket<S>,
) -> ChildSpec {
    let id = format!("server of {}", peer.address);
    let (restart, shutdown) = (shared.settings.restart, shared.settings.shutdown);
    // That which the daemon is in now: it may have been taken into another one.
    let forwarded = shared.forwarded.then(Here::capture);
    let (shared, made) = (Arc::clone(shared), spawner.made());
    let start = move || {
        let (shared, spawner, ticket) = (Arc::clone(&shared), spawner.clone(), ticket.clone());
        let forwarded = forwarded.clone();
        let start = async move {
            let Some((permit, stream, peer)) = ticket.take() else {
                return Ok(Started::Ignore);
            };
            let connected = Connected {
                stream,
                peer,
                acceptance: shared.acceptance.clone(),
            };
            let options = &shared.settings.server;
            let seed = shared.seed();
            let peer = connected.peer.clone();
            let track = |task: &TaskRef, connection: Option<ConnectionRef>| {
                let connection = connection.expect("the server is started for one");
                shared.track(task, peer, connection, permit);
                ticket.born(task);
            };
            match server::start::<S>(seed, options, &spawner, Some(connected), None, track).await {
                Ok(server) => {
                    ticket.ready();
                    Ok(Started::Running(server.task().clone()))
                }
                Err(StartError::Ignored) => Ok(Started::Ignore),
                Err(error) => Err(error.into()),
            }
        };
        async move {
            match forwarded {
                Some(here) => here.scope(start).await,
                None => start.await,
            }
        }
    };
    ChildSpec::new(id, start)
        .made_at(made)
        .restart(restart)
        .shutdown(shutdown)
}
