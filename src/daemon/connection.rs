//! From an accepted socket to a supervised server, in a task of the connection's own.
//!
//! ```text
//! accepted --> [PROXY header] --> admitted? --> handshake, under a time limit --> admitted? --> supervisor --> init
//!                                                                                                   the server's own task
//! ```
//!
//! Whatever fails on the way, or takes too long, closes the socket and makes one event, that of the
//! [`Visit`]'s end. A peer that was let in is told nothing more: why no server starts is no business of
//! strangers.
//!
//! [`Visit`]: super::visit::Visit

use std::{mem, sync::Arc};

use tracing::Instrument as _;

use super::{
    AtLimit, ConnectionEnd, HandshakeFailure, NotAdmitted, ServerRecipe, ServerSupervisor, proxy,
    shared::{Arriving, Shared},
    ticket::{Closing, Ticket},
    visit::{Permit, Seat},
};
use crate::{
    BoxError, ChildSpec, ExitReason, PeerInfo, Server, StartError, Started, TaskRef,
    server::{self, Connected, ConnectionRef},
    task::{self, Caught, Spawner},
    transport::{BoxedStream, Socketed},
    universe::Here,
    wire::rejection::Rejection,
};

pub(super) fn start<S: Server>(
    shared: &Arc<Shared<S>>,
    spawner: &Spawner,
    socket: Socketed,
    seat: Option<Seat<S>>,
) {
    let address = socket.peer.clone();
    let (mut permit, refusal) = Permit::new(shared, address.clone(), seat);
    // Behind a proxy the address is not known before it has been announced.
    let refusal = match shared.settings.proxies {
        Some(_) => refusal,
        None => refusal.or_else(|| permit.locate(&address)),
    };
    if let Some(why) = &refusal
        && shared.limits().at_limit == AtLimit::Close
    {
        permit.visit().refuse(why.clone());
        return;
    }
    let shared = Arc::clone(shared);
    let own_spawner = spawner.clone();
    let span = tracing::info_span!(target: "erps", "connection", peer = %address);
    spawner.start(format_args!("the connection of {address}"), |task| {
        let arrive = async move {
            let visit = Arc::clone(permit.visit());
            let arrival = arrive(&shared, &task, permit, socket, refusal);
            let (permit, secured, peer, arriving) = match arrival.await {
                Ok(Some(arrival)) => arrival,
                Ok(None) => return ExitReason::Shutdown,
                Err(end) => {
                    visit.end(end);
                    return ExitReason::Normal;
                }
            };
            visit.secured(&peer);
            let started = supervise(&shared, own_spawner, permit, secured, peer.clone()).await;
            match started {
                Ok(()) => visit.served(peer),
                Err(error) => visit.end(ConnectionEnd::NotStarted(error.to_string())),
            }
            drop(arriving);
            ExitReason::Normal
        };
        arrive.instrument(span)
    });
}

type Arrival<S> = (Permit<S>, BoxedStream, PeerInfo, Arriving<S>);

/// Takes a connection through its handshake, and tells whether it is let in. `None` if it has made
/// way for another, or the daemon is closing.
async fn arrive<S: Server>(
    shared: &Arc<Shared<S>>,
    task: &TaskRef,
    mut permit: Permit<S>,
    socket: Socketed,
    refusal: Option<NotAdmitted>,
) -> Result<Option<Arrival<S>>, ConnectionEnd> {
    let (settings, limits) = (&shared.settings, shared.limits());
    let Socketed {
        mut stream,
        peer: mut address,
        credentials,
    } = socket;
    let begun = task::now();
    let Some(arriving) = shared.begin_handshake(task, permit.visit(), refusal.is_some()) else {
        return Ok(None);
    };
    let (mut proxy, mut refusal) = (None, refusal);
    if let Some(proxies) = &settings.proxies {
        if proxies.refuses(&address).is_some() {
            return Err(ConnectionEnd::NotAdmitted(NotAdmitted::Proxy));
        }
        let header = proxy::read(&mut stream);
        let announced = match task::timeout(limits.handshake_timeout, header).await {
            Ok(announced) => announced.map_err(ConnectionEnd::Handshake)?,
            Err(task::Elapsed) => {
                return Err(ConnectionEnd::Handshake(HandshakeFailure::TimedOut));
            }
        };
        if let Some(announced) = announced {
            tracing::debug!(target: "erps", %announced, "a proxy says whom the connection comes from");
            permit.visit().announced(&announced);
            proxy = Some(mem::replace(&mut address, announced));
        }
        refusal = refusal.or_else(|| permit.locate(&address));
    }
    let hook = || settings.admit_address.as_ref()?.refuses(&address);
    let refusal = refusal.or_else(hook);
    // A handshake is dear: only where that was asked for does one precede a refusal.
    if let Some(why @ (NotAdmitted::Address | NotAdmitted::Hook(_))) = &refusal
        && settings.transport.is_secure()
    {
        return Err(ConnectionEnd::NotAdmitted(why.clone()));
    }
    // A user's transport may panic.
    let handshake = async { settings.transport.accept(stream, address.clone()).await };
    let handshake = Caught::new(handshake);
    let limit = limits.handshake_timeout.saturating_sub(task::now() - begun);
    let failure = match task::timeout(limit, handshake).await {
        Ok(Ok(Ok(secured))) => {
            let peer = PeerInfo {
                address,
                proxy,
                credentials,
                identity: secured.identity,
                generation: secured.generation,
            };
            let refusal = refusal
                .or_else(|| settings.admit.as_ref()?.refuses(&peer))
                .or_else(|| permit.identify(peer.identity.as_ref()?));
            let Some(why) = refusal else {
                let has_way = arriving.end_handshake();
                return Ok(has_way.then_some((permit, secured.stream, peer, arriving)));
            };
            if !is_silent(limits.at_limit, &why) {
                let word = word(limits.at_limit, &why);
                let told = server::refuse(secured.stream, &settings.server, &word);
                let _ = task::timeout(limits.handshake_timeout, told).await;
            }
            return Err(ConnectionEnd::NotAdmitted(why));
        }
        Ok(Ok(Err(error))) => HandshakeFailure::Failed(error),
        Ok(Err(panic)) => HandshakeFailure::Panicked(panic),
        Err(task::Elapsed) => HandshakeFailure::TimedOut,
    };
    Err(ConnectionEnd::Handshake(failure))
}

/// Whether a limit is to be met without a word. A hook always gives its reason.
fn is_silent(at_limit: AtLimit, why: &NotAdmitted) -> bool {
    at_limit == AtLimit::Close && !matches!(why, NotAdmitted::Hook(_))
}

/// What a peer is told that is not let in.
fn word(at_limit: AtLimit, why: &NotAdmitted) -> String {
    let retry_after = match (at_limit, why) {
        (AtLimit::Refuse { retry_after }, it) if !matches!(it, NotAdmitted::Hook(_)) => {
            Some(retry_after)
        }
        _ => None,
    };
    let why = why.to_string();
    Rejection {
        reason: why,
        retry_after,
    }
    .to_string()
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
            match Caught::new(start).await {
                Ok(started) => started,
                Err(panic) => Err(panic.to_string().into()),
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
