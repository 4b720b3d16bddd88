//! Handles and linked owners: their traits, what keeps a task alive, and what stops it.

use std::{fmt::Debug, net::TcpListener, sync::Arc};

use erps::{
    Address, AddressError, Backoff, CallError, CastError, ChildInfo, ChildSpec, Client,
    ClientBuilder, ConnectError, Context, Counts, Daemon, DaemonBuilder, DaemonInfo, Disconnect,
    DynamicSupervisor, DynamicSupervisorBuilder, ExitReason, HandshakeError, InitError, Linked,
    Network, PacketError, PeerIdentity, PeerInfo, ProtocolError, PushError, Pushes, Reconnect,
    ReplyTo, Restart, SendError, ServerBuilder, ServerError, ServerOptions, ServerRef, ServerSpec,
    ServerSupervisor, Sharded, Shutdown, StartChildError, StartDaemonError, StartError,
    StartServer, Started, Status, SupervisorStopped, TaskRef, TcpOptions, Term,
    TerminateChildError, Tls, TlsError, Universe, UnreadableCertificate, Untrusted,
    universe::InUniverse,
};
use futures::{FutureExt as _, future::join_all};
use smol::future;

use crate::support::test_server::{
    self, Call, Cast, Lifecycle, Reply, TestProtocol, TestServer, Watch, assert_served, eventually,
    pair, run, seed, until_free,
};
use crate::support::time::{HOUR, at_once, settled};

// ---- traits ----

fn is_shareable<T: Send + Sync + Debug>() {}
fn is_a_handle<T: Clone + Send + Sync + Debug>() {}
fn is_an_error<T: std::error::Error + Send + Sync + 'static>() {}

#[test]
fn handles_are_clone_send_sync_and_debug() {
    is_a_handle::<Client<TestProtocol>>();
    is_a_handle::<Daemon<TestServer>>();
    is_a_handle::<ServerRef<TestServer>>();
    is_a_handle::<DynamicSupervisor>();
    is_a_handle::<TaskRef>();
    is_a_handle::<Universe>();
    is_a_handle::<PeerIdentity>();
    is_a_handle::<PeerInfo>();
    is_a_handle::<Tls>();
    is_a_handle::<ChildSpec>();
    is_a_handle::<StartServer>();
    is_a_handle::<ServerSupervisor>();
}

#[test]
fn builders_owners_and_values_are_send_sync_and_debug() {
    is_shareable::<ClientBuilder<TestProtocol>>();
    is_shareable::<DaemonBuilder<TestServer>>();
    is_shareable::<ServerBuilder<TestServer>>();
    is_shareable::<DynamicSupervisorBuilder>();
    is_shareable::<Linked<Client<TestProtocol>>>();
    is_shareable::<Linked<Daemon<TestServer>>>();
    is_shareable::<Linked<ServerRef<TestServer>>>();
    is_shareable::<Linked<DynamicSupervisor>>();
    is_shareable::<Context<TestServer>>();
    is_shareable::<ReplyTo<Reply>>();
    is_shareable::<Pushes<TestProtocol>>();
    is_shareable::<ServerSpec>();
    is_shareable::<ServerOptions>();
    is_shareable::<TcpOptions>();
    is_shareable::<Sharded<u8>>();
    is_shareable::<InUniverse<std::future::Ready<()>>>();
    is_shareable::<Address>();
    is_shareable::<Backoff>();
    is_shareable::<Status>();
    is_shareable::<DaemonInfo>();
    is_shareable::<erps::DaemonEvents>();
    is_shareable::<erps::DaemonEvent>();
    is_shareable::<erps::DrainReport>();
    is_shareable::<erps::ConnectionInfo>();
    is_shareable::<ChildInfo>();
    is_shareable::<Counts>();
    is_shareable::<Started>();
    is_shareable::<ExitReason>();
    is_shareable::<InitError>();
    is_shareable::<Term>();
}

#[test]
fn error_types_implement_error() {
    is_an_error::<AddressError>();
    is_an_error::<CallError>();
    is_an_error::<CastError>();
    is_an_error::<ConnectError>();
    is_an_error::<Disconnect>();
    is_an_error::<HandshakeError>();
    is_an_error::<PacketError>();
    is_an_error::<ProtocolError>();
    is_an_error::<PushError>();
    is_an_error::<SendError>();
    is_an_error::<ServerError>();
    is_an_error::<StartChildError>();
    is_an_error::<StartDaemonError>();
    is_an_error::<StartError>();
    is_an_error::<SupervisorStopped>();
    is_an_error::<TerminateChildError>();
    is_an_error::<TlsError>();
    is_an_error::<UnreadableCertificate>();
    is_an_error::<Untrusted>();
}

#[test]
fn futures_are_send() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    run(async {
        let (daemon, client, _watch) = pair().await;
        sent(client.call(Call::Ping)).await.unwrap();
        sent(client.cast(Cast::Note(1))).await.unwrap();
        sent(client.connect()).await.unwrap();
        sent(client.until(Status::is_connected)).await;
        sent(client.disconnect()).await;
        drop(sent(test_server::client(&daemon).connect()).await.unwrap());
        drop(sent(test_server::daemon().0.start_link()).await.unwrap());
        let (seed, _watch) = seed();
        let server = sent(ServerRef::<TestServer>::builder(seed).start_link());
        let server = server.await.unwrap();
        sent(server.call(Call::Ping)).await.unwrap();
        sent(server.shutdown()).await;
        sent(daemon.task().shutdown(Shutdown::Infinity)).await;
        sent(daemon.exited()).await;
    });
}

// ---- linked owners ----

async fn server() -> (Linked<ServerRef<TestServer>>, Watch) {
    let (seed, watch) = seed();
    let server = ServerRef::builder(seed).start_link().await.unwrap();
    (server, watch)
}

/// Asserts that dropping a linked task shuts it down, and that an unlinked one keeps running.
async fn assert_drop_shuts_down<T: AsRef<TaskRef> + Clone>(kept: Linked<T>, dropped: Linked<T>) {
    let (kept, ended): (T, T) = (kept.unlink(), T::clone(&dropped));
    drop(dropped);
    let reason = ended.as_ref().exited().await;
    assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
    assert!(kept.as_ref().is_alive());
    let reason = kept.as_ref().shutdown(Shutdown::default()).await;
    assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
}

#[test]
fn dropping_a_linked_task_shuts_it_down_unless_it_is_unlinked() {
    run(async {
        let (one, _watch) = server().await;
        let (other, _watch) = server().await;
        assert_drop_shuts_down(one, other).await;

        let (builder, _watch) = test_server::daemon();
        let one = builder.clone().start_link().await.unwrap();
        let client = test_server::client(&one);
        assert_drop_shuts_down(client.start_link(), client.start_link()).await;
        assert_drop_shuts_down(one, builder.start_link().await.unwrap()).await;

        let supervisor = || DynamicSupervisor::builder().start_link();
        assert_drop_shuts_down(supervisor(), supervisor()).await;
    });
}

#[test]
fn shutdown_of_a_linked_task_waits_for_its_exit() {
    run(async {
        let (server, watch) = server().await;
        let handle = ServerRef::clone(&server);
        let reason = server.shutdown().await;
        assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
        assert!(!handle.task().is_alive());
        assert!(matches!(watch.lifecycle.try_recv(), Ok(Lifecycle::Init)));
        assert!(matches!(
            watch.lifecycle.try_recv(),
            Ok(Lifecycle::Terminated(_))
        ));
    });
}

#[test]
fn exited_returns_the_same_reason_any_number_of_times() {
    run(async {
        let (daemon, client, _watch) = pair().await;
        let (daemon, tasks) = {
            let tasks = [daemon.task().clone(), client.task().clone()];
            (daemon.unlink(), tasks)
        };
        let waiting = join_all(tasks.iter().chain(&tasks).map(TaskRef::exited));
        let end = async {
            client.task().request_shutdown();
            client.task().request_shutdown();
            daemon.task().shutdown(Shutdown::Infinity).await;
        };
        let (reasons, ()) = future::zip(waiting, end).await;
        assert!(reasons.iter().all(|it| matches!(it, ExitReason::Shutdown)));
        drop((daemon, client));
        for task in &tasks {
            for _ in 0..3 {
                assert!(matches!(task.exited().await, ExitReason::Shutdown));
                assert!(matches!(task.exit_reason(), Some(ExitReason::Shutdown)));
            }
            // None of this changes the exit reason.
            task.kill();
            task.request_shutdown();
            assert!(matches!(
                task.shutdown(Shutdown::BrutalKill).await,
                ExitReason::Shutdown
            ));
        }
    });
}

#[erps::test(simulated)]
async fn client_exits_with_its_last_handle() {
    let (daemon, client, _watch) = pair().await;
    let task = client.task().clone();
    let other = client.clone();
    drop(client);
    assert_served(&other).await;
    let pushes = other.pushes();
    drop(other);
    assert!(task.is_alive(), "a push stream keeps the client alive");
    drop(pushes);
    let reason = task.exited().await;
    assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
    settled().await;
    assert_eq!(daemon.info().connections, 0);
    assert!(open().is_empty());
}

#[test]
fn task_ref_does_not_keep_a_client_alive() {
    run(async {
        let (_daemon, client, _watch) = pair().await;
        let tasks: Vec<TaskRef> = (0..8).map(|_| client.task().clone()).collect();
        drop(client);
        tasks[0].exited().await;
    });
}

#[test]
fn daemon_handles_neither_stop_it_nor_keep_it_alive() {
    run(async {
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.start().await.unwrap();
        let (address, task) = (daemon.local_addr(), daemon.task().clone());
        drop(daemon.clone());
        drop(daemon);
        let client = Client::<TestProtocol>::builder(address)
            .connect()
            .await
            .unwrap();
        assert_served(&client).await;
        assert!(task.is_alive());
        task.shutdown(Shutdown::Infinity).await;

        let (builder, _watch) = test_server::daemon();
        let daemon = builder
            .bind(test_server::unique_loopback())
            .start_link()
            .await
            .unwrap();
        let handles: Vec<_> = (0..8).map(|_| Daemon::clone(&daemon)).collect();
        drop(daemon);
        handles[0].exited().await;
        until_free(handles[0].local_addr()).await;
    });
}

#[test]
fn server_handles_neither_stop_it_nor_keep_it_alive() {
    run(async {
        let (seed, watch) = seed();
        let server = ServerRef::<TestServer>::builder(seed)
            .start()
            .await
            .unwrap();
        let task = server.task().clone();
        let other = server.clone();
        drop(server);
        assert_eq!(other.call(Call::Ping).await.unwrap(), Reply::Pong);
        drop(other);
        assert!(task.is_alive());
        task.request_shutdown();
        task.exited().await;
        assert_eq!(watch.lifecycle.len(), 2);
    });
}

#[test]
fn debug_of_a_handle_shows_its_state() {
    run(async {
        let (daemon, client, _watch) = pair().await;
        assert!(format!("{daemon:?}").contains(&daemon.port().to_string()));
        assert!(format!("{client:?}").contains("Connected"));
        assert_eq!(daemon.task(), Daemon::clone(&daemon).task());
        assert_ne!(daemon.task(), client.task());
        assert!(format!("{:?}", daemon.task()).contains("TaskRef"));
    });
}

// ---- kills ----

/// Returns the connections of this universe.
fn open() -> Vec<erps::network::Connection> {
    Network::current().unwrap().connections()
}

/// How many calls are in flight when a task is killed.
const CALLS: usize = 20;

/// A daemon whose servers hold calls, and a client that exits when it is disconnected, so that every exit is
/// visible.
async fn held() -> (Linked<Daemon<TestServer>>, Client<TestProtocol>, Watch) {
    let (builder, watch) = test_server::daemon();
    let daemon = builder
        .bind(test_server::unique_loopback())
        .start_link()
        .await
        .unwrap();
    let client = test_server::client(&daemon)
        .reconnect(Reconnect::Never)
        .reply_timeout(HOUR);
    (daemon, client.connect().await.unwrap(), watch)
}

/// Returns how calls held by the server fail when `end` runs.
async fn interrupted(client: &Client<TestProtocol>, end: impl FnOnce()) -> Vec<CallError> {
    let calls = (0..CALLS).map(|_| client.call(Call::Hold));
    let mut calls = Box::pin(join_all(calls));
    assert!(future::poll_once(&mut calls).await.is_none());
    // Calls are handled in order, so the server has received the held calls.
    assert_served(client).await;
    assert!(future::poll_once(&mut calls).await.is_none());
    end();
    calls.await.into_iter().map(Result::unwrap_err).collect()
}

#[erps::test(simulated)]
async fn killed_client_fails_its_calls_and_closes_its_connection() {
    let (daemon, client, watch) = held().await;
    let errors = at_once(interrupted(&client, || client.task().kill())).await;
    assert!(
        errors.iter().all(|it| matches!(it, CallError::Lost)),
        "{errors:?}"
    );
    assert!(matches!(client.exited().await, ExitReason::Killed));
    assert!(matches!(client.status(), Status::Ended(ExitReason::Killed)));
    let late = client.call(Call::Ping).await;
    assert!(
        matches!(late, Err(CallError::Disconnected { .. })),
        "{late:?}"
    );
    let late = client.connect().await;
    assert!(
        matches!(late, Err(ConnectError::Ended(ExitReason::Killed))),
        "{late:?}"
    );
    client.disconnect().await;
    assert!(client.pushes().next().await.is_none());
    assert!(matches!(watch.lifecycle.recv().await, Ok(Lifecycle::Init)));
    let end = watch.lifecycle.recv().await;
    assert!(
        matches!(end, Ok(Lifecycle::Terminated(ExitReason::Disconnected))),
        "{end:?}"
    );
    settled().await;
    assert_eq!(daemon.info().connections, 0);
    assert!(open().is_empty());
}

#[test]
fn client_killed_before_its_first_poll_fails_pending_futures() {
    run(async {
        let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        // The executor runs only when the test ticks it.
        let executor = Arc::new(smol::Executor::new());
        let client = Client::<TestProtocol>::builder(silent.local_addr().unwrap())
            .executor(Arc::clone(&executor))
            .start();
        let mut connect = Box::pin(client.connect());
        let mut until = Box::pin(client.until(Status::is_connected));
        assert!(future::poll_once(&mut connect).await.is_none());
        assert!(future::poll_once(&mut until).await.is_none());
        client.task().kill();
        while executor.try_tick() {}
        let outcome = connect.await;
        assert!(
            matches!(outcome, Err(ConnectError::Ended(ExitReason::Killed))),
            "{outcome:?}"
        );
        assert!(matches!(until.await, Status::Ended(ExitReason::Killed)));
    });
}

#[erps::test(simulated)]
async fn client_killed_during_its_backoff_fails_pending_futures() {
    let client =
        Client::<TestProtocol>::builder(("localhost", 4747)).backoff(Backoff::new(HOUR, HOUR));
    let client = client.start();
    at_once(client.until(|it| matches!(it, Status::Waiting))).await;
    let until = client.until(Status::is_connected);
    let killed = async {
        settled().await;
        let ((), ended) =
            future::zip(async { client.task().kill() }, at_once(client.exited())).await;
        assert!(matches!(ended, ExitReason::Killed), "{ended}");
    };
    let (status, ()) = future::zip(until, killed).await;
    assert!(
        matches!(status, Status::Ended(ExitReason::Killed)),
        "{status:?}"
    );
}

#[erps::test(simulated)]
async fn killed_server_fails_its_calls_and_closes_its_connection() {
    let (seen, receiver) = async_channel::unbounded();
    let supervisor = ServerSupervisor::custom(move |spec| {
        let seen = seen.clone();
        async move {
            let started = spec.start().await?;
            if let Started::Running(task) = &started {
                seen.try_send(task.clone())?;
            }
            Ok(started)
        }
    });
    let (builder, watch) = test_server::daemon();
    let builder = builder.server_supervisor(supervisor);
    let daemon = builder.start_link().await.unwrap();
    let client = test_server::client(&daemon)
        .reconnect(Reconnect::Never)
        .reply_timeout(HOUR);
    let client = client.connect().await.unwrap();
    let task = receiver.recv().await.unwrap();
    let errors = at_once(interrupted(&client, || task.kill())).await;
    assert!(
        errors.iter().all(|it| matches!(it, CallError::Lost)),
        "{errors:?}"
    );
    assert!(matches!(task.exited().await, ExitReason::Killed));
    at_once(client.exited()).await;
    settled().await;
    assert!(open().is_empty());
    assert_eq!(daemon.info().connections, 0);
    assert_eq!(watch.lifecycle.len(), 1, "a callback ran after the kill");
    let next = test_server::client(&daemon).connect().await.unwrap();
    assert_served(&next).await;
}

#[erps::test(simulated)]
async fn killed_server_fails_local_calls() {
    let (server, _watch) = server().await;
    let calls = (0..CALLS).map(|_| server.call_within(Call::Hold, HOUR));
    let mut calls = Box::pin(join_all(calls));
    assert!(future::poll_once(&mut calls).await.is_none());
    server.call(Call::Ping).await.unwrap();
    server.task().kill();
    for outcome in at_once(calls).await {
        assert!(
            matches!(outcome, Err(ServerError::Stopped(ExitReason::Killed))),
            "{outcome:?}"
        );
    }
    let late = server.call(Call::Ping).await;
    assert!(
        matches!(late, Err(ServerError::Stopped(ExitReason::Killed))),
        "{late:?}"
    );
    assert!(matches!(
        server.cast(Cast::Note(1)).await.unwrap_err().0,
        ExitReason::Killed
    ));
}

#[erps::test(simulated)]
async fn server_killed_within_a_handler_fails_local_calls() {
    let (server, _watch) = server().await;
    // From now on the handler waits for the test.
    server.call(Call::AnswerAndGoOn).await.unwrap();
    let mut call = Box::pin(server.call_within(Call::Ping, HOUR));
    assert!(future::poll_once(&mut call).await.is_none());
    settled().await;
    server.task().kill();
    settled().await;
    let outcome = at_once(call).await;
    assert!(
        matches!(outcome, Err(ServerError::Stopped(ExitReason::Killed))),
        "{outcome:?}"
    );
}

#[test]
fn killed_daemon_stops_its_servers_and_releases_its_port() {
    run(async {
        let (daemon, client, watch) = held().await;
        let mut others = Vec::new();
        for _ in 0..5 {
            others.push(test_server::client(&daemon).connect().await.unwrap());
            assert_served(others.last().unwrap()).await;
        }
        assert_eq!(daemon.info().servers, 6);
        let errors = interrupted(&client, || daemon.task().kill()).await;
        assert!(
            errors.iter().all(|it| matches!(it, CallError::Lost)),
            "{errors:?}"
        );
        assert!(matches!(daemon.exited().await, ExitReason::Killed));
        until_free(daemon.local_addr()).await;
        for lost in others {
            lost.until(|it| !it.is_connected()).await;
        }
        eventually("all connections are closed", || {
            daemon.info().connections == 0
        })
        .await;
        assert_eq!(daemon.info().servers, 0);
        assert_eq!(watch.lifecycle.len(), 6, "a callback ran after the kill");
    });
}

#[erps::test(simulated)]
async fn killed_daemon_stops_its_servers_under_any_supervisor() {
    let supervisor = DynamicSupervisor::builder().start_link();
    let handle = DynamicSupervisor::clone(&supervisor);
    for supervisor in [handle.into(), ServerSupervisor::Unsupervised] {
        let (builder, _watch) = test_server::daemon();
        let builder = builder.server_supervisor(supervisor);
        let daemon = builder.start_link().await.unwrap();
        let client = test_server::client(&daemon).reconnect(Reconnect::Never);
        let client = client.connect().await.unwrap();
        assert_served(&client).await;
        daemon.task().kill();
        at_once(client.exited()).await;
        settled().await;
        assert_eq!(daemon.info().connections, 0);
        assert!(open().is_empty());
    }
    let counts = supervisor.count_children().await.unwrap();
    assert_eq!(counts.specs, 0);
    assert!(supervisor.as_ref().is_alive());
}

#[test]
fn daemon_shutdown_waits_for_terminate_of_its_servers() {
    run(async {
        let (daemon, client, watch) = held().await;
        assert_served(&client).await;
        let address = daemon.local_addr();
        daemon.shutdown().await;
        assert!(matches!(watch.lifecycle.try_recv(), Ok(Lifecycle::Init)));
        let end = watch.lifecycle.try_recv();
        assert!(
            matches!(end, Ok(Lifecycle::Terminated(ExitReason::Shutdown))),
            "{end:?}"
        );
        until_free(address).await;
        let reason = client.exited().await;
        assert!(matches!(reason, ExitReason::Disconnected), "{reason}");
    });
}

#[test]
fn task_killed_while_running_receives_no_shutdown_request() {
    run(async {
        let (seen, receiver) = async_channel::unbounded();
        let spec = ChildSpec::task("kills itself", move |me| {
            let seen = seen.clone();
            async move {
                me.kill();
                me.request_shutdown();
                let asked = future::poll_once(me.shutdown_requested()).await;
                seen.try_send(asked.is_some()).unwrap();
                future::pending().await
            }
        });
        let supervisor = DynamicSupervisor::builder().start_link();
        let spec = spec.restart(Restart::Temporary);
        let task = supervisor.start_child(spec).await.unwrap();
        assert!(
            !receiver.recv().await.unwrap(),
            "the killed task received a shutdown request"
        );
        assert!(matches!(task.exited().await, ExitReason::Killed));
    });
}

#[test]
fn killed_task_is_dropped_before_its_exit_is_visible() {
    run(async {
        let mut at_once = 0;
        for _ in 0..20 {
            let (daemon, client, _watch) = held().await;
            let at = daemon.local_addr();
            assert_served(&client).await;
            daemon.task().kill();
            daemon.exited().await;
            at_once += u32::from(TcpListener::bind(at).is_ok());
            until_free(at).await;
            // The exit reason stays available.
            assert!(daemon.exited().now_or_never().is_some());
        }
        // Not always: see `freed`.
        assert!(at_once >= 10, "the port was free {at_once} times of 20");
    });
}
