//! Monitors, links and names: how tasks learn of each other's ends, and find each other.

use std::time::Duration;

use erps::{
    BoxError, ChildSpec, Client, Context, Daemon, DynamicSupervisor, ExitReason, InitError, Linked,
    Registry, ReplyTo, Restart, Server, ServerRef, Shutdown, StartError, Supervisor, TaskRef,
    Universe, time,
};
use smol::future;

use crate::support::{
    lab::{self, Call, Cast, Lab, LabServer, Reply},
    panics::{allowed, expected},
};

const SECOND: Duration = Duration::from_secs(1);

fn run<T>(test: impl Future<Output = T>) -> T {
    Universe::simulated(1).run(test)
}

/// A stage on which tasks of any kind can be started.
fn stage() -> Linked<DynamicSupervisor> {
    DynamicSupervisor::builder().start_link()
}

async fn idle(stage: &DynamicSupervisor) -> TaskRef {
    let idle = ChildSpec::task("idle", |me| async move { me.shutdown_requested().await });
    let idle = idle.restart(Restart::Temporary);
    stage.start_child(idle).await.unwrap()
}

async fn settled() {
    time::sleep(Duration::from_millis(1)).await;
}

#[test]
fn a_monitor_tells_why_also_long_after_the_end() {
    run(async {
        let stage = stage();
        let task = idle(&stage).await;
        let before = task.monitor();
        task.kill();
        assert!(matches!(before.await, ExitReason::Killed));
        time::sleep(3600 * SECOND).await;
        assert!(matches!(task.monitor().await, ExitReason::Killed));
        assert!(matches!(task.exited().await, ExitReason::Killed));
    });
}

#[test]
fn every_handle_can_be_monitored_before_and_after_the_end() {
    /// Twice before the end and once after it: each tells, with all else of the handle gone.
    async fn told<M: Future<Output = ExitReason>>(
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
        let stage = stage();
        let task = idle(&stage).await;
        let reason = told(|| task.monitor(), || task.kill()).await;
        assert!(matches!(reason, ExitReason::Killed));
        let (builder, _watch) = lab::daemon();
        let daemon = builder.start().await.unwrap();
        let client = lab::client(&daemon).connect().await.unwrap();
        let reason = told(|| client.monitor(), || client.task().kill()).await;
        assert!(matches!(reason, ExitReason::Killed));
        let reason = told(|| daemon.monitor(), || daemon.task().request_shutdown()).await;
        assert!(matches!(reason, ExitReason::Shutdown));
        let (seed, _watch) = lab::seed();
        let server = ServerRef::<LabServer>::builder(seed).start().await.unwrap();
        let reason = told(|| server.monitor(), || server.disconnect()).await;
        assert!(matches!(reason, ExitReason::Disconnected));
        let tree = Supervisor::builder().start().await.unwrap();
        let reason = told(|| tree.monitor(), || tree.task().request_shutdown()).await;
        assert!(matches!(reason, ExitReason::Shutdown));
        let reason = told(|| stage.monitor(), || stage.task().kill()).await;
        assert!(matches!(reason, ExitReason::Killed));
    });
}

#[test]
fn a_monitor_does_not_hold_a_client() {
    run(async {
        let (daemon, client, _watch) = lab::pair().await;
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
fn a_monitor_does_not_hold_the_handle_it_came_from() {
    run(async {
        let stage = stage();
        let task = idle(&stage).await;
        let monitor = task.monitor();
        task.request_shutdown();
        drop(task);
        assert!(matches!(monitor.await, ExitReason::Shutdown));
    });
}

/// One row for each end: does it reach who is linked?
#[test]
fn a_link_carries_every_end_but_a_normal_one_both_ways() {
    let kill = |task: &TaskRef| task.kill();
    let ask = |task: &TaskRef| task.request_shutdown();
    let nothing = |_: &TaskRef| ();
    let ends = [(kill as fn(&_), true), (ask, true), (nothing, false)];
    for (end, reaches) in ends {
        for swapped in [false, true] {
            run(async {
                let stage = stage();
                let (a, b) = (idle(&stage).await, idle(&stage).await);
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
fn a_normal_end_reaches_nobody() {
    run(async {
        let stage = stage();
        let brief = ChildSpec::task("brief", |_| async {
            time::sleep(SECOND).await;
            ExitReason::Normal
        });
        let brief = stage
            .start_child(brief.restart(Restart::Temporary))
            .await
            .unwrap();
        let other = idle(&stage).await;
        brief.link(&other);
        brief.exited().await;
        settled().await;
        assert!(other.is_alive());
    });
}

#[test]
fn a_crash_runs_along_a_chain_of_links() {
    run(async {
        let stage = stage();
        let mut chain = Vec::new();
        for _ in 0..10 {
            chain.push(idle(&stage).await);
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
fn who_is_linked_to_the_dead_is_struck_at_once() {
    run(async {
        let stage = stage();
        let (a, b) = (idle(&stage).await, idle(&stage).await);
        a.kill();
        a.exited().await;
        b.link(&a);
        assert!(matches!(b.exited().await, ExitReason::Killed));
    });
}

#[test]
fn who_is_linked_to_one_that_ended_normally_lives_on() {
    run(async {
        let stage = stage();
        let over = ChildSpec::task("over", |_| async { ExitReason::Normal });
        let over = stage
            .start_child(over.restart(Restart::Temporary))
            .await
            .unwrap();
        over.exited().await;
        let other = idle(&stage).await;
        over.link(&other);
        other.link(&over);
        settled().await;
        assert!(other.is_alive());
    });
}

#[test]
fn who_was_unlinked_lives_on() {
    run(async {
        let stage = stage();
        let (a, b) = (idle(&stage).await, idle(&stage).await);
        a.link(&b);
        b.unlink(&a);
        a.kill();
        settled().await;
        assert!(b.is_alive());
    });
}

#[test]
fn who_does_not_heed_a_link_is_killed_in_five_seconds() {
    run(async {
        let stage = stage();
        let stubborn = ChildSpec::task("stubborn", |_| future::pending());
        let stubborn = stage
            .start_child(stubborn.restart(Restart::Temporary))
            .await
            .unwrap();
        let other = idle(&stage).await;
        other.link(&stubborn);
        let start = time::now();
        other.kill();
        stubborn.exited().await;
        assert_eq!(time::now() - start, 5 * SECOND);
    });
}

#[test]
fn a_server_that_crashes_takes_its_linked_server_along_politely() {
    run(expected(async {
        let (seed, watch) = lab::seed();
        let (a, b) = (
            ServerRef::<LabServer>::builder(seed.clone())
                .start()
                .await
                .unwrap(),
            ServerRef::<LabServer>::builder(seed).start().await.unwrap(),
        );
        a.task().link(b.task());
        let _ = a.call(Call::Crash).await;
        let reason = b.task().exited().await;
        assert!(matches!(reason, ExitReason::Panic(_)), "{reason}");
        drop(watch.lives);
    }));
}

static LABS: Registry<&str, ServerRef<LabServer>> = Registry::unique();

/// A server with a name, and its owner.
async fn corner() -> Result<Linked<ServerRef<LabServer>>, StartError> {
    let builder = ServerRef::builder(lab::seed().0).name(&LABS, "corner");
    builder.start_link().await
}

#[test]
fn a_named_server_is_found_by_its_type_and_called() {
    run(async {
        assert!(LABS.find("corner").is_none());
        let _server = corner().await.unwrap();
        let found = LABS.find("corner").unwrap();
        assert_eq!(found.call(Call::Ping).await.unwrap(), Reply::Pong);
        Universe::new().enter(|| assert!(LABS.find("corner").is_none()));
    });
}

#[test]
fn a_name_that_is_taken_is_refused_and_the_first_keeps_it() {
    run(async {
        let first = corner().await.unwrap();
        let error = corner().await.unwrap_err();
        assert!(matches!(error, StartError::Registered(_)), "{error}");
        assert_eq!(LABS.find("corner").unwrap().task(), first.task());
    });
}

/// One row for each end a server can come to: its name is free when its end is known.
#[test]
fn a_name_is_free_the_moment_its_task_is_gone() {
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
            assert!(LABS.find("corner").is_none());
            drop(corner().await.unwrap());
        }));
    }
}

#[test]
fn who_fails_in_init_never_has_the_name() {
    struct Failing;
    impl Server for Failing {
        type Protocol = Lab;
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
        // Its own error, and not the panic of what it asserts.
        assert!(
            matches!(&error, StartError::Failed(ExitReason::Error(why)) if why.to_string() == "no"),
            "{error}"
        );
        assert_eq!(NAMES.count(), 0);
    });
}

#[test]
fn a_supervised_server_takes_its_name_again_when_it_is_restarted() {
    run(expected(async {
        let spec = ServerRef::builder(lab::seed().0)
            .name(&LABS, "corner")
            .child_spec("corner");
        let _supervisor = Supervisor::builder()
            .child(spec)
            .start_link()
            .await
            .unwrap();
        for _ in 0..3 {
            let server = LABS.find("corner").unwrap();
            let _ = server.call(Call::Crash).await;
            settled().await;
            let again = LABS.find("corner").unwrap();
            assert_ne!(again.task(), server.task());
            assert_eq!(again.call(Call::Ping).await.unwrap(), Reply::Pong);
        }
    }));
}

#[erps::test(simulated)]
async fn daemon_and_client_in_one_tree_heal_whoever_is_killed() {
    let (seed, _watch) = lab::seed();
    let (daemons, daemon) = async_channel::unbounded::<Daemon<LabServer>>();
    let (clients, client) = async_channel::unbounded::<Client<Lab>>();
    let port = 4747;
    let daemon_spec = Daemon::<LabServer>::builder(seed)
        .port(port)
        .on_start(move |it| drop(daemons.try_send(it.clone())))
        .child_spec("daemon");
    let client_spec = Client::<Lab>::builder(("127.0.0.1", port))
        .on_start(move |it| drop(clients.try_send(it.clone())))
        .child_spec("client");
    let builder = Supervisor::builder().max_restarts(10, SECOND);
    let tree = builder.child(daemon_spec).child(client_spec);
    let tree = tree.start_link().await.unwrap();

    let (mut the_daemon, mut the_client) =
        (daemon.recv().await.unwrap(), client.recv().await.unwrap());
    for round in 0..3 {
        // Until the client has seen what became of its connection.
        settled().await;
        the_client.connect().await.unwrap();
        lab::is_served(&the_client).await;
        if round == 0 {
            the_client.task().kill();
            the_client = client.recv().await.unwrap();
        } else if round == 1 {
            the_daemon.task().kill();
            the_daemon = daemon.recv().await.unwrap();
        }
    }
    tree.shutdown().await;
    assert!(!the_client.task().is_alive() && !the_daemon.task().is_alive());
}

#[test]
fn a_supervised_client_lives_without_handles() {
    run(async {
        let spec = Client::<Lab>::builder(("127.0.0.1", 1)).child_spec("client");
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
