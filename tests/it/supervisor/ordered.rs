//! Supervisors of a list: OTP's cases, written anew, in simulated time.

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
    Universe::simulated(1).run(test)
}

/// Until everybody waits. The clock of a simulated universe does not move before.
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

/// Who started and who was told to end, in order, and how to make somebody end by itself.
#[derive(Clone, Default)]
struct Troupe(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    log: Vec<String>,
    strings: BTreeMap<String, Sender<End>>,
    tasks: BTreeMap<String, erps::TaskRef>,
    /// Those whose recipe fails.
    ill: BTreeSet<String>,
    /// Those whose recipe finds nothing to run.
    idle: BTreeSet<String>,
}

impl Troupe {
    fn child(&self, id: &str) -> ChildSpec {
        let (troupe, name) = (self.clone(), id.to_owned());
        ChildSpec::new(id, move || {
            let (troupe, name) = (troupe.clone(), name.clone());
            async move { troupe.start(name).await }
        })
    }

    async fn start(self, name: String) -> Result<Started, BoxError> {
        if self.0.lock().unwrap().ill.contains(&name) {
            self.log(format!("!{name}"));
            return Err("ill".into());
        }
        if self.0.lock().unwrap().idle.contains(&name) {
            return Ok(Started::Ignore);
        }
        self.log(format!("+{name}"));
        let (pull, pulled) = channel::unbounded();
        // It goes when this is dropped before its end.
        let puppet = DynamicSupervisor::builder().start_link();
        let (troupe, id) = (self.clone(), name.clone());
        let body = ChildSpec::task(&name, move |me| {
            let (troupe, id, pulled) = (troupe.clone(), id.clone(), pulled.clone());
            act(troupe, id, me, pulled)
        });
        let task = puppet.start_child(body.restart(Restart::Temporary)).await?;
        // The stage hand goes when the puppet does.
        let (hand, of) = (puppet.unlink(), task.clone());
        erps::spawn(async move {
            of.exited().await;
            hand.as_ref().request_shutdown();
        })
        .detach();
        let mut state = self.0.lock().unwrap();
        state.strings.insert(name.clone(), pull);
        state.tasks.insert(name, task.clone());
        Ok(Started::Running(task))
    }

    fn log(&self, line: String) {
        self.0.lock().unwrap().log.push(line);
    }

    /// What happened since it was last asked.
    fn seen(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap().log).join(" ")
    }

    /// Makes a child end by itself, and waits until all that follows from it is over.
    async fn end(&self, name: &str, how: End) {
        self.end_at_once(name, how);
        settled().await;
    }

    fn end_at_once(&self, name: &str, how: End) {
        let state = self.0.lock().unwrap();
        match how {
            End::Kill => state.tasks[name].kill(),
            _ => drop(state.strings[name].try_send(how)),
        }
    }

    fn ill(&self, name: &str) {
        self.0.lock().unwrap().ill.insert(name.to_owned());
    }

    fn well(&self, name: &str) {
        self.0.lock().unwrap().ill.remove(name);
    }

    fn idle(&self, name: &str) {
        self.0.lock().unwrap().idle.insert(name.to_owned());
    }
}

async fn act(troupe: Troupe, id: String, me: erps::TaskRef, pulled: Receiver<End>) -> ExitReason {
    let asked = async {
        let reason = me.shutdown_requested().await;
        troupe.log(format!("-{id}"));
        reason
    };
    let own = async {
        match pulled.recv().await {
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

fn three(troupe: &Troupe) -> SupervisorBuilder {
    Supervisor::builder()
        .child(troupe.child("a"))
        .child(troupe.child("b"))
        .child(troupe.child("c"))
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
fn children_start_in_order_and_end_in_reverse() {
    run(async {
        let troupe = Troupe::default();
        let supervisor = started(three(&troupe)).await;
        assert_eq!(troupe.seen(), "+a +b +c");
        supervisor.shutdown().await;
        assert_eq!(troupe.seen(), "-c -b -a");
    });
}

#[test]
fn a_child_is_ended_only_when_the_one_after_it_is_gone() {
    run(async {
        let troupe = Troupe::default();
        let slow = ChildSpec::task("slow", |me| async move {
            let reason = me.shutdown_requested().await;
            time::sleep(3 * SECOND).await;
            reason
        });
        let supervisor = started(Supervisor::builder().child(troupe.child("a")).child(slow)).await;
        let task = supervisor.as_ref().clone();
        supervisor.as_ref().request_shutdown();
        time::sleep(3 * SECOND - Duration::from_millis(1)).await;
        assert_eq!(troupe.seen(), "+a");
        time::sleep(Duration::from_millis(2)).await;
        assert_eq!(troupe.seen(), "-a");
        assert!(!task.is_alive());
    });
}

/// One row for each restart type and end: is it started again?
#[test]
fn the_restart_type_and_the_end_decide_who_is_started_again() {
    for how in ENDS {
        for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
            run(allowed(async {
                let troupe = Troupe::default();
                let supervisor =
                    started(Supervisor::builder().child(troupe.child("a").restart(restart))).await;
                troupe.end("a", how).await;
                let abnormal = !matches!(how, End::Normal | End::Shutdown);
                let again = match restart {
                    Restart::Permanent => true,
                    Restart::Transient => abnormal,
                    _ => false,
                };
                let seen = troupe.seen();
                assert_eq!(
                    seen,
                    if again { "+a +a" } else { "+a" },
                    "{restart:?} {how:?}"
                );
                // OTP keeps the recipe of a transient child, and forgets a temporary one.
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

/// One row for each strategy and child that ends: who is ended, and who is started?
#[test]
fn the_strategy_decides_who_goes_along() {
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
    for (strategy, who, expected) in rows {
        for how in ENDS {
            run(allowed(async {
                let troupe = Troupe::default();
                let supervisor = started(three(&troupe).strategy(strategy)).await;
                assert_eq!(troupe.seen(), "+a +b +c");
                troupe.end(who, how).await;
                assert_eq!(troupe.seen(), expected, "{strategy:?} {who} {how:?}");
                drop(supervisor);
            }));
        }
    }
}

#[test]
fn those_who_need_no_restart_take_nobody_along() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        run(async {
            let troupe = Troupe::default();
            let builder = Supervisor::builder()
                .strategy(strategy)
                .child(troupe.child("a").restart(Restart::Transient))
                .child(troupe.child("b").restart(Restart::Temporary))
                .child(troupe.child("c"));
            let _supervisor = started(builder).await;
            troupe.end("a", End::Normal).await;
            troupe.end("b", End::Error).await;
            assert_eq!(troupe.seen(), "+a +b +c");
        });
    }
}

#[test]
fn a_temporary_child_that_goes_along_does_not_come_back() {
    run(async {
        let troupe = Troupe::default();
        let builder = Supervisor::builder()
            .strategy(Strategy::OneForAll)
            .child(troupe.child("a"))
            .child(troupe.child("b").restart(Restart::Temporary));
        let supervisor = started(builder).await;
        troupe.end("a", End::Error).await;
        assert_eq!(troupe.seen(), "+a +b -b +a");
        assert_eq!(state_of(&supervisor, "b").await, None);
    });
}

#[test]
fn as_in_otp_a_child_that_was_stopped_comes_back_with_its_siblings() {
    run(async {
        let troupe = Troupe::default();
        let supervisor = started(three(&troupe).strategy(Strategy::OneForAll)).await;
        supervisor.terminate_child("b").await.unwrap();
        assert_eq!(troupe.seen(), "+a +b +c -b");
        troupe.end("c", End::Error).await;
        assert_eq!(troupe.seen(), "-a +a +b +c");
    });
}

#[test]
fn as_many_restarts_as_the_limit_are_made_and_not_one_more() {
    for limit in 0..4 {
        run(async {
            let troupe = Troupe::default();
            let builder = three(&troupe).max_restarts(limit, 5 * SECOND);
            let supervisor = started(builder).await;
            for _ in 0..limit {
                troupe.end("b", End::Error).await;
            }
            assert!(supervisor.as_ref().is_alive());
            troupe.seen();
            troupe.end("b", End::Error).await;
            assert_eq!(troupe.seen(), "-c -a");
            let reason = supervisor.as_ref().exit_reason();
            assert!(matches!(reason, Some(ExitReason::Shutdown)), "{reason:?}");
        });
    }
}

#[test]
fn a_restart_is_forgotten_when_it_is_older_than_the_period() {
    run(async {
        let troupe = Troupe::default();
        let supervisor = started(three(&troupe).max_restarts(1, 5 * SECOND)).await;
        for _ in 0..10 {
            troupe.end("a", End::Error).await;
            time::sleep(5 * SECOND).await;
        }
        assert!(supervisor.as_ref().is_alive());
    });
}

#[test]
fn a_failed_start_takes_down_what_was_started_in_reverse() {
    run(async {
        let troupe = Troupe::default();
        troupe.ill("c");
        let builder = three(&troupe).child(troupe.child("d"));
        let error = builder.start().await.unwrap_err();
        assert_eq!(troupe.seen(), "+a +b !c -b -a");
        let StartSupervisorError::Child { id, error } = error else {
            panic!("{error}");
        };
        assert_eq!(&*id, "c");
        assert!(matches!(error, StartChildError::Failed(_)), "{error}");
    });
}

#[test]
fn a_restart_that_fails_is_tried_again_until_it_is_too_much() {
    run(async {
        let troupe = Troupe::default();
        let supervisor = started(three(&troupe).strategy(Strategy::RestForOne)).await;
        troupe.seen();
        troupe.ill("b");
        troupe.end("b", End::Error).await;
        // Three restarts in five seconds are allowed: that one, and two after failures of it.
        assert_eq!(troupe.seen(), "-c !b !b !b -a");
        assert!(!supervisor.as_ref().is_alive());
    });
}

#[test]
fn who_fails_to_restart_takes_along_those_the_strategy_says() {
    run(async {
        let troupe = Troupe::default();
        let builder = three(&troupe).strategy(Strategy::OneForAll);
        let builder = builder.restart_delay(RestartDelay::Fixed(SECOND));
        let _supervisor = started(builder).await;
        troupe.seen();
        troupe.ill("b");
        troupe.end("a", End::Error).await;
        assert_eq!(troupe.seen(), "-c -b");
        time::sleep(SECOND).await;
        assert_eq!(troupe.seen(), "+a !b -a");
        troupe.well("b");
        time::sleep(SECOND).await;
        assert_eq!(troupe.seen(), "+a +b +c");
    });
}

#[test]
fn escalation_reaches_the_supervisor_above_and_that_one_restarts_the_other() {
    run(async {
        let troupe = Troupe::default();
        let inner = Supervisor::builder()
            .max_restarts(1, 5 * SECOND)
            .child(troupe.child("x"))
            .child(troupe.child("y"));
        let outer = Supervisor::builder()
            .strategy(Strategy::RestForOne)
            .child(troupe.child("a"))
            .child(inner.child_spec("inner"))
            .child(troupe.child("z"));
        let outer = started(outer).await;
        assert_eq!(troupe.seen(), "+a +x +y +z");
        troupe.end("x", End::Error).await;
        assert_eq!(troupe.seen(), "+x");
        troupe.end("x", End::Error).await;
        assert_eq!(troupe.seen(), "-y -z +x +y +z");
        assert!(outer.as_ref().is_alive());
        let counts = outer.count_children().await.unwrap();
        assert_eq!((counts.workers, counts.supervisors), (2, 1));
    });
}

#[test]
fn escalation_goes_up_to_the_top() {
    run(expected(async {
        let troupe = Troupe::default();
        let mut builder = Supervisor::builder()
            .max_restarts(0, SECOND)
            .child(troupe.child("leaf"));
        for level in ["first", "second", "third"] {
            builder = Supervisor::builder()
                .max_restarts(0, SECOND)
                .child(builder.child_spec(level));
        }
        let top = started(builder).await;
        troupe.end("leaf", End::Panic).await;
        let reason = top.as_ref().exit_reason();
        assert!(matches!(reason, Some(ExitReason::Shutdown)), "{reason:?}");
    }));
}

#[test]
fn a_transient_supervisor_that_gives_up_is_not_restarted_as_in_otp() {
    run(async {
        let troupe = Troupe::default();
        let inner = Supervisor::builder()
            .max_restarts(0, SECOND)
            .child(troupe.child("x"));
        let spec = inner.child_spec("inner").restart(Restart::Transient);
        let outer = started(Supervisor::builder().child(spec)).await;
        troupe.end("x", End::Error).await;
        assert_eq!(state_of(&outer, "inner").await, Some(ChildState::Stopped));
    });
}

#[test]
fn shutdown_gives_a_child_its_time_and_then_kills_it() {
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

/// One row for each case of OTP's `auto_shutdown`: does the supervisor end?
#[test]
fn significant_children_end_their_supervisor_as_auto_shutdown_says() {
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
            let troupe = Troupe::default();
            let transient = |id| troupe.child(id).restart(Restart::Transient);
            let builder = Supervisor::builder()
                .auto_shutdown(when)
                .child(transient("s").significant(true))
                .child(transient("a"))
                .child(
                    troupe
                        .child("t")
                        .restart(Restart::Temporary)
                        .significant(true),
                );
            let supervisor = started(builder).await;
            for (who, how) in ends {
                troupe.end(who, *how).await;
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
fn a_significant_child_that_is_terminated_ends_nobody() {
    run(async {
        let troupe = Troupe::default();
        let child = troupe.child("s").restart(Restart::Transient);
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
fn what_makes_no_sense_is_refused() {
    run(async {
        let troupe = Troupe::default();
        let significant = |id| troupe.child(id).significant(true);
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

        let twice = three(&troupe).child(troupe.child("b"));
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
        assert_eq!(troupe.seen(), "");
    });
}

#[test]
fn children_are_added_stopped_started_and_forgotten_by_name() {
    run(async {
        let troupe = Troupe::default();
        let supervisor = started(three(&troupe)).await;
        supervisor.start_child(troupe.child("d")).await.unwrap();
        let again = supervisor.start_child(troupe.child("d")).await.unwrap_err();
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
        assert_eq!(troupe.seen(), "+a +b +c +d -d +d -d");

        for nobody in [
            supervisor.terminate_child("x").await.unwrap_err(),
            supervisor.delete_child("x").await.unwrap_err(),
            supervisor.restart_child("x").await.unwrap_err(),
        ] {
            assert!(matches!(nobody, ChildError::NotFound));
        }
    });
}

#[test]
fn a_child_that_is_added_and_fails_is_not_kept() {
    run(async {
        let troupe = Troupe::default();
        let supervisor = started(three(&troupe)).await;
        troupe.ill("d");
        let error = supervisor.start_child(troupe.child("d")).await.unwrap_err();
        assert!(matches!(error, StartChildError::Failed(_)), "{error}");
        settled().await;
        assert_eq!(state_of(&supervisor, "d").await, None);
        assert!(supervisor.as_ref().is_alive());
        troupe.well("d");
        supervisor.start_child(troupe.child("d")).await.unwrap();
    });
}

#[test]
fn a_child_with_nothing_to_run_is_kept_unless_it_is_temporary() {
    run(async {
        let troupe = Troupe::default();
        troupe.idle("b");
        troupe.idle("t");
        let builder = three(&troupe).child(troupe.child("t").restart(Restart::Temporary));
        let supervisor = started(builder).await;
        assert_eq!(troupe.seen(), "+a +c");
        assert_eq!(state_of(&supervisor, "b").await, Some(ChildState::Ignored));
        assert_eq!(state_of(&supervisor, "t").await, None);
        assert!(matches!(
            supervisor.restart_child("b").await,
            Ok(Started::Ignore)
        ));
    });
}

#[test]
fn a_recipe_that_hangs_keeps_nobody_from_asking_nor_from_ending() {
    run(async {
        let troupe = Troupe::default();
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
            .child(troupe.child("a"))
            .child(hangs)
            .child(troupe.child("c"))
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
        assert_eq!(troupe.seen(), "+a -a");
    });
}

#[test]
fn a_child_may_add_a_sibling_from_within_its_recipe() {
    run(async {
        let troupe = Troupe::default();
        let (handle, handles) = channel::bounded::<Supervisor>(1);
        let sibling = troupe.child("sibling");
        let asks = ChildSpec::new("asks", move || {
            let (handles, sibling) = (handles.clone(), sibling.clone());
            async move {
                let supervisor = handles.recv().await?;
                let asked = async move { supervisor.start_child(sibling).await.map(drop) };
                // Its own start is over before the sibling's begins: it must not wait for it.
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
fn dropped_before_it_is_ready_nothing_is_left_running() {
    run(async {
        let troupe = Troupe::default();
        let hangs = ChildSpec::new("hangs", future::pending::<Result<Started, BoxError>>);
        let builder = Supervisor::builder().child(troupe.child("a")).child(hangs);
        assert!(time::timeout(SECOND, builder.start()).await.is_err());
        settled().await;
        assert_eq!(troupe.seen(), "+a -a");
    });
}

#[test]
fn a_killed_supervisor_leaves_nobody_behind() {
    run(async {
        let troupe = Troupe::default();
        let supervisor = started(three(&troupe)).await;
        supervisor.as_ref().kill();
        settled().await;
        let mut seen: Vec<_> = troupe.seen().split(' ').map(str::to_owned).collect();
        seen.sort();
        assert_eq!(seen.join(" "), "+a +b +c -a -b -c");
    });
}

#[test]
fn a_new_child_starts_only_when_the_old_one_is_wholly_gone() {
    run(async {
        let troupe = Troupe::default();
        let slow = || {
            ChildSpec::task("slow", |me| async move {
                let reason = me.shutdown_requested().await;
                time::sleep(3 * SECOND).await;
                reason
            })
        };
        let builder = Supervisor::builder()
            .strategy(Strategy::OneForAll)
            .child(troupe.child("a"))
            .child(slow());
        let _supervisor = started(builder).await;
        troupe.end("a", End::Error).await;
        assert_eq!(troupe.seen(), "+a");
        time::sleep(3 * SECOND).await;
        assert_eq!(troupe.seen(), "+a");
    });
}

#[test]
fn growing_delays_begin_anew_after_a_stable_while() {
    run(async {
        let troupe = Troupe::default();
        let delay = RestartDelay::Growing {
            backoff: Backoff::new(SECOND, 60 * SECOND),
            stable: 100 * SECOND,
        };
        let builder = Supervisor::builder()
            .max_restarts(1000, SECOND)
            .restart_delay(delay)
            .child(troupe.child("a"));
        let _supervisor = started(builder).await;
        let longest_of = async |rounds: u32| {
            let mut longest = Duration::ZERO;
            for _ in 0..rounds {
                let start = time::now();
                troupe.seen();
                troupe.end_at_once("a", End::Error);
                while troupe.seen().is_empty() {
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
fn a_delayed_restart_can_be_called_off() {
    run(async {
        let troupe = Troupe::default();
        let builder = three(&troupe).restart_delay(RestartDelay::Fixed(60 * SECOND));
        let supervisor = started(builder).await;
        troupe.end("b", End::Error).await;
        assert_eq!(
            state_of(&supervisor, "b").await,
            Some(ChildState::Restarting)
        );
        let start = time::now();
        supervisor.terminate_child("b").await.unwrap();
        assert_eq!(time::now(), start);
        time::sleep(120 * SECOND).await;
        assert_eq!(troupe.seen(), "+a +b +c");
    });
}

#[test]
fn a_tree_of_both_kinds_of_supervisors_is_started_and_ended_as_one() {
    run(async {
        let troupe = Troupe::default();
        let (handle, handles) = channel::unbounded::<DynamicSupervisor>();
        let dynamic = DynamicSupervisor::builder()
            .on_start(move |it| drop(handle.try_send(it.clone())))
            .child_spec("dynamic");
        let tree = Supervisor::builder()
            .child(troupe.child("a"))
            .child(dynamic)
            .child(troupe.child("z"));
        let tree = started(tree).await;
        let children = tree.which_children().await.unwrap();
        assert_eq!(children[1].kind, ChildKind::Supervisor);
        let dynamic = handles.recv().await.unwrap();
        dynamic.start_child(troupe.child("d")).await.unwrap();
        tree.shutdown().await;
        assert_eq!(troupe.seen(), "+a +z +d -z -d -a");
    });
}

#[test]
fn where_each_stands_for_itself_nobody_waits_for_one_who_takes_time_to_end() {
    run(async {
        let troupe = Troupe::default();
        let slow = ChildSpec::task("slow", |me| async move {
            let reason = me.shutdown_requested().await;
            time::sleep(4 * SECOND).await;
            reason
        });
        let supervisor = started(three(&troupe).child(slow)).await;
        troupe.seen();
        let other = supervisor.clone();
        let terminating = erps::spawn(async move { other.terminate_child("slow").await });
        settled().await;
        troupe.end("b", End::Error).await;
        assert_eq!(troupe.seen(), "+b");
        supervisor.terminate_child("a").await.unwrap();
        assert_eq!(troupe.seen(), "-a");
        assert!(!terminating.is_finished());
        terminating.await.unwrap();
    });
}

#[test]
fn who_is_started_by_name_does_not_wait_out_a_delay_that_was_called_off() {
    run(async {
        let troupe = Troupe::default();
        let builder = three(&troupe)
            .strategy(Strategy::RestForOne)
            .restart_delay(RestartDelay::Fixed(60 * SECOND));
        let supervisor = started(builder).await;
        // The second waits behind the first, with a delay of its own to come.
        troupe.end_at_once("b", End::Error);
        troupe.end("a", End::Error).await;
        supervisor.terminate_child("a").await.unwrap();
        supervisor.terminate_child("b").await.unwrap();
        let start = time::now();
        supervisor.restart_child("b").await.unwrap();
        assert_eq!(time::now(), start);
    });
}
