//! Clients and servers that are killed, supervised or not: the cases of Elixir's erps, in simulated time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use erps::{
    CallError, Client, Daemon, DynamicSupervisor, ExitReason, Restart, ServerSupervisor, Shutdown,
    Started, Status, Supervisor, TaskRef, Universe, time,
};

use smol::future;

use crate::support::test_server::{
    self, Call, Lifecycle, Reply, TestProtocol, TestServer, assert_served,
};

const SECOND: Duration = Duration::from_secs(1);
const PORT: u16 = 4747;

fn run<T>(test: impl Future<Output = T>) -> T {
    Universe::simulated(1).run(test)
}

async fn settled() {
    time::sleep(Duration::from_millis(1)).await;
}

/// Returns the servers under a daemon's supervisor.
async fn servers(supervisor: &DynamicSupervisor) -> Vec<TaskRef> {
    let children = supervisor.which_children().await.unwrap();
    let tasks = children.iter().filter_map(|child| child.state.task());
    tasks.cloned().collect()
}

#[test]
fn server_terminates_with_disconnected_when_its_client_is_killed() {
    run(async {
        let (daemon, client, watch) = test_server::pair().await;
        assert_served(&client).await;
        client.task().kill();
        assert!(matches!(
            watch.lifecycle.recv().await.unwrap(),
            Lifecycle::Init
        ));
        let Lifecycle::Terminated(reason) = watch.lifecycle.recv().await.unwrap() else {
            panic!("a second `init`");
        };
        assert!(matches!(reason, ExitReason::Disconnected), "{reason}");
        settled().await;
        assert_eq!(daemon.info().connections, 0);
        assert!(daemon.task().is_alive());
    });
}

#[test]
fn client_reconnects_to_a_new_server_when_its_server_is_killed() {
    run(async {
        let supervisor = DynamicSupervisor::builder().start_link();
        let (builder, _watch) = test_server::daemon();
        let builder = builder.server_supervisor(DynamicSupervisor::clone(&supervisor));
        let daemon = builder.start_link().await.unwrap();
        let client = test_server::client(&daemon).connect().await.unwrap();
        let mut former = Vec::new();
        for _ in 0..5 {
            assert_served(&client).await;
            let [server] = &servers(&supervisor).await[..] else {
                panic!("not exactly one server");
            };
            assert!(!former.contains(server), "the server was not replaced");
            former.push(server.clone());
            let kill = async {
                settled().await;
                server.kill();
            };
            let (call, ()) = future::zip(client.call(Call::Hold), kill).await;
            assert!(matches!(call, Err(CallError::Lost)), "{call:?}");
            client.until(Status::is_connected).await;
        }
    });
}

/// The client is a child of one supervisor, the daemon of another.
#[test]
fn supervised_client_and_daemon_reconnect_when_either_is_killed() {
    run(async {
        let (clients, client) = async_channel::unbounded();
        let (daemons, daemon) = async_channel::unbounded();
        let (builder, _watch) = test_server::daemon();
        let builder = builder.port(PORT);
        let builder = builder.on_start(move |it| drop(daemons.try_send(it.clone())));
        let there = Supervisor::builder().child(builder.child_spec("daemon"));
        let there = there.max_restarts(100, SECOND).start_link().await.unwrap();
        let builder = Client::<TestProtocol>::builder(("127.0.0.1", PORT));
        let builder = builder.on_start(move |it| drop(clients.try_send(it.clone())));
        let here = Supervisor::builder().child(builder.child_spec("client"));
        let here = here.max_restarts(100, SECOND).start_link().await.unwrap();

        let mut current_daemon: Daemon<TestServer> = daemon.recv().await.unwrap();
        let mut current_client: Client<TestProtocol> = client.recv().await.unwrap();
        for round in 0..10 {
            current_client.until(Status::is_connected).await;
            assert_served(&current_client).await;
            assert_eq!(current_daemon.info().connections, 1, "{round}");
            if round % 2 == 0 {
                current_client.task().kill();
                current_client = client.recv().await.unwrap();
            } else {
                current_daemon.task().kill();
                current_daemon = daemon.recv().await.unwrap();
                assert_eq!(current_daemon.port(), PORT);
            }
            settled().await;
        }
        here.shutdown().await;
        there.shutdown().await;
        assert_eq!(current_daemon.info().connections, 0);
    });
}

#[test]
fn clients_reconnect_to_a_restarted_daemon() {
    run(async {
        let (builder, _watch) = test_server::daemon();
        let spec = builder.port(PORT).child_spec("daemon");
        let supervisor = Supervisor::builder().max_restarts(100, SECOND).child(spec);
        let supervisor = supervisor.start_link().await.unwrap();
        let builder = Client::<TestProtocol>::builder(("127.0.0.1", PORT));
        let clients = [builder.clone().start(), builder.start()];
        for exits in 1..4 {
            for client in &clients {
                client.until(Status::is_connected).await;
                assert_served(client).await;
            }
            let tree = supervisor.tree().await.unwrap();
            let daemon = tree.find("daemon").unwrap().state.task().unwrap().clone();
            daemon.kill();
            for client in &clients {
                client.until(|it| !it.is_connected()).await;
            }
            let restarted = |it: &erps::Tree| it.find("daemon").unwrap().exits == exits;
            supervisor.until(SECOND, restarted).await.unwrap();
        }
    });
}

#[test]
fn supervisor_shutdown_stops_the_daemon_and_its_servers() {
    run(async {
        let (builder, watch) = test_server::daemon();
        let spec = builder.port(PORT).child_spec("daemon");
        let supervisor = Supervisor::builder()
            .child(spec)
            .start_link()
            .await
            .unwrap();
        let client = Client::<TestProtocol>::builder(("127.0.0.1", PORT))
            .connect()
            .await;
        assert_served(&client.unwrap()).await;
        assert!(matches!(
            watch.lifecycle.recv().await.unwrap(),
            Lifecycle::Init
        ));
        supervisor.as_ref().shutdown(Shutdown::Infinity).await;
        let terminated = watch.lifecycle.try_recv().unwrap();
        assert!(
            matches!(terminated, Lifecycle::Terminated(_)),
            "no `terminate` before the exit"
        );
        let refused = Client::<TestProtocol>::builder(("127.0.0.1", PORT))
            .connect()
            .await;
        assert!(refused.is_err());
    });
}

/// A closure with a supervisor of its own takes the place of Elixir's supervisor module.
#[test]
fn custom_supervisor_owns_the_servers_and_can_reject_connections() {
    run(async {
        let (builder, _watch) = test_server::daemon();
        let own = Supervisor::builder()
            .name("own")
            .start_link()
            .await
            .unwrap();
        let (handle, calls) = (Supervisor::clone(&own), Arc::new(Mutex::new(0)));
        let supervisor = ServerSupervisor::custom(move |spec| {
            let handle = handle.clone();
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            let id = format!("guest {calls}");
            async move {
                if handle.count_children().await?.specs == 2 {
                    return Ok(Started::Ignore);
                }
                let spec = spec.into_child_spec().id(id).restart(Restart::Temporary);
                Ok(handle.start_child(spec).await?)
            }
        });
        let daemon = builder.server_supervisor(supervisor).start_link().await;
        let daemon = daemon.unwrap();
        let connect = async || test_server::client(&daemon).connect().await.unwrap();
        let (first, second) = (connect().await, connect().await);
        assert_served(&first).await;
        assert_served(&second).await;
        let tree = own.tree().await.unwrap();
        assert_eq!(tree.children.len(), 2, "{tree}");
        assert!(tree.find("guest 1").unwrap().peer.is_some(), "{tree}");

        let third = connect().await;
        let call = third.call(Call::Ping).await;
        assert!(call.is_err(), "{call:?}");
        third.task().kill();
        own.terminate_child("guest 1").await.unwrap();
        first.until(Status::is_connected).await;
        assert_eq!(first.call(Call::Ping).await.unwrap(), Reply::Pong);
        assert_served(&second).await;
        drop(daemon);
        settled().await;
        assert_eq!(own.count_children().await.unwrap().specs, 0);
    });
}
