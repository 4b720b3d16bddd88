//! From an accepted socket to a supervised server, in the connection's own task.
//!
//! ```text
//! accepted --> [PROXY header] --> hooks, limits --> handshake --> hooks, limits --> supervisor --> init
//!                                                                                      the server's own task
//! ```
//!
//! A failure or a timeout on the way closes the socket and publishes one event, when the
//! [`ConnectionRecord`](super::record::ConnectionRecord) is dropped. A peer whose server did not
//! start is rejected, without the reason unless [`ServerOptions::error_details`](crate::ServerOptions::error_details)
//! is set: the reason could disclose internals.

use std::{mem, sync::Arc, time::Duration};

use tracing::Instrument as _;

use super::{
    AtLimit, CloseReason, HandshakeFailure, Rejection, ServerSpec, ServerSupervisor,
    permit::{Permit, Slot},
    proxy,
    shared::Shared,
    start_token::{CloseOnDrop, StartToken},
    table::Pending,
};
use crate::{
    BoxError, ChildSpec, Endpoint, ExitReason, PeerInfo, StartError, Started, TaskRef,
    server::{self, Connected, ConnectionRef},
    task::{self, Caught, Spawner},
    transport::{BoxedStream, RawConnection},
    universe::CapturedContext,
    wire::rejection,
};

/// Starts the task of a connection. Without a slot the connection is rejected.
pub(super) fn start(
    shared: &Arc<Shared>,
    spawner: &Spawner,
    socket: RawConnection,
    slot: Option<Slot>,
) {
    let address = socket.peer.clone();
    let (mut permit, rejection) = Permit::new(&shared.state, address.clone(), slot);
    // Behind a proxy the address is known only from the PROXY header.
    let rejection = match shared.settings.proxies {
        Some(_) => rejection,
        None => rejection.or_else(|| permit.count_address(&address)),
    };
    if let Some(why) = &rejection
        && shared.state.limits().at_limit == AtLimit::Close
    {
        permit.record().reject(why.clone());
        return;
    }
    let shared = Arc::clone(shared);
    let own_spawner = spawner.clone();
    let name = tracing::field::Empty;
    let span = tracing::info_span!(target: "erps", "connection", peer = %address, name);
    let own_span = span.clone();
    spawner.start(format_args!("the connection of {address}"), |task| {
        let run = async move {
            let record = Arc::clone(permit.record());
            let secured = secure(&shared, &task, permit, socket, rejection);
            let (permit, stream, peer, pending) = match secured.await {
                Ok(Some(secured)) => secured,
                Ok(None) => return ExitReason::Shutdown,
                Err(reason) => {
                    record.set_reason(reason);
                    return ExitReason::Normal;
                }
            };
            record.set_secured(&peer);
            if let Some(name) = peer.identity.as_ref().and_then(|it| it.name()) {
                own_span.record("name", name);
            }
            let started = start_server(&shared, own_spawner, permit, stream, peer.clone()).await;
            match started {
                Ok(()) => record.set_served(peer),
                Err(error) => record.set_reason(CloseReason::NotStarted(error.to_string())),
            }
            drop(pending);
            ExitReason::Normal
        };
        run.instrument(span)
    });
}

/// A connection whose handshake is complete, and its entry in the table.
type Secured = (Permit, BoxedStream, PeerInfo, Pending);

/// Carries out the handshake of a connection and accepts or rejects it. Returns `None` if it was evicted,
/// or the daemon is closing.
async fn secure(
    shared: &Shared,
    task: &TaskRef,
    mut permit: Permit,
    socket: RawConnection,
    rejection: Option<Rejection>,
) -> Result<Option<Secured>, CloseReason> {
    let (settings, limits) = (&shared.settings, shared.state.limits());
    let RawConnection {
        mut stream,
        peer: mut address,
        credentials,
    } = socket;
    let begun = task::now();
    let record = Arc::clone(permit.record());
    let Some(pending) = shared
        .table
        .begin_handshake(task, &record, rejection.is_some())
    else {
        return Ok(None);
    };
    let (mut proxy, mut rejection) = (None, rejection);
    if let Some(proxies) = &settings.proxies {
        if proxies.rejects(&address).is_some() {
            return Err(CloseReason::Rejected(Rejection::Proxy));
        }
        if let Some(announced) = read_proxy_header(&mut stream, limits.handshake_timeout).await? {
            tracing::debug!(target: "erps", %announced, "the proxy announced the peer's address");
            record.set_address(&announced);
            proxy = Some(mem::replace(&mut address, announced));
        }
        rejection = rejection.or_else(|| permit.count_address(&address));
    }
    let hook = || settings.admit_address.as_ref()?.rejects(&address);
    let rejection = rejection.or_else(hook);
    // Handshakes are expensive: only `AtLimit::Refuse` carries one out before a rejection.
    if let Some(why @ (Rejection::Address | Rejection::Hook(_))) = &rejection
        && settings.transport.is_secure()
    {
        return Err(CloseReason::Rejected(why.clone()));
    }
    // A custom transport may panic.
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
            let rejection = rejection
                .or_else(|| settings.admit.as_ref()?.rejects(&peer))
                .or_else(|| permit.count_identity(peer.identity.as_ref()?));
            let Some(why) = rejection else {
                let proceeds = pending.end_handshake();
                return Ok(proceeds.then_some((permit, secured.stream, peer, pending)));
            };
            if !is_silent(limits.at_limit, &why) {
                let message = rejection_message(limits.at_limit, &why);
                let sent = server::reject(secured.stream, &settings.server, &message);
                let _ = task::timeout(limits.handshake_timeout, sent).await;
            }
            return Err(CloseReason::Rejected(why));
        }
        Ok(Ok(Err(error))) => HandshakeFailure::Failed(error),
        Ok(Err(panic)) => HandshakeFailure::Panicked(panic),
        Err(task::Elapsed) => HandshakeFailure::TimedOut,
    };
    Err(CloseReason::Handshake(failure))
}

/// Returns the address that the PROXY header announces, if any.
async fn read_proxy_header(
    stream: &mut BoxedStream,
    limit: Duration,
) -> Result<Option<Endpoint>, CloseReason> {
    let header = task::timeout(limit, proxy::read(stream)).await;
    let header = header.unwrap_or(Err(HandshakeFailure::TimedOut));
    header.map_err(CloseReason::Handshake)
}

/// Returns whether the peer is rejected without a message. A hook's reason is always sent.
fn is_silent(at_limit: AtLimit, why: &Rejection) -> bool {
    at_limit == AtLimit::Close && !matches!(why, Rejection::Hook(_))
}

/// Returns the message that a rejected peer receives.
fn rejection_message(at_limit: AtLimit, why: &Rejection) -> String {
    let retry_after = match (at_limit, why) {
        (AtLimit::Refuse { retry_after }, it) if !matches!(it, Rejection::Hook(_)) => {
            Some(retry_after)
        }
        _ => None,
    };
    let why = why.to_string();
    rejection::Rejection {
        reason: why,
        retry_after,
    }
    .to_string()
}

/// Starts the server under its supervisor, within the time limit.
async fn start_server(
    shared: &Arc<Shared>,
    spawner: Spawner,
    permit: Permit,
    stream: BoxedStream,
    peer: PeerInfo,
) -> Result<(), BoxError> {
    let token = CloseOnDrop(StartToken::new((permit, stream, peer.clone())));
    let starting = ask_supervisor(shared, spawner, peer, token.0.clone());
    let limit = shared.settings.start_timeout;
    let outcome: Result<(), BoxError> = match task::timeout(limit, starting).await {
        Ok(Ok(Started::Running(_))) if token.0.is_taken() => return Ok(()),
        Ok(Ok(Started::Running(_))) => Err("the supervisor started another task".into()),
        Ok(Ok(Started::Ignore)) => Err("ignored".into()),
        Ok(Err(error)) => Err(error),
        Err(task::Elapsed) => Err(format!("the server did not start within {limit:?}").into()),
    };
    if let Err(error) = &outcome
        && let Some((_permit, stream, _)) = token.0.take()
    {
        let options = &shared.settings.server;
        let rejected = server::reject_unstarted(stream, options, error.to_string());
        let _ = task::timeout(shared.state.limits().handshake_timeout, rejected).await;
    }
    // Whatever the reply, there may be a server by now.
    token.0.cancel(shared.settings.shutdown);
    outcome
}

/// Asks the supervisor to start the server, and waits for its reply.
async fn ask_supervisor(
    shared: &Arc<Shared>,
    spawner: Spawner,
    peer: PeerInfo,
    token: StartToken,
) -> Result<Started, BoxError> {
    let spec = child_spec(shared, spawner, &peer, token);
    match &shared.supervisor {
        ServerSupervisor::Dynamic(supervisor) => Ok(supervisor.start_child(spec).await?.into()),
        ServerSupervisor::Custom(start) => {
            let spec = ServerSpec {
                spec,
                peer,
                server: shared.factory.server_type(),
            };
            // Both the closure and its future may panic.
            let start = async { (start.0)(spec).await };
            match Caught::new(start).await {
                Ok(started) => started,
                Err(panic) => Err(panic.to_string().into()),
            }
        }
        ServerSupervisor::Unsupervised => spec.start().await,
    }
}

/// Returns the specification of one connection's server, which can be started once.
///
/// It captures the daemon's universe, so that the server runs there, whichever supervisor starts it.
fn child_spec(
    shared: &Arc<Shared>,
    spawner: Spawner,
    peer: &PeerInfo,
    token: StartToken,
) -> ChildSpec {
    let id = format!("server of {}", peer.address);
    let (restart, shutdown) = (shared.settings.restart, shared.settings.shutdown);
    // The daemon's current universe: it may have been taken into another one.
    let forwarded = shared.forwarded.then(CapturedContext::capture);
    let (shared, made) = (Arc::clone(shared), spawner.made());
    let start = move || {
        let (shared, spawner, token) = (Arc::clone(&shared), spawner.clone(), token.clone());
        let forwarded = forwarded.clone();
        let start = async move {
            let Some((permit, stream, peer)) = token.take() else {
                return Ok(Started::Ignore);
            };
            let parent = Arc::downgrade(&shared);
            let connected = Connected {
                parent,
                stream,
                peer,
                acceptance: shared.acceptance.clone(),
            };
            let peer = connected.peer.clone();
            let (table, spawned) = (Arc::clone(&shared.table), token.clone());
            let on_spawn = move |task: &TaskRef, connection: Option<ConnectionRef>| {
                let connection = connection.expect("the server is started for one");
                table.add_server(task, peer, connection, permit);
                spawned.spawned(task);
            };
            let factory = Arc::clone(&shared.factory);
            match factory.start(spawner, connected, Box::new(on_spawn)).await {
                Ok(server) => {
                    token.ready();
                    Ok(Started::Running(server))
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
