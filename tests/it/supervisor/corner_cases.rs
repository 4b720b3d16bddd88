//! Corner cases of ordered supervisors: events at the same moment, and which commands wait for which
//! children.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use erps::{
    AutoShutdown, ChildKind, ChildSpec, DynamicSupervisor, ExitReason, Restart, RestartDelay,
    Shutdown, Started, Strategy, Supervisor, TaskRef, Universe, time,
};
use smol::{channel, future};

const SECOND: Duration = Duration::from_secs(1);

fn run<T>(test: impl Future<Output = T>) -> T {
    Universe::simulated(1).run(test)
}

async fn settled() {
    time::sleep(Duration::from_millis(1)).await;
}

fn idle(id: &str) -> ChildSpec {
    ChildSpec::task(id, |me| async move { me.shutdown_requested().await })
}

/// A child that takes an hour to shut down.
fn slow(id: &str) -> ChildSpec {
    let spec = ChildSpec::task(id, |me| async move {
        let reason = me.shutdown_requested().await;
        time::sleep(3600 * SECOND).await;
        reason
    });
    spec.shutdown(Shutdown::Infinity)
}

async fn task_of(supervisor: &Supervisor, id: &str) -> TaskRef {
    let tree = supervisor.tree().await.unwrap();
    tree.find(id).unwrap().state.task().unwrap().clone()
}

#[test]
fn auto_shutdown_waits_for_significant_children_that_have_not_started() {
    run(async {
        let brief = ChildSpec::task("brief", |_| async { ExitReason::Normal });
        let brief = brief.restart(Restart::Temporary).significant(true);
        let between = ChildSpec::new("between", || async {
            time::sleep(SECOND).await;
            Ok(Started::Ignore)
        });
        let last = idle("last").restart(Restart::Transient).significant(true);
        let builder = Supervisor::builder()
            .auto_shutdown(AutoShutdown::AllSignificant)
            .child(brief)
            .child(between)
            .child(last);
        let supervisor = builder.start_link().await.unwrap();
        assert!(supervisor.as_ref().is_alive());
        task_of(&supervisor, "last").await.request_shutdown();
        supervisor.as_ref().exited().await;
    });
}

#[test]
fn auto_shutdown_counts_a_significant_child_that_exits_while_another_is_terminated() {
    run(async {
        let significant = |spec: ChildSpec| spec.restart(Restart::Transient).significant(true);
        let builder = Supervisor::builder()
            .auto_shutdown(AutoShutdown::AllSignificant)
            .child(significant(idle("a")))
            .child(significant(slow("b")));
        let supervisor = builder.start_link().await.unwrap();
        let a = task_of(&supervisor, "a").await;
        let terminating = supervisor.terminate_child("b");
        let ending = async {
            settled().await;
            a.request_shutdown();
        };
        future::zip(terminating, ending).await.0.unwrap();
        settled().await;
        assert!(!supervisor.as_ref().is_alive());
    });
}

#[test]
fn exited_temporary_child_is_removed_while_another_is_terminated() {
    run(async {
        let temporary = || idle("a").restart(Restart::Temporary);
        let builder = Supervisor::builder().child(slow("b")).child(temporary());
        let supervisor = builder.start_link().await.unwrap();
        let a = task_of(&supervisor, "a").await;
        let meanwhile = async {
            settled().await;
            a.kill();
            a.exited().await;
            assert!(supervisor.tree().await.unwrap().find("a").is_none());
            supervisor.start_child(temporary()).await.unwrap();
        };
        let (terminated, ()) = future::zip(supervisor.terminate_child("b"), meanwhile).await;
        terminated.unwrap();
    });
}

/// Which strategies block other commands while a restart is delayed by an hour.
#[test]
fn delayed_restart_blocks_only_dependent_children() {
    let rows = [
        (Strategy::OneForOne, "a", false),
        (Strategy::OneForOne, "c", false),
        (Strategy::RestForOne, "c", true),
        (Strategy::OneForAll, "c", true),
    ];
    for (strategy, other, is_held_up) in rows {
        run(async {
            let builder = Supervisor::builder()
                .strategy(strategy)
                .restart_delay(RestartDelay::Growing {
                    backoff: erps::Backoff::new(3600 * SECOND, 3600 * SECOND),
                    stable: SECOND,
                })
                .child(idle("a"))
                .child(idle("b"))
                .child(idle("c"));
            let supervisor = builder.start_link().await.unwrap();
            let (b, other_task) = (
                task_of(&supervisor, "b").await,
                task_of(&supervisor, other).await,
            );
            b.kill();
            settled().await;
            other_task.kill();
            settled().await;
            let added = time::timeout(SECOND, supervisor.start_child(idle("d"))).await;
            assert_eq!(added.is_err(), is_held_up, "{strategy:?} {other}");
            supervisor.shutdown().await;
        });
    }
}

#[test]
fn one_for_one_runs_restart_delays_independently() {
    run(async {
        let (started, starts) = channel::unbounded();
        let child = |id: &'static str| {
            let started = started.clone();
            ChildSpec::task(id, move |me| {
                started.try_send((id, time::now())).unwrap();
                async move { me.shutdown_requested().await }
            })
        };
        let builder = Supervisor::builder().restart_delay(RestartDelay::Fixed(60 * SECOND));
        let supervisor = builder.child(child("a")).child(child("b")).start_link();
        let supervisor = supervisor.await.unwrap();
        let (a, b) = (
            task_of(&supervisor, "a").await,
            task_of(&supervisor, "b").await,
        );
        settled().await;
        while starts.try_recv().is_ok() {}
        let start = time::now();
        b.kill();
        time::sleep(30 * SECOND).await;
        a.kill();
        for (child, after) in [("b", 60), ("a", 90)] {
            let (id, at) = starts.recv().await.unwrap();
            assert_eq!((id, (at - start).as_secs()), (child, after));
        }
    });
}

#[test]
fn one_for_one_start_function_can_start_a_sibling() {
    for at_first in [true, false] {
        run(async {
            let (handle, handles) = channel::bounded::<Supervisor>(1);
            let asks = ChildSpec::new("asks", move || {
                let handles = handles.clone();
                async move {
                    let supervisor = handles.recv().await?;
                    supervisor.start_child(idle("sibling")).await?;
                    Ok(Started::Ignore)
                }
            });
            let mut builder = Supervisor::builder();
            if at_first {
                builder = builder.child(asks.clone()).child(idle("last"));
            }
            let supervisor = builder
                .on_start(move |it| drop(handle.try_send(it.clone())))
                .start_link();
            let supervisor = supervisor.await.unwrap();
            if !at_first {
                supervisor.start_child(asks).await.unwrap();
            }
            assert!(task_of(&supervisor, "sibling").await.is_alive());
        });
    }
}

/// With some seeds `b` has just returned `Ignore` when the supervisor learns that `a` has crashed.
#[erps::test(simulated, seeds = 100)]
async fn one_for_all_restarts_a_child_that_was_ignored() {
    let start = time::now();
    let log = Arc::new(Mutex::new(String::new()));
    let (told, tell) = (log.clone(), log.clone());
    let a = ChildSpec::task("a", move |me| {
        tell.lock().unwrap().push('a');
        async move { me.shutdown_requested().await }
    });
    let b = ChildSpec::new("b", move || {
        told.lock().unwrap().push('b');
        async {
            time::sleep(SECOND).await;
            Ok(Started::Ignore)
        }
    });
    let builder = Supervisor::builder().strategy(Strategy::OneForAll);
    let builder = builder.child(a).child(b);
    let (handle, handles) = channel::bounded::<Supervisor>(1);
    let builder = builder.on_start(move |it| drop(handle.try_send(it.clone())));
    // As a task it is scheduled among the supervisor's tasks.
    let crash = erps::spawn(async move {
        let supervisor = handles.recv().await.unwrap();
        settled().await;
        let a = task_of(&supervisor, "a").await;
        // `b` was started first and finishes at this very moment, too.
        time::sleep(start + SECOND - time::now()).await;
        a.kill();
    });
    let (supervisor, ()) = future::zip(builder.start_link(), crash).await;
    let supervisor = supervisor.unwrap();
    time::sleep(3 * SECOND).await;
    // The order of `a` and `b` can vary: a task runs later than the function that starts it.
    let log = log.lock().unwrap().clone();
    let of = |id: char| log.matches(id).count();
    assert_eq!((of('a'), of('b')), (2, 2), "{log}");
    supervisor.shutdown().await;
}

#[test]
fn supervisor_children_have_infinite_shutdown_by_default() {
    for (kind, shutdown, expected) in [
        (ChildKind::Worker, None, Some(5)),
        (ChildKind::Supervisor, None, None),
        (ChildKind::Supervisor, Some(7), Some(7)),
        (ChildKind::Worker, Some(7), Some(7)),
    ] {
        run(async {
            let mut spec = ChildSpec::task("stubborn", |_| future::pending());
            // In either order of the two settings.
            spec = spec.kind(kind);
            if let Some(seconds) = shutdown {
                spec = spec.shutdown(Shutdown::Within(seconds * SECOND)).kind(kind);
            }
            let supervisor = DynamicSupervisor::builder().start();
            let child = supervisor.start_child(spec).await.unwrap();
            let start = time::now();
            supervisor.as_ref().request_shutdown();
            let waited = time::timeout(3600 * SECOND, child.exited()).await;
            match expected {
                Some(seconds) => assert_eq!(time::now() - start, seconds * SECOND),
                None => assert!(waited.is_err()),
            }
            child.kill();
            supervisor.as_ref().exited().await;
        });
    }
}
