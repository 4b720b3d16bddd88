//! Ordered supervisors: the cases of OTP's test suites, in simulated time.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic,
    sync::{Arc, Mutex},
    time::Duration,
};

use erps::{
    AutoShutdown, Backoff, BoxError, ChildError, ChildKind, ChildSpec, ChildState,
    DynamicSupervisor, ExitReason, Linked, Restart, RestartDelay, Shutdown, StartChildError,
    StartSupervisorError, Started, Strategy, Supervisor, SupervisorBuilder, Universe, time,
};
use smol::{
    channel::{self, Receiver, Sender},
    future::{self, FutureExt as _},
};

use crate::support::panics::{allowed, expected};

const SECOND: Duration = Duration::from_secs(1);

fn run<T>(test: impl Future<Output = T>) -> T {
    let year = 366 * 24 * 3600 * SECOND;
    Universe::simulated(1).virtual_limit(year).run(test)
}

/// Waits until all tasks are blocked: the clock of a simulated universe does not advance before.
async fn settled() {
    time::sleep(Duration::from_millis(1)).await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Normal,
    Shutdown,
    Disconnected,
    Error,
    Panic,
    Kill,
}

const ENDS: [End; 6] = [
    End::Normal,
    End::Shutdown,
    End::Disconnected,
    End::Error,
    End::Panic,
    End::Kill,
];

/// A log of starts and shutdown requests in order, and the means to make children exit.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    log: Vec<String>,
    triggers: BTreeMap<String, Sender<End>>,
    tasks: BTreeMap<String, erps::TaskRef>,
    /// Children whose start function fails.
    fail: BTreeSet<String>,
    /// Children whose start function returns `Ignore`.
    ignore: BTreeSet<String>,
}

impl Script {
    fn child(&self, id: &str) -> ChildSpec {
        let (script, name) = (self.clone(), id.to_owned());
        ChildSpec::new(id, move || {
            let (script, name) = (script.clone(), name.clone());
            async move { script.start(name).await }
        })
    }

    async fn start(self, name: String) -> Result<Started, BoxError> {
        if self.0.lock().unwrap().fail.contains(&name) {
            self.log(format!("!{name}"));
            return Err("as the test asks".into());
        }
        if self.0.lock().unwrap().ignore.contains(&name) {
            return Ok(Started::Ignore);
        }
        self.log(format!("+{name}"));
        let (trigger, triggered) = channel::unbounded();
        // The child is shut down if this is dropped before it exits.
        let supervisor = DynamicSupervisor::builder().start_link();
        let (script, id) = (self.clone(), name.clone());
        let body = ChildSpec::task(&name, move |me| {
            let (script, id, triggered) = (script.clone(), id.clone(), triggered.clone());
            run_child(script, id, me, triggered)
        });
        let task = supervisor
            .start_child(body.restart(Restart::Temporary))
            .await?;
        // Shuts its supervisor down when the child has exited.
        let (supervisor, of) = (supervisor.unlink(), task.clone());
        erps::spawn(async move {
            of.exited().await;
            supervisor.as_ref().request_shutdown();
        })
        .detach();
        let mut state = self.0.lock().unwrap();
        state.triggers.insert(name.clone(), trigger);
        state.tasks.insert(name, task.clone());
        Ok(Started::Running(task))
    }

    fn log(&self, line: String) {
        self.0.lock().unwrap().log.push(line);
    }

    /// Returns the log since the last call.
    fn seen(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap().log).join(" ")
    }

    /// Makes a child exit and waits for everything that follows.
    async fn end(&self, name: &str, how: End) {
        self.end_at_once(name, how);
        settled().await;
    }

    fn end_at_once(&self, name: &str, how: End) {
        let state = self.0.lock().unwrap();
        match how {
            End::Kill => state.tasks[name].kill(),
            _ => drop(state.triggers[name].try_send(how)),
        }
    }

    fn fail(&self, name: &str) {
        self.0.lock().unwrap().fail.insert(name.to_owned());
    }

    fn recover(&self, name: &str) {
        self.0.lock().unwrap().fail.remove(name);
    }

    fn ignore(&self, name: &str) {
        self.0.lock().unwrap().ignore.insert(name.to_owned());
    }
}

async fn run_child(
    script: Script,
    id: String,
    me: erps::TaskRef,
    triggered: Receiver<End>,
) -> ExitReason {
    let asked = async {
        let reason = me.shutdown_requested().await;
        script.log(format!("-{id}"));
        reason
    };
    let own = async {
        match triggered.recv().await {
            Ok(End::Normal) => ExitReason::Normal,
            Ok(End::Shutdown) => ExitReason::Shutdown,
            Ok(End::Disconnected) => ExitReason::Disconnected,
            Ok(End::Error) => ExitReason::error("as the test asks"),
            Ok(End::Panic) => panic::resume_unwind(Box::new("as the test asks")),
            Ok(End::Kill) | Err(_) => future::pending().await,
        }
    };
    asked.or(own).await
}

fn three(script: &Script) -> SupervisorBuilder {
    Supervisor::builder()
        .child(script.child("a"))
        .child(script.child("b"))
        .child(script.child("c"))
}

async fn state_of(supervisor: &Supervisor, id: &str) -> Option<ChildState> {
    let children = supervisor.which_children().await.unwrap();
    let child = children.into_iter().find(|child| &*child.id == id)?;
    Some(child.state)
}

async fn started(builder: SupervisorBuilder) -> Linked<Supervisor> {
    builder.start_link().await.unwrap()
}

#[test]
fn children_start_in_order_and_stop_in_reverse() {
    run(async {
        let script = Script::default();
        let supervisor = started(three(&script)).await;
        assert_eq!(script.seen(), "+a +b +c");
        supervisor.shutdown().await;
        assert_eq!(script.seen(), "-c -b -a");
    });
}

#[test]
fn child_is_stopped_after_the_next_child_has_exited() {
    run(async {
        let script = Script::default();
        let slow = ChildSpec::task("slow", |me| async move {
            let reason = me.shutdown_requested().await;
            time::sleep(3 * SECOND).await;
            reason
        });
        let supervisor = started(Supervisor::builder().child(script.child("a")).child(slow)).await;
        let task = supervisor.as_ref().clone();
        supervisor.as_ref().request_shutdown();
        time::sleep(3 * SECOND - Duration::from_millis(1)).await;
        assert_eq!(script.seen(), "+a");
        time::sleep(Duration::from_millis(2)).await;
        assert_eq!(script.seen(), "-a");
        assert!(!task.is_alive());
    });
}

/// One row for each restart type and exit: is the child restarted?
#[test]
fn restart_type_and_exit_reason_decide_whether_a_child_is_restarted() {
    for how in ENDS {
        for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
            run(allowed(async {
                let script = Script::default();
                let supervisor =
                    started(Supervisor::builder().child(script.child("a").restart(restart))).await;
                script.end("a", how).await;
                let abnormal = !matches!(how, End::Normal | End::Shutdown);
                let again = match restart {
                    Restart::Permanent => true,
                    Restart::Transient => abnormal,
                    _ => false,
                };
                let seen = script.seen();
                assert_eq!(
                    seen,
                    if again { "+a +a" } else { "+a" },
                    "{restart:?} {how:?}"
                );
                // As in OTP, the spec of a transient child is kept and a temporary one is removed.
                let state = state_of(&supervisor, "a").await;
                match restart {
                    Restart::Temporary => assert_eq!(state, None),
                    _ if again => assert!(matches!(state, Some(ChildState::Running(_)))),
                    _ => assert_eq!(state, Some(ChildState::Stopped)),
                }
            }));
        }
    }
}

/// One row for each strategy and exiting child: which children are stopped and started?
#[test]
fn strategy_decides_which_children_are_restarted() {
    let rows = [
        (Strategy::OneForOne, "a", "+a"),
        (Strategy::OneForOne, "b", "+b"),
        (Strategy::OneForOne, "c", "+c"),
        (Strategy::OneForAll, "a", "-c -b +a +b +c"),
        (Strategy::OneForAll, "b", "-c -a +a +b +c"),
        (Strategy::OneForAll, "c", "-b -a +a +b +c"),
        (Strategy::RestForOne, "a", "-c -b +a +b +c"),
        (Strategy::RestForOne, "b", "-c +b +c"),
        (Strategy::RestForOne, "c", "+c"),
    ];
    for (strategy, child, expected) in rows {
        for how in ENDS {
            run(allowed(async {
                let script = Script::default();
                let supervisor = started(three(&script).strategy(strategy)).await;
                assert_eq!(script.seen(), "+a +b +c");
                script.end(child, how).await;
                assert_eq!(script.seen(), expected, "{strategy:?} {child} {how:?}");
                drop(supervisor);
            }));
        }
    }
}

#[test]
fn exit_without_restart_does_not_affect_siblings() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        run(async {
            let script = Script::default();
            let builder = Supervisor::builder()
                .strategy(strategy)
                .child(script.child("a").restart(Restart::Transient))
                .child(script.child("b").restart(Restart::Temporary))
                .child(script.child("c"));
            let _supervisor = started(builder).await;
            script.end("a", End::Normal).await;
            script.end("b", End::Error).await;
            assert_eq!(script.seen(), "+a +b +c");
        });
    }
}

#[test]
fn one_for_all_stops_a_temporary_child_without_restarting_it() {
    run(async {
        let script = Script::default();
        let builder = Supervisor::builder()
            .strategy(Strategy::OneForAll)
            .child(script.child("a"))
            .child(script.child("b").restart(Restart::Temporary));
        let supervisor = started(builder).await;
        script.end("a", End::Error).await;
        assert_eq!(script.seen(), "+a +b -b +a");
        assert_eq!(state_of(&supervisor, "b").await, None);
    });
}

#[test]
fn one_for_all_restarts_a_terminated_child_as_in_otp() {
    run(async {
        let script = Script::default();
        let supervisor = started(three(&script).strategy(Strategy::OneForAll)).await;
        supervisor.terminate_child("b").await.unwrap();
        assert_eq!(script.seen(), "+a +b +c -b");
        script.end("c", End::Error).await;
        assert_eq!(script.seen(), "-a +a +b +c");
    });
}

#[test]
fn supervisor_exits_over_max_restarts() {
    for limit in 0..4 {
        run(async {
            let script = Script::default();
            let builder = three(&script).max_restarts(limit, 5 * SECOND);
            let supervisor = started(builder).await;
            for _ in 0..limit {
                script.end("b", End::Error).await;
            }
            assert!(supervisor.as_ref().is_alive());
            script.seen();
            script.end("b", End::Error).await;
            assert_eq!(script.seen(), "-c -a");
            let reason = supervisor.as_ref().exit_reason();
            assert!(matches!(reason, Some(ExitReason::Shutdown)), "{reason:?}");
        });
    }
}

#[test]
fn restarts_older_than_the_period_are_not_counted() {
    run(async {
        let script = Script::default();
        let supervisor = started(three(&script).max_restarts(1, 5 * SECOND)).await;
        for _ in 0..10 {
            script.end("a", End::Error).await;
            time::sleep(5 * SECOND).await;
        }
        assert!(supervisor.as_ref().is_alive());
    });
}

#[test]
fn failed_start_stops_the_started_children_in_reverse() {
    run(async {
        let script = Script::default();
        script.fail("c");
        let builder = three(&script).child(script.child("d"));
        let error = builder.start().await.unwrap_err();
        assert_eq!(script.seen(), "+a +b !c -b -a");
        let StartSupervisorError::Child { id, error } = error else {
            panic!("{error}");
        };
        assert_eq!(&*id, "c");
        assert!(matches!(error, StartChildError::Failed(_)), "{error}");
    });
}

#[test]
fn failed_restart_is_retried_up_to_max_restarts() {
    run(async {
        let script = Script::default();
        let supervisor = started(three(&script).strategy(Strategy::RestForOne)).await;
        script.seen();
        script.fail("b");
        script.end("b", End::Error).await;
        // Three restarts in five seconds are allowed: the first, and two more after it failed.
        assert_eq!(script.seen(), "-c !b !b !b -a");
        assert!(!supervisor.as_ref().is_alive());
    });
}

#[test]
fn failed_restart_applies_the_strategy_again() {
    run(async {
        let script = Script::default();
        let builder = three(&script).strategy(Strategy::OneForAll);
        let builder = builder.restart_delay(RestartDelay::Fixed(SECOND));
        let _supervisor = started(builder).await;
        script.seen();
        script.fail("b");
        script.end("a", End::Error).await;
        assert_eq!(script.seen(), "-c -b");
        time::sleep(SECOND).await;
        assert_eq!(script.seen(), "+a !b -a");
        script.recover("b");
        time::sleep(SECOND).await;
        assert_eq!(script.seen(), "+a +b +c");
    });
}

#[test]
fn supervisor_over_max_restarts_is_restarted_by_its_own_supervisor() {
    run(async {
        let script = Script::default();
        let inner = Supervisor::builder()
            .max_restarts(1, 5 * SECOND)
            .child(script.child("x"))
            .child(script.child("y"));
        let outer = Supervisor::builder()
            .strategy(Strategy::RestForOne)
            .child(script.child("a"))
            .child(inner.child_spec("inner"))
            .child(script.child("z"));
        let outer = started(outer).await;
        assert_eq!(script.seen(), "+a +x +y +z");
        script.end("x", End::Error).await;
        assert_eq!(script.seen(), "+x");
        script.end("x", End::Error).await;
        assert_eq!(script.seen(), "-y -z +x +y +z");
        assert!(outer.as_ref().is_alive());
        let counts = outer.count_children().await.unwrap();
        assert_eq!((counts.workers, counts.supervisors), (2, 1));
    });
}

#[test]
fn failure_escalates_through_every_level() {
    run(expected(async {
        let script = Script::default();
        let mut builder = Supervisor::builder()
            .max_restarts(0, SECOND)
            .child(script.child("leaf"));
        for level in ["first", "second", "third"] {
            builder = Supervisor::builder()
                .max_restarts(0, SECOND)
                .child(builder.child_spec(level));
        }
        let top = started(builder).await;
        script.end("leaf", End::Panic).await;
        let reason = top.as_ref().exit_reason();
        assert!(matches!(reason, Some(ExitReason::Shutdown)), "{reason:?}");
    }));
}

#[test]
fn transient_supervisor_over_max_restarts_is_not_restarted_as_in_otp() {
    run(async {
        let script = Script::default();
        let inner = Supervisor::builder()
            .max_restarts(0, SECOND)
            .child(script.child("x"));
        let spec = inner.child_spec("inner").restart(Restart::Transient);
        let outer = started(Supervisor::builder().child(spec)).await;
        script.end("x", End::Error).await;
        assert_eq!(state_of(&outer, "inner").await, Some(ChildState::Stopped));
    });
}

#[test]
fn shutdown_kills_a_child_after_its_shutdown_time() {
    let cases = [
        (Shutdown::Within(2 * SECOND), Some(2 * SECOND)),
        (Shutdown::BrutalKill, Some(Duration::ZERO)),
        (Shutdown::Infinity, None),
    ];
    for (shutdown, limit) in cases {
        run(async {
            let stubborn = ChildSpec::task("stubborn", |_| future::pending()).shutdown(shutdown);
            let supervisor = started(Supervisor::builder().child(stubborn)).await;
            let children = supervisor.which_children().await.unwrap();
            let ChildState::Running(child) = &children[0].state else {
                panic!("{children:?}");
            };
            let start = time::now();
            supervisor.as_ref().request_shutdown();
            match limit {
                Some(limit) => {
                    assert!(matches!(child.exited().await, ExitReason::Killed));
                    assert_eq!(time::now() - start, limit);
                }
                None => {
                    let waited = time::timeout(1_000_000 * SECOND, child.exited()).await;
                    assert!(waited.is_err());
                    child.kill();
                }
            }
            supervisor.as_ref().exited().await;
        });
    }
}

/// One row for each case of OTP's `auto_shutdown`: does the supervisor exit?
#[test]
fn auto_shutdown_exits_when_significant_children_exit() {
    use AutoShutdown::{AllSignificant, AnySignificant};
    let rows: [(_, &[(&str, End)], _); 8] = [
        (AnySignificant, &[("s", End::Normal)], true),
        (AnySignificant, &[("s", End::Error)], false),
        (AnySignificant, &[("a", End::Normal)], false),
        (AnySignificant, &[("t", End::Error)], true),
        (AllSignificant, &[("s", End::Normal)], false),
        (
            AllSignificant,
            &[("s", End::Normal), ("a", End::Normal)],
            false,
        ),
        (
            AllSignificant,
            &[("s", End::Normal), ("t", End::Error)],
            true,
        ),
        (
            AllSignificant,
            &[("t", End::Error), ("s", End::Shutdown)],
            true,
        ),
    ];
    for (when, ends, expected) in rows {
        run(async {
            let script = Script::default();
            let transient = |id| script.child(id).restart(Restart::Transient);
            let builder = Supervisor::builder()
                .auto_shutdown(when)
                .child(transient("s").significant(true))
                .child(transient("a"))
                .child(
                    script
                        .child("t")
                        .restart(Restart::Temporary)
                        .significant(true),
                );
            let supervisor = started(builder).await;
            for (child, how) in ends {
                script.end(child, *how).await;
            }
            let ended = !supervisor.as_ref().is_alive();
            assert_eq!(ended, expected, "{when:?} {ends:?}");
            if ended {
                let reason = supervisor.as_ref().exit_reason();
                assert!(matches!(reason, Some(ExitReason::Shutdown)));
            }
        });
    }
}

#[test]
fn terminating_a_significant_child_does_not_trigger_auto_shutdown() {
    run(async {
        let script = Script::default();
        let child = script.child("s").restart(Restart::Transient);
        let builder = Supervisor::builder()
            .auto_shutdown(AutoShutdown::AnySignificant)
            .child(child.significant(true));
        let supervisor = started(builder).await;
        supervisor.terminate_child("s").await.unwrap();
        settled().await;
        assert!(supervisor.as_ref().is_alive());
    });
}

#[test]
fn invalid_specs_are_rejected() {
    run(async {
        let script = Script::default();
        let significant = |id| script.child(id).significant(true);
        let refused = |builder: SupervisorBuilder| async {
            match builder.start().await.unwrap_err() {
                StartSupervisorError::Child { error, .. } => error,
                other => panic!("{other}"),
            }
        };
        let never = Supervisor::builder().child(significant("a").restart(Restart::Transient));
        let error = refused(never).await;
        assert!(
            matches!(error, StartChildError::InvalidSpec { .. }),
            "{error}"
        );

        let any = Supervisor::builder().auto_shutdown(AutoShutdown::AnySignificant);
        let error = refused(any.child(significant("a"))).await;
        assert!(
            matches!(error, StartChildError::InvalidSpec { .. }),
            "{error}"
        );

        let twice = three(&script).child(script.child("b"));
        let error = refused(twice).await;
        assert!(
            matches!(error, StartChildError::AlreadyPresent(_)),
            "{error}"
        );

        let dynamic = DynamicSupervisor::builder().start_link();
        let error = dynamic.start_child(significant("a")).await.unwrap_err();
        assert!(
            matches!(error, StartChildError::InvalidSpec { .. }),
            "{error}"
        );
        assert_eq!(script.seen(), "");
    });
}

#[test]
fn children_are_started_terminated_restarted_and_deleted_by_id() {
    run(async {
        let script = Script::default();
        let supervisor = started(three(&script)).await;
        supervisor.start_child(script.child("d")).await.unwrap();
        let again = supervisor.start_child(script.child("d")).await.unwrap_err();
        assert!(matches!(again, StartChildError::AlreadyPresent(_)));
        let running = supervisor.restart_child("d").await.unwrap_err();
        assert!(matches!(running, ChildError::Running));
        let running = supervisor.delete_child("d").await.unwrap_err();
        assert!(matches!(running, ChildError::Running));

        supervisor.terminate_child("d").await.unwrap();
        supervisor.terminate_child("d").await.unwrap();
        assert_eq!(state_of(&supervisor, "d").await, Some(ChildState::Stopped));
        supervisor.restart_child("d").await.unwrap();
        assert!(matches!(
            state_of(&supervisor, "d").await,
            Some(ChildState::Running(_))
        ));
        supervisor.terminate_child("d").await.unwrap();
        supervisor.delete_child("d").await.unwrap();
        assert_eq!(state_of(&supervisor, "d").await, None);
        assert_eq!(script.seen(), "+a +b +c +d -d +d -d");

        for missing in [
            supervisor.terminate_child("x").await.unwrap_err(),
            supervisor.delete_child("x").await.unwrap_err(),
            supervisor.restart_child("x").await.unwrap_err(),
        ] {
            assert!(matches!(missing, ChildError::NotFound));
        }
    });
}

#[test]
fn child_that_fails_in_start_child_is_not_kept() {
    run(async {
        let script = Script::default();
        let supervisor = started(three(&script)).await;
        script.fail("d");
        let error = supervisor.start_child(script.child("d")).await.unwrap_err();
        assert!(matches!(error, StartChildError::Failed(_)), "{error}");
        settled().await;
        assert_eq!(state_of(&supervisor, "d").await, None);
        assert!(supervisor.as_ref().is_alive());
        script.recover("d");
        supervisor.start_child(script.child("d")).await.unwrap();
    });
}

#[test]
fn ignored_child_is_kept_unless_it_is_temporary() {
    run(async {
        let script = Script::default();
        script.ignore("b");
        script.ignore("t");
        let builder = three(&script).child(script.child("t").restart(Restart::Temporary));
        let supervisor = started(builder).await;
        assert_eq!(script.seen(), "+a +c");
        assert_eq!(state_of(&supervisor, "b").await, Some(ChildState::Ignored));
        assert_eq!(state_of(&supervisor, "t").await, None);
        assert!(matches!(
            supervisor.restart_child("b").await,
            Ok(Started::Ignore)
        ));
    });
}

#[test]
fn pending_start_function_does_not_block_queries_or_shutdown() {
    run(async {
        let script = Script::default();
        let (entered, enters) = channel::unbounded();
        let hangs = ChildSpec::new("hangs", move || {
            let entered = entered.clone();
            async move {
                entered.send(()).await?;
                future::pending().await
            }
        });
        let (handle, handles) = channel::bounded(1);
        let builder = Supervisor::builder()
            .child(script.child("a"))
            .child(hangs)
            .child(script.child("c"))
            .on_start(move |it| drop(handle.try_send(it.clone())));
        let starting = builder.start();
        let watching = async {
            let supervisor = handles.recv().await.unwrap();
            enters.recv().await.unwrap();
            assert_eq!(
                state_of(&supervisor, "hangs").await,
                Some(ChildState::Starting)
            );
            assert_eq!(state_of(&supervisor, "c").await, Some(ChildState::Starting));
            supervisor.as_ref().shutdown(Shutdown::Infinity).await;
        };
        let (outcome, ()) = future::zip(starting, watching).await;
        let error = outcome.unwrap_err();
        assert!(matches!(error, StartSupervisorError::Exited(_)), "{error}");
        assert_eq!(script.seen(), "+a -a");
    });
}

#[test]
fn start_function_can_add_a_sibling_from_a_task() {
    run(async {
        let script = Script::default();
        let (handle, handles) = channel::bounded::<Supervisor>(1);
        let sibling = script.child("sibling");
        let asks = ChildSpec::new("asks", move || {
            let (handles, sibling) = (handles.clone(), sibling.clone());
            async move {
                let supervisor = handles.recv().await?;
                let asked = async move { supervisor.start_child(sibling).await.map(drop) };
                // The start function returns before the sibling starts, so it must not wait for it.
                smol::spawn(erps::universe::inherit(async { drop(asked.await) })).detach();
                Ok(Started::Ignore)
            }
        });
        let builder = Supervisor::builder()
            .child(asks)
            .on_start(move |it| drop(handle.try_send(it.clone())));
        let supervisor = started(builder).await;
        settled().await;
        assert!(matches!(
            state_of(&supervisor, "sibling").await,
            Some(ChildState::Running(_))
        ));
    });
}

#[test]
fn dropping_the_start_future_stops_the_started_children() {
    run(async {
        let script = Script::default();
        let hangs = ChildSpec::new("hangs", future::pending::<Result<Started, BoxError>>);
        let builder = Supervisor::builder().child(script.child("a")).child(hangs);
        assert!(time::timeout(SECOND, builder.start()).await.is_err());
        settled().await;
        assert_eq!(script.seen(), "+a -a");
    });
}

#[test]
fn children_of_a_killed_supervisor_are_shut_down() {
    run(async {
        let script = Script::default();
        let supervisor = started(three(&script)).await;
        supervisor.as_ref().kill();
        settled().await;
        let mut seen: Vec<_> = script.seen().split(' ').map(str::to_owned).collect();
        seen.sort();
        assert_eq!(seen.join(" "), "+a +b +c -a -b -c");
    });
}

#[test]
fn one_for_all_restarts_after_all_children_have_exited() {
    run(async {
        let script = Script::default();
        let slow = || {
            ChildSpec::task("slow", |me| async move {
                let reason = me.shutdown_requested().await;
                time::sleep(3 * SECOND).await;
                reason
            })
        };
        let builder = Supervisor::builder()
            .strategy(Strategy::OneForAll)
            .child(script.child("a"))
            .child(slow());
        let _supervisor = started(builder).await;
        script.end("a", End::Error).await;
        assert_eq!(script.seen(), "+a");
        time::sleep(3 * SECOND).await;
        assert_eq!(script.seen(), "+a");
    });
}

#[test]
fn growing_restart_delay_resets_after_a_stable_period() {
    run(async {
        let script = Script::default();
        let delay = RestartDelay::Growing {
            backoff: Backoff::new(SECOND, 60 * SECOND),
            stable: 100 * SECOND,
        };
        let builder = Supervisor::builder()
            .max_restarts(1000, SECOND)
            .restart_delay(delay)
            .child(script.child("a"));
        let _supervisor = started(builder).await;
        let longest_of = async |rounds: u32| {
            let mut longest = Duration::ZERO;
            for _ in 0..rounds {
                let start = time::now();
                script.seen();
                script.end_at_once("a", End::Error);
                while script.seen().is_empty() {
                    time::sleep(Duration::from_millis(10)).await;
                }
                longest = longest.max(time::now() - start);
            }
            longest
        };
        let first = longest_of(1).await;
        assert!(first <= SECOND + Duration::from_millis(20), "{first:?}");
        let later = longest_of(20).await;
        assert!(later > 20 * SECOND && later <= 61 * SECOND, "{later:?}");
        time::sleep(100 * SECOND).await;
        let calm = longest_of(1).await;
        assert!(calm <= SECOND + Duration::from_millis(20), "{calm:?}");
    });
}

#[test]
fn terminate_child_cancels_a_delayed_restart() {
    run(async {
        let script = Script::default();
        let builder = three(&script).restart_delay(RestartDelay::Fixed(60 * SECOND));
        let supervisor = started(builder).await;
        script.end("b", End::Error).await;
        assert_eq!(
            state_of(&supervisor, "b").await,
            Some(ChildState::Restarting)
        );
        let start = time::now();
        supervisor.terminate_child("b").await.unwrap();
        assert_eq!(time::now(), start);
        time::sleep(120 * SECOND).await;
        assert_eq!(script.seen(), "+a +b +c");
    });
}

#[test]
fn tree_with_both_kinds_of_supervisors_starts_and_stops_in_order() {
    run(async {
        let script = Script::default();
        let (handle, handles) = channel::unbounded::<DynamicSupervisor>();
        let dynamic = DynamicSupervisor::builder()
            .on_start(move |it| drop(handle.try_send(it.clone())))
            .child_spec("dynamic");
        let tree = Supervisor::builder()
            .child(script.child("a"))
            .child(dynamic)
            .child(script.child("z"));
        let tree = started(tree).await;
        let children = tree.which_children().await.unwrap();
        assert_eq!(children[1].kind, ChildKind::Supervisor);
        let dynamic = handles.recv().await.unwrap();
        dynamic.start_child(script.child("d")).await.unwrap();
        tree.shutdown().await;
        assert_eq!(script.seen(), "+a +z +d -z -d -a");
    });
}

#[test]
fn one_for_one_does_not_wait_for_a_child_that_is_stopping() {
    run(async {
        let script = Script::default();
        let slow = ChildSpec::task("slow", |me| async move {
            let reason = me.shutdown_requested().await;
            time::sleep(4 * SECOND).await;
            reason
        });
        let supervisor = started(three(&script).child(slow)).await;
        script.seen();
        let other = supervisor.clone();
        let terminating = erps::spawn(async move { other.terminate_child("slow").await });
        settled().await;
        script.end("b", End::Error).await;
        assert_eq!(script.seen(), "+b");
        supervisor.terminate_child("a").await.unwrap();
        assert_eq!(script.seen(), "-a");
        assert!(!terminating.is_finished());
        terminating.await.unwrap();
    });
}

#[test]
fn restart_child_does_not_wait_for_a_cancelled_delay() {
    run(async {
        let script = Script::default();
        let builder = three(&script)
            .strategy(Strategy::RestForOne)
            .restart_delay(RestartDelay::Fixed(60 * SECOND));
        let supervisor = started(builder).await;
        // The second restart waits behind the first, with a delay of its own.
        script.end_at_once("b", End::Error);
        script.end("a", End::Error).await;
        supervisor.terminate_child("a").await.unwrap();
        supervisor.terminate_child("b").await.unwrap();
        let start = time::now();
        supervisor.restart_child("b").await.unwrap();
        assert_eq!(time::now(), start);
    });
}
