//! The tree of a supervisor, and waiting for a state of it.

use std::time::Duration;

use erps::{
    Branch, ChildKind, ChildSpec, ChildState, Client, Daemon, DynamicSupervisor, ExitReason,
    Restart, ServerSupervisor, Supervisor, TaskRef, Tree, Universe, UntilError, time,
};
use smol::channel;

use crate::support::test_server::{self, TestProtocol, TestServer};

const SECOND: Duration = Duration::from_secs(1);

fn run<T>(test: impl Future<Output = T>) -> T {
    Universe::simulated(1).run(test)
}

fn idle(id: &str) -> ChildSpec {
    ChildSpec::task(id, |me| async move { me.shutdown_requested().await })
}

fn task(tree: &Tree, id: &str) -> TaskRef {
    tree.find(id).unwrap().state.task().unwrap().clone()
}

fn is_running(child: Option<&Branch>) -> bool {
    child.is_some_and(|child| matches!(child.state, ChildState::Running(_)))
}

/// "app" with a worker and "inner", which has two workers.
fn app() -> erps::SupervisorBuilder {
    let inner = Supervisor::builder()
        .name("inner")
        .child(idle("x"))
        .child(idle("y").restart(Restart::Transient));
    Supervisor::builder()
        .name("app")
        .child(idle("a"))
        .child(inner.child_spec("inner"))
}

#[test]
fn tree_lists_children_of_all_levels_in_order() {
    run(async {
        let app = app().start_link().await.unwrap();
        let tree = app.tree().await.unwrap();
        assert_eq!(
            tree.to_string(),
            "app\n  a: running\n  inner: running\n    x: running\n    y: running"
        );
        let inner = tree.find("inner").unwrap();
        assert_eq!(inner.kind, ChildKind::Supervisor);
        assert_eq!(&*inner.below.as_ref().unwrap().name, "inner");
        assert_eq!(tree.find("y").unwrap().restart, Restart::Transient);
        assert_eq!(
            tree.find("x").unwrap().universe,
            test_server::current_universe()
        );
        assert!(tree.find("missing").is_none());
    });
}

#[test]
fn tree_records_exit_reasons_and_times() {
    run(async {
        let app = app().start_link().await.unwrap();
        for times in 1..=2 {
            task(&app.tree().await.unwrap(), "x").kill();
            let again = |tree: &Tree| {
                let x = tree.find("x").unwrap();
                x.exits == times && is_running(Some(x))
            };
            app.until(SECOND, again).await.unwrap();
            time::sleep(10 * SECOND).await;
        }
        let tree = app.tree().await.unwrap();
        let x = tree.find("x").unwrap();
        assert_eq!(x.to_string(), "x: running, exited 2 times, last: killed");
        let ago: Vec<_> = x.history.iter().map(|exit| exit.ago.as_secs()).collect();
        assert_eq!(ago, [10, 20]);
        assert!(
            x.history
                .iter()
                .all(|exit| matches!(exit.reason, ExitReason::Killed))
        );
    });
}

#[test]
fn tree_keeps_the_last_eight_exits_and_counts_all() {
    run(async {
        let short = ChildSpec::task("short", |_| async {
            time::sleep(SECOND).await;
            ExitReason::Normal
        });
        let builder = Supervisor::builder().max_restarts(100, SECOND).child(short);
        let supervisor = builder.start_link().await.unwrap();
        time::sleep(20 * SECOND + SECOND / 2).await;
        let tree = supervisor.tree().await.unwrap();
        let child = tree.find("short").unwrap();
        assert_eq!((child.exits, child.history.len()), (20, 8));
    });
}

#[test]
fn tree_shows_the_peer_and_mailbox_of_a_server() {
    run(async {
        let servers = DynamicSupervisor::builder().name("servers").start_link();
        let (seed, watch) = test_server::seed();
        let daemon = Daemon::<TestServer>::builder(seed)
            .server_supervisor(ServerSupervisor::Dynamic(DynamicSupervisor::clone(
                &servers,
            )))
            .start_link()
            .await
            .unwrap();
        let client = Client::<TestProtocol>::builder(daemon.local_addr())
            .connect()
            .await
            .unwrap();
        test_server::assert_served(&client).await;
        let tree = servers.tree().await.unwrap();
        let [server] = &tree.children[..] else {
            panic!("{tree}");
        };
        assert!(server.peer.as_ref().is_some_and(|peer| peer.is_local()));
        assert_eq!(server.mailbox, Some(0));
        assert_eq!(server.restart, Restart::Temporary);
        drop(client);
        servers
            .until(SECOND, |tree| tree.children.is_empty())
            .await
            .unwrap();
        drop((daemon, watch));
    });
}

#[test]
fn until_times_out_with_the_last_tree() {
    run(async {
        let app = app().start_link().await.unwrap();
        let start = time::now();
        let error = app.until(7 * SECOND, |_| false).await.unwrap_err();
        assert_eq!(time::now() - start, 7 * SECOND);
        let UntilError::TimedOut(tree) = &error else {
            panic!("{error}");
        };
        assert!(tree.find("y").is_some());
        assert!(error.to_string().contains("    y: running"), "{error}");
    });
}

#[test]
fn tree_and_until_fail_after_the_supervisor_has_exited() {
    run(async {
        let app = app().start().await.unwrap();
        app.as_ref().kill();
        app.as_ref().exited().await;
        assert!(app.tree().await.is_err());
        let error = app.until(SECOND, |_| true).await.unwrap_err();
        assert!(matches!(error, UntilError::SupervisorStopped));
        let dynamic = DynamicSupervisor::builder().start();
        dynamic.as_ref().kill();
        dynamic.as_ref().exited().await;
        assert!(dynamic.tree().await.is_err());
    });
}

#[test]
fn tree_shows_stopped_and_ignored_children() {
    run(async {
        let nothing = ChildSpec::new("nothing", || async { Ok(erps::Started::Ignore) });
        let builder = Supervisor::builder().child(idle("a")).child(nothing);
        let supervisor = builder.start_link().await.unwrap();
        supervisor.terminate_child("a").await.unwrap();
        let tree = supervisor.tree().await.unwrap();
        assert_eq!(
            tree.to_string(),
            "supervisor\n  a: stopped, exited once, last: shutdown\n  nothing: ignored"
        );
    });
}

#[test]
fn tree_is_serializable() {
    run(async {
        let app = app().start_link().await.unwrap();
        task(&app.tree().await.unwrap(), "x").kill();
        time::sleep(SECOND).await;
        let tree = serde_json::to_value(app.tree().await.unwrap()).unwrap();
        assert_eq!(tree["name"], "app");
        let x = &tree["children"][1]["below"]["children"][0];
        assert_eq!(x["id"], "x");
        assert_eq!(x["state"], "running");
        assert_eq!(x["kind"], "Worker");
        assert_eq!(x["restart"], "Permanent");
        assert_eq!(x["history"][0]["reason"], "killed");
        assert_eq!(x["history"][0]["ago"], 1.0);
    });
}

/// A task holds its message queue for `tree`; this must not keep the task's handle alive.
#[test]
fn tree_does_not_keep_an_exited_child_alive() {
    run(async {
        let (gone, goes) = channel::bounded::<()>(1);
        let seen = ChildSpec::task("a", move |me| {
            let gone = gone.clone();
            async move {
                let reason = me.shutdown_requested().await;
                drop(gone);
                reason
            }
        });
        let supervisor = Supervisor::builder()
            .child(seen)
            .start_link()
            .await
            .unwrap();
        supervisor.tree().await.unwrap();
        supervisor.shutdown().await;
        assert!(goes.recv().await.is_err());
    });
}

#[test]
fn until_fails_with_no_reply_when_the_supervisor_does_not_answer() {
    test_server::run(async {
        // The executor is never run.
        let executor = std::sync::Arc::new(smol::Executor::new());
        let supervisor = DynamicSupervisor::builder().executor(executor.clone());
        let supervisor = supervisor.start();
        let limit = Duration::from_millis(20);
        let error = supervisor.until(limit, |_| true).await.unwrap_err();
        assert!(matches!(error, UntilError::NoReply), "{error}");
    });
}
