//! Monitors, links and registered names.

use std::time::Duration;

use erps::{
    BoxError, ChildSpec, Client, Context, Daemon, DynamicSupervisor, ExitReason, InitError, Linked,
    Registry, ReplyTo, Restart, Server, ServerRef, Shutdown, StartError, Supervisor, TaskRef,
    Universe, time,
};
use smol::future;

use crate::support::{
    panics::{allowed, expected},
    test_server::{self, Call, Cast, Reply, TestProtocol, TestServer},
};

const SECOND: Duration = Duration::from_secs(1);

fn run<T>(test: impl Future<Output = T>) -> T {
    Universe::simulated(1).run(test)
}

/// Starts a supervisor for tasks of any kind.
fn supervisor() -> Linked<DynamicSupervisor> {
    DynamicSupervisor::builder().start_link()
}

async fn idle(supervisor: &DynamicSupervisor) -> TaskRef {
    let idle = ChildSpec::task("idle", |me| async move { me.shutdown_requested().await });
    let idle = idle.restart(Restart::Temporary);
    supervisor.start_child(idle).await.unwrap()
}

async fn settled() {
    time::sleep(Duration::from_millis(1)).await;
}

#[test]
fn monitor_returns_the_exit_reason_also_after_the_exit() {
    run(async {
        let supervisor = supervisor();
        let task = idle(&supervisor).await;
        let before = task.monitor();
        task.kill();
        assert!(matches!(before.await, ExitReason::Killed));
        time::sleep(3600 * SECOND).await;
        assert!(matches!(task.monitor().await, ExitReason::Killed));
        assert!(matches!(task.exited().await, ExitReason::Killed));
    });
}

#[test]
fn monitor_works_on_every_handle_before_and_after_the_exit() {
    /// Monitors twice before the exit and once after it. All monitors return the same reason.
    async fn exit_reason_of<M: Future<Output = ExitReason>>(
        monitor: impl Fn() -> M,
        end: impl FnOnce(),
    ) -> ExitReason {
        let (first, second) = (monitor(), monitor());
        let mut first = std::pin::pin!(first);
        assert!(future::poll_once(&mut first).await.is_none());
        end();
        let reason = first.await;
        assert_eq!(second.await.to_string(), reason.to_string());
        assert_eq!(monitor().await.to_string(), reason.to_string());
        reason
    }
    run(async {
        let supervisor = supervisor();
        let task = idle(&supervisor).await;
        let reason = exit_reason_of(|| task.monitor(), || task.kill()).await;
        assert!(matches!(reason, ExitReason::Killed));
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.start().await.unwrap();
        let client = test_server::client(&daemon).connect().await.unwrap();
        let reason = exit_reason_of(|| client.monitor(), || client.task().kill()).await;
        assert!(matches!(reason, ExitReason::Killed));
        let reason = exit_reason_of(|| daemon.monitor(), || daemon.task().request_shutdown()).await;
        assert!(matches!(reason, ExitReason::Shutdown));
        let (seed, _watch) = test_server::seed();
        let server = ServerRef::<TestServer>::builder(seed)
            .start()
            .await
            .unwrap();
        let reason = exit_reason_of(|| server.monitor(), || server.disconnect()).await;
        assert!(matches!(reason, ExitReason::Disconnected));
        let tree = Supervisor::builder().start().await.unwrap();
        let reason = exit_reason_of(|| tree.monitor(), || tree.task().request_shutdown()).await;
        assert!(matches!(reason, ExitReason::Shutdown));
        let reason = exit_reason_of(|| supervisor.monitor(), || supervisor.task().kill()).await;
        assert!(matches!(reason, ExitReason::Killed));
    });
}

#[test]
fn monitor_does_not_keep_a_client_alive() {
    run(async {
        let (daemon, client, _watch) = test_server::pair().await;
        let monitor = client.monitor();
        drop(client);
        assert!(matches!(
            monitor.await,
            ExitReason::Normal | ExitReason::Shutdown
        ));
        settled().await;
        assert_eq!(daemon.info().connections, 0);
    });
}

#[test]
fn monitor_outlives_its_handle() {
    run(async {
        let supervisor = supervisor();
        let task = idle(&supervisor).await;
        let monitor = task.monitor();
        task.request_shutdown();
        drop(task);
        assert!(matches!(monitor.await, ExitReason::Shutdown));
    });
}

/// One row for each way to exit: does it propagate to the linked task?
#[test]
fn link_propagates_abnormal_exits_both_ways() {
    let kill = |task: &TaskRef| task.kill();
    let ask = |task: &TaskRef| task.request_shutdown();
    let nothing = |_: &TaskRef| ();
    let ends = [(kill as fn(&_), true), (ask, true), (nothing, false)];
    for (end, reaches) in ends {
        for swapped in [false, true] {
            run(async {
                let supervisor = supervisor();
                let (a, b) = (idle(&supervisor).await, idle(&supervisor).await);
                match swapped {
                    false => a.link(&b),
                    true => b.link(&a),
                }
                end(&a);
                settled().await;
                assert_eq!(!b.is_alive(), reaches);
                let reason = a.exit_reason().map(|it| it.to_string());
                assert_eq!(b.exit_reason().map(|it| it.to_string()), reason);
            });
        }
    }
}

#[test]
fn link_does_not_propagate_a_normal_exit() {
    run(async {
        let supervisor = supervisor();
        let brief = ChildSpec::task("brief", |_| async {
            time::sleep(SECOND).await;
            ExitReason::Normal
        });
        let brief = supervisor
            .start_child(brief.restart(Restart::Temporary))
            .await
            .unwrap();
        let other = idle(&supervisor).await;
        brief.link(&other);
        brief.exited().await;
        settled().await;
        assert!(other.is_alive());
    });
}

#[test]
fn link_propagates_a_crash_along_a_chain() {
    run(async {
        let supervisor = supervisor();
        let mut chain = Vec::new();
        for _ in 0..10 {
            chain.push(idle(&supervisor).await);
        }
        for pair in chain.windows(2) {
            pair[0].link(&pair[1]);
        }
        chain[9].kill();
        for task in &chain {
            assert!(matches!(task.exited().await, ExitReason::Killed));
        }
    });
}

#[test]
fn linking_to_a_killed_task_propagates_its_exit() {
    run(async {
        let supervisor = supervisor();
        let (a, b) = (idle(&supervisor).await, idle(&supervisor).await);
        a.kill();
        a.exited().await;
        b.link(&a);
        assert!(matches!(b.exited().await, ExitReason::Killed));
    });
}

#[test]
fn linking_to_a_task_that_exited_normally_has_no_effect() {
    run(async {
        let supervisor = supervisor();
        let over = ChildSpec::task("over", |_| async { ExitReason::Normal });
        let over = supervisor
            .start_child(over.restart(Restart::Temporary))
            .await
            .unwrap();
        over.exited().await;
        let other = idle(&supervisor).await;
        over.link(&other);
        other.link(&over);
        settled().await;
        assert!(other.is_alive());
    });
}

#[test]
fn unlink_stops_propagation() {
    run(async {
        let supervisor = supervisor();
        let (a, b) = (idle(&supervisor).await, idle(&supervisor).await);
        a.link(&b);
        b.unlink(&a);
        a.kill();
        settled().await;
        assert!(b.is_alive());
    });
}

#[test]
fn linked_task_that_ignores_the_shutdown_request_is_killed_after_five_seconds() {
    run(async {
        let supervisor = supervisor();
        let stubborn = ChildSpec::task("stubborn", |_| future::pending());
        let stubborn = supervisor
            .start_child(stubborn.restart(Restart::Temporary))
            .await
            .unwrap();
        let other = idle(&supervisor).await;
        other.link(&stubborn);
        let start = time::now();
        other.kill();
        stubborn.exited().await;
        assert_eq!(time::now() - start, 5 * SECOND);
    });
}

#[test]
fn crash_of_a_server_shuts_its_linked_server_down() {
    run(expected(async {
        let (seed, watch) = test_server::seed();
        let (a, b) = (
            ServerRef::<TestServer>::builder(seed.clone())
                .start()
                .await
                .unwrap(),
            ServerRef::<TestServer>::builder(seed)
                .start()
                .await
                .unwrap(),
        );
        a.task().link(b.task());
        let _ = a.call(Call::Crash).await;
        let reason = b.task().exited().await;
        assert!(matches!(reason, ExitReason::Panic(_)), "{reason}");
        drop(watch.lifecycle);
    }));
}

static SERVERS: Registry<&str, ServerRef<TestServer>> = Registry::unique();

/// Starts a server with a registered name.
async fn corner() -> Result<Linked<ServerRef<TestServer>>, StartError> {
    let builder = ServerRef::builder(test_server::seed().0).name(&SERVERS, "corner");
    builder.start_link().await
}

#[test]
fn registered_server_is_found_by_name() {
    run(async {
        assert!(SERVERS.find("corner").is_none());
        let _server = corner().await.unwrap();
        let found = SERVERS.find("corner").unwrap();
        assert_eq!(found.call(Call::Ping).await.unwrap(), Reply::Pong);
        Universe::new().enter(|| assert!(SERVERS.find("corner").is_none()));
    });
}

#[test]
fn start_fails_with_registered_when_the_name_is_taken() {
    run(async {
        let first = corner().await.unwrap();
        let error = corner().await.unwrap_err();
        assert!(matches!(error, StartError::Registered(_)), "{error}");
        assert_eq!(SERVERS.find("corner").unwrap().task(), first.task());
    });
}

/// One case for each way a server can exit: its name is free when the exit is known.
#[test]
fn name_is_free_when_its_server_has_exited() {
    for how in 0..5 {
        run(allowed(async {
            let server = corner().await.unwrap();
            let gone = server.task().monitor();
            match how {
                0 => drop(server.call(Call::Crash).await),
                1 => drop(server.call(Call::StopReply).await),
                2 => drop(server.call(Call::Fail("as asked".into())).await),
                3 => server.task().kill(),
                _ => drop(server),
            }
            gone.await;
            assert!(SERVERS.find("corner").is_none());
            drop(corner().await.unwrap());
        }));
    }
}

#[test]
fn server_that_fails_in_init_is_not_registered() {
    struct Failing;
    impl Server for Failing {
        type Protocol = TestProtocol;
        type Seed = ();
        type Info = ();
        async fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
            assert!(NAMES.find("x").is_none());
            Err(InitError::Stop("no".into()))
        }
        async fn handle_call(
            &mut self,
            _: Call,
            _: ReplyTo<Reply>,
            _: &mut Context<Self>,
        ) -> Result<(), BoxError> {
            unreachable!()
        }
        async fn handle_cast(&mut self, _: Cast, _: &mut Context<Self>) -> Result<(), BoxError> {
            unreachable!()
        }
    }
    static NAMES: Registry<&str, ServerRef<Failing>> = Registry::unique();
    run(async {
        let builder = ServerRef::<Failing>::builder(()).name(&NAMES, "x");
        let error = builder.start().await.unwrap_err();
        // The error from `init`, and not a panic of its assertion.
        assert!(
            matches!(&error, StartError::Failed(ExitReason::Error(why)) if why.to_string() == "no"),
            "{error}"
        );
        assert_eq!(NAMES.count(), 0);
    });
}

#[test]
fn restarted_server_registers_its_name_again() {
    run(expected(async {
        let spec = ServerRef::builder(test_server::seed().0)
            .name(&SERVERS, "corner")
            .child_spec("corner");
        let _supervisor = Supervisor::builder()
            .child(spec)
            .start_link()
            .await
            .unwrap();
        for _ in 0..3 {
            let server = SERVERS.find("corner").unwrap();
            let _ = server.call(Call::Crash).await;
            settled().await;
            let again = SERVERS.find("corner").unwrap();
            assert_ne!(again.task(), server.task());
            assert_eq!(again.call(Call::Ping).await.unwrap(), Reply::Pong);
        }
    }));
}

#[erps::test(simulated)]
async fn daemon_and_client_in_one_tree_recover_when_either_is_killed() {
    let (seed, _watch) = test_server::seed();
    let (daemons, daemon) = async_channel::unbounded::<Daemon<TestServer>>();
    let (clients, client) = async_channel::unbounded::<Client<TestProtocol>>();
    let port = 4747;
    let daemon_spec = Daemon::<TestServer>::builder(seed)
        .port(port)
        .on_start(move |it| drop(daemons.try_send(it.clone())))
        .child_spec("daemon");
    let client_spec = Client::<TestProtocol>::builder(("127.0.0.1", port))
        .on_start(move |it| drop(clients.try_send(it.clone())))
        .child_spec("client");
    let builder = Supervisor::builder().max_restarts(10, SECOND);
    let tree = builder.child(daemon_spec).child(client_spec);
    let tree = tree.start_link().await.unwrap();

    let (mut current_daemon, mut current_client) =
        (daemon.recv().await.unwrap(), client.recv().await.unwrap());
    for round in 0..3 {
        // Waits until the client has noticed the lost connection.
        settled().await;
        current_client.connect().await.unwrap();
        test_server::assert_served(&current_client).await;
        if round == 0 {
            current_client.task().kill();
            current_client = client.recv().await.unwrap();
        } else if round == 1 {
            current_daemon.task().kill();
            current_daemon = daemon.recv().await.unwrap();
        }
    }
    tree.shutdown().await;
    assert!(!current_client.task().is_alive() && !current_daemon.task().is_alive());
}

#[test]
fn supervised_client_runs_without_handles() {
    run(async {
        let spec = Client::<TestProtocol>::builder(("127.0.0.1", 1)).child_spec("client");
        let supervisor = Supervisor::builder()
            .child(spec)
            .start_link()
            .await
            .unwrap();
        time::sleep(SECOND).await;
        assert_eq!(supervisor.count_children().await.unwrap().active, 1);
        supervisor.as_ref().shutdown(Shutdown::Infinity).await;
    });
}
