//! Dynamic supervisors: OTP's cases, written anew.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use erps::{
    ChildSpec, ChildState, Counts, DynamicSupervisor, ExitReason, Restart, Shutdown,
    StartChildError, Started, SupervisorGone, TaskRef, TerminateChildError, Universe,
};
use smol::{
    Executor, Timer,
    channel::{self, Receiver, Sender},
    future::{self, FutureExt as _},
};

const LONG: Duration = Duration::from_secs(3600);

/// Runs a test, which fails if it takes too long.
fn run<T>(test: impl Future<Output = T>) -> T {
    smol::block_on(test.or(async {
        Timer::after(Duration::from_secs(20)).await;
        panic!("the test hangs");
    }))
}

fn supervisor() -> DynamicSupervisor {
    DynamicSupervisor::builder().start()
}

/// A child that runs until it is asked to end.
fn idle() -> ChildSpec {
    ChildSpec::task("idle", |me| async move { me.shutdown_requested().await })
}

/// A child that never looks whether it is asked to end.
fn stubborn() -> ChildSpec {
    ChildSpec::task("stubborn", |_| future::pending())
}

/// A child that is asked to end, says so on the channel, and ends when the other is closed.
fn polite(asked: &Sender<()>, leave: &Receiver<()>) -> ChildSpec {
    let (asked, leave) = (asked.clone(), leave.clone());
    ChildSpec::task("polite", move |me| {
        let (asked, leave) = (asked.clone(), leave.clone());
        async move {
            let reason = me.shutdown_requested().await;
            asked.send(()).await.unwrap();
            let _ = leave.recv().await;
            reason
        }
    })
}

/// A recipe that says that it runs, and never returns.
fn endless(entered: &Sender<()>) -> ChildSpec {
    let entered = entered.clone();
    ChildSpec::new("endless", move || {
        let entered = entered.clone();
        async move {
            entered.send(()).await?;
            future::pending().await
        }
    })
}

/// A child that reports every start of it, and ends as it is told.
struct Puppet {
    spec: ChildSpec,
    starts: Receiver<TaskRef>,
    ends: Sender<End>,
}

#[derive(Clone, Debug)]
enum End {
    Return(ExitReason),
    Panic,
    AskedToEnd,
    Killed,
}

impl Puppet {
    fn new(restart: Restart) -> Self {
        let (started, starts) = channel::unbounded();
        let (ends, end) = channel::unbounded();
        let spec = ChildSpec::task("puppet", move |me| {
            let (started, end) = (started.clone(), end.clone());
            async move {
                started.send(me.clone()).await.unwrap();
                let told = async {
                    match end.recv().await {
                        Ok(End::Return(reason)) => reason,
                        told => panic!("told to: {told:?}"),
                    }
                };
                me.shutdown_requested().or(told).await
            }
        });
        Self {
            spec: spec.restart(restart),
            starts,
            ends,
        }
    }

    async fn end(&self, child: &TaskRef, how: End) -> ExitReason {
        match how {
            End::AskedToEnd => child.request_shutdown(),
            End::Killed => child.kill(),
            how => self.ends.send(how).await.unwrap(),
        }
        child.exited().await
    }
}

async fn counts(supervisor: &DynamicSupervisor) -> (usize, usize) {
    let Counts { specs, active, .. } = supervisor.count_children().await.unwrap();
    (specs, active)
}

#[test]
fn a_child_is_restarted_as_its_type_and_its_end_say() {
    let ends = [
        (End::Return(ExitReason::Normal), false),
        (End::Return(ExitReason::Shutdown), false),
        (End::AskedToEnd, false),
        (End::Return(ExitReason::Disconnected), true),
        (End::Return(ExitReason::error("as the test asks")), true),
        (End::Panic, true),
        (End::Killed, true),
    ];
    for (end, abnormal) in ends {
        for (restart, restarted) in [
            (Restart::Permanent, true),
            (Restart::Transient, abnormal),
            (Restart::Temporary, false),
        ] {
            run(async {
                let supervisor = supervisor();
                let puppet = Puppet::new(restart);
                let child = supervisor.start_child(puppet.spec.clone()).await.unwrap();
                assert_eq!(puppet.starts.recv().await.unwrap(), child);
                puppet.end(&child, end.clone()).await;
                if restarted {
                    assert_ne!(puppet.starts.recv().await.unwrap(), child);
                    assert_eq!(counts(&supervisor).await.0, 1, "{restart:?}, {end:?}");
                } else {
                    assert_eq!(counts(&supervisor).await, (0, 0), "{restart:?}, {end:?}");
                    assert!(puppet.starts.is_empty(), "{restart:?}, {end:?}");
                }
            });
        }
    }
}

#[test]
fn a_child_is_permanent_unless_its_spec_says_otherwise() {
    assert_eq!(Restart::default(), Restart::Permanent);
    run(async {
        let supervisor = supervisor();
        supervisor.start_child(idle()).await.unwrap();
        let children = supervisor.which_children().await.unwrap();
        assert_eq!(children[0].restart, Restart::Permanent);
    });
}

#[test]
fn a_new_child_starts_only_when_the_old_one_is_wholly_gone() {
    struct Alive(Arc<AtomicUsize>);
    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
    run(async {
        let (started, starts) = channel::unbounded();
        let alive = Arc::new(AtomicUsize::new(0));
        let spec = ChildSpec::task("one", move |me| {
            let others = alive.fetch_add(1, SeqCst);
            let (alive, started) = (Alive(alive.clone()), started.clone());
            async move {
                started.send((me.clone(), others)).await.unwrap();
                let reason = me.shutdown_requested().await;
                drop(alive);
                reason
            }
        });
        let supervisor = DynamicSupervisor::builder().max_restarts(50, LONG).start();
        supervisor.start_child(spec).await.unwrap();
        for _ in 0..50 {
            let (child, others) = starts.recv().await.unwrap();
            assert_eq!(others, 0);
            child.kill();
        }
    });
}

#[test]
fn as_many_restarts_as_the_limit_are_borne() {
    run(async {
        let supervisor = DynamicSupervisor::builder().max_restarts(3, LONG).start();
        let puppet = Puppet::new(Restart::Permanent);
        supervisor.start_child(puppet.spec.clone()).await.unwrap();
        for _ in 0..3 {
            let child = puppet.starts.recv().await.unwrap();
            puppet.end(&child, End::Killed).await;
        }
        puppet.starts.recv().await.unwrap();
        assert!(supervisor.as_ref().is_alive());
    });
}

#[test]
fn at_one_restart_too_many_the_supervisor_ends_its_children_and_then_itself() {
    run(async {
        let supervisor = DynamicSupervisor::builder().max_restarts(3, LONG).start();
        let ((asked, is_asked), (leave, left)) = (channel::unbounded(), channel::bounded(1));
        let sibling = supervisor.start_child(polite(&asked, &left)).await.unwrap();
        let puppet = Puppet::new(Restart::Permanent);
        supervisor.start_child(puppet.spec.clone()).await.unwrap();
        for _ in 0..4 {
            let child = puppet.starts.recv().await.unwrap();
            puppet.end(&child, End::Killed).await;
        }
        is_asked.recv().await.unwrap();
        assert!(supervisor.as_ref().is_alive());
        drop(leave);
        let reason = supervisor.as_ref().exited().await;
        assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
        assert!(!sibling.is_alive());
        assert!(puppet.starts.is_empty());
    });
}

#[test]
fn the_end_of_one_that_gave_up_is_seen_by_its_own_supervisor() {
    run(async {
        let (started, starts) = channel::unbounded();
        let spec = ChildSpec::new("inner", move || {
            let inner = DynamicSupervisor::builder().max_restarts(0, LONG).start();
            let started = started.clone();
            async move {
                let task = inner.as_ref().clone();
                started.send(inner).await?;
                Ok(task.into())
            }
        });
        let outer = supervisor();
        outer
            .start_child(spec.shutdown(Shutdown::Infinity))
            .await
            .unwrap();
        let inner = starts.recv().await.unwrap();
        inner.start_child(idle()).await.unwrap().kill();
        let again = starts.recv().await.unwrap();
        assert_ne!(again.as_ref(), inner.as_ref());
        let child = again.start_child(idle()).await.unwrap();
        outer.as_ref().shutdown(Shutdown::Infinity).await;
        assert!(!again.as_ref().is_alive() && !child.is_alive());
    });
}

/// A recipe whose starts after the first fail this many times.
fn failing_to_restart(times: usize) -> (ChildSpec, Receiver<TaskRef>) {
    let (started, starts) = channel::unbounded();
    let (nursery, count) = (supervisor(), AtomicUsize::new(0));
    let spec = ChildSpec::new("failing", move || {
        let n = count.fetch_add(1, SeqCst);
        let (nursery, started) = (nursery.clone(), started.clone());
        async move {
            if (1..=times).contains(&n) {
                return Err("as the test asks".into());
            }
            let spec = idle().restart(Restart::Temporary);
            let task = nursery.start_child(spec).await?;
            started.send(task.clone()).await?;
            Ok(task.into())
        }
    });
    (spec, starts)
}

#[test]
fn a_restart_that_fails_is_tried_again() {
    run(async {
        let supervisor = DynamicSupervisor::builder().max_restarts(3, LONG).start();
        let (spec, starts) = failing_to_restart(2);
        supervisor.start_child(spec).await.unwrap();
        starts.recv().await.unwrap().kill();
        assert!(starts.recv().await.unwrap().is_alive());
        assert!(supervisor.as_ref().is_alive());
    });
}

#[test]
fn a_restart_that_fails_counts_as_another_restart() {
    run(async {
        let supervisor = DynamicSupervisor::builder().max_restarts(3, LONG).start();
        let (spec, starts) = failing_to_restart(3);
        supervisor.start_child(spec).await.unwrap();
        starts.recv().await.unwrap().kill();
        supervisor.as_ref().exited().await;
        assert!(starts.is_empty());
    });
}

#[test]
fn a_recipe_that_ignores_leaves_no_child() {
    run(async {
        let supervisor = supervisor();
        let spec = ChildSpec::new("nothing", || async { Ok(Started::Ignore) });
        let outcome = supervisor.start_child(spec).await;
        assert!(matches!(outcome, Err(StartChildError::Ignored)));
        assert_eq!(counts(&supervisor).await, (0, 0));
    });
}

#[test]
fn a_recipe_that_fails_leaves_no_child_and_its_error_is_told() {
    run(async {
        let supervisor = supervisor();
        let spec = ChildSpec::new("broken", || async {
            Err("a".parse::<u8>().unwrap_err().into())
        });
        match supervisor.start_child(spec).await {
            Err(StartChildError::Failed(ExitReason::Error(error))) => {
                assert!(error.is::<std::num::ParseIntError>());
            }
            outcome => panic!("{outcome:?}"),
        }
        assert_eq!(counts(&supervisor).await, (0, 0));
    });
}

#[test]
fn a_recipe_that_panics_leaves_no_child_and_its_message_is_told() {
    fn at_once() -> future::Ready<Result<Started, erps::BoxError>> {
        panic!("as the test asks")
    }
    run(async {
        let supervisor = supervisor();
        let later = || async { panic!("as the test asks") };
        for spec in [
            ChildSpec::new("later", later),
            ChildSpec::new("at once", at_once),
        ] {
            match supervisor.start_child(spec).await {
                Err(StartChildError::Failed(ExitReason::Panic(message))) => {
                    assert_eq!(&*message, "as the test asks");
                }
                outcome => panic!("{outcome:?}"),
            }
        }
        assert_eq!(counts(&supervisor).await, (0, 0));
    });
}

#[test]
fn a_recipe_that_never_returns_holds_up_its_caller_only() {
    run(async {
        let supervisor = supervisor();
        let (entered, enters) = channel::unbounded();
        let caller = smol::spawn({
            let (supervisor, spec) = (supervisor.clone(), endless(&entered));
            async move { supervisor.start_child(spec).await }
        });
        enters.recv().await.unwrap();
        supervisor.start_child(idle()).await.unwrap();
        assert_eq!(counts(&supervisor).await, (2, 1));
        let states = supervisor.which_children().await.unwrap();
        assert!(
            states
                .iter()
                .any(|child| &*child.id == "endless" && child.state == ChildState::Starting)
        );
        supervisor.as_ref().shutdown(Shutdown::Infinity).await;
        let outcome = caller.await;
        assert!(matches!(outcome, Err(StartChildError::SupervisorGone)));
    });
}

/// Threads that run an executor until they are dropped.
struct Threads {
    executor: Arc<Executor<'static>>,
    _stop: Sender<()>,
}

impl Threads {
    fn new() -> Self {
        let executor = Arc::new(Executor::new());
        let (stop, stopped) = channel::bounded::<()>(1);
        for _ in 0..3 {
            let (executor, stopped) = (executor.clone(), stopped.clone());
            std::thread::spawn(move || smol::block_on(executor.run(stopped.recv())));
        }
        Self {
            executor,
            _stop: stop,
        }
    }
}

/// Ends a supervisor while a recipe computes, and lets the recipe then yield a task.
async fn yield_too_late(end: impl FnOnce(&TaskRef)) -> TaskRef {
    let threads = Threads::new();
    let supervisor = DynamicSupervisor::builder()
        .executor(threads.executor.clone())
        .start();
    let late = self::supervisor()
        .start_child(idle().restart(Restart::Temporary))
        .await
        .unwrap();
    let ((entered, enters), (go, gone)) = (channel::unbounded(), mpsc::channel::<()>());
    let gone = std::sync::Mutex::new(gone);
    let task = late.clone();
    let spec = ChildSpec::new("late", move || {
        entered.try_send(()).unwrap();
        let _ = gone.lock().unwrap().recv();
        future::ready(Ok(task.clone().into()))
    });
    let start = supervisor.start_child(spec);
    let meanwhile = async {
        enters.recv().await.unwrap();
        end(supervisor.as_ref());
        while supervisor.start_child(idle()).await.is_ok() {}
        drop(go);
    };
    let (outcome, ()) = future::zip(start, meanwhile).await;
    assert!(matches!(outcome, Err(StartChildError::SupervisorGone)));
    supervisor.as_ref().exited().await;
    late
}

#[test]
fn a_task_that_a_recipe_yields_too_late_has_ended_before_the_supervisor() {
    run(async { assert!(!yield_too_late(TaskRef::request_shutdown).await.is_alive()) });
}

#[test]
fn a_task_that_a_recipe_yields_to_a_killed_supervisor_is_ended() {
    run(async {
        let reason = yield_too_late(TaskRef::kill).await.exited().await;
        assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
    });
}

#[test]
fn a_recipe_may_start_children_of_its_own_supervisor() {
    run(async {
        let supervisor = supervisor();
        let inner = supervisor.clone();
        let spec = ChildSpec::new("outer", move || {
            let supervisor = inner.clone();
            async move {
                supervisor.start_child(idle()).await?;
                Ok(Started::Ignore)
            }
        });
        let outcome = supervisor.start_child(spec).await;
        assert!(matches!(outcome, Err(StartChildError::Ignored)));
        assert_eq!(counts(&supervisor).await, (1, 1));
    });
}

#[test]
fn a_child_may_start_children_of_its_own_supervisor() {
    run(async {
        let supervisor = supervisor();
        let (started, starts) = channel::unbounded();
        let inner = supervisor.clone();
        let spec = ChildSpec::task("outer", move |me| {
            let (supervisor, started) = (inner.clone(), started.clone());
            async move {
                let child = supervisor.start_child(idle()).await;
                started.send(child).await.unwrap();
                me.shutdown_requested().await
            }
        });
        supervisor.start_child(spec).await.unwrap();
        starts.recv().await.unwrap().unwrap();
        assert_eq!(counts(&supervisor).await, (2, 2));
    });
}

#[test]
fn a_child_that_ended_before_start_child_returned_is_seen() {
    for (restart, starts) in [(Restart::Temporary, 1), (Restart::Permanent, 4)] {
        run(async {
            let supervisor = DynamicSupervisor::builder().max_restarts(3, LONG).start();
            let (nursery, count) = (self::supervisor(), Arc::new(AtomicUsize::new(0)));
            let counted = count.clone();
            let spec = ChildSpec::new("short", move || {
                counted.fetch_add(1, SeqCst);
                let nursery = nursery.clone();
                async move {
                    let body = ChildSpec::task("short", |_| future::ready(ExitReason::Normal));
                    let body = body.restart(Restart::Temporary);
                    let task = nursery.start_child(body).await?;
                    task.exited().await;
                    Ok(task.into())
                }
            });
            let child = supervisor.start_child(spec.restart(restart)).await.unwrap();
            assert!(!child.is_alive());
            match restart {
                Restart::Temporary => assert_eq!(counts(&supervisor).await, (0, 0)),
                _ => drop(supervisor.as_ref().exited().await),
            }
            assert_eq!(count.load(SeqCst), starts);
        });
    }
}

#[test]
fn terminate_child_lets_the_child_end_politely_and_waits_for_it() {
    for how in [Shutdown::Within(LONG), Shutdown::Infinity] {
        run(async {
            let supervisor = supervisor();
            let ((asked, is_asked), (leave, left)) = (channel::unbounded(), channel::bounded(1));
            let spec = polite(&asked, &left).shutdown(how);
            let child = supervisor.start_child(spec).await.unwrap();
            let terminate = async {
                supervisor.terminate_child(&child).await.unwrap();
                assert!(!child.is_alive());
            };
            let meanwhile = async {
                is_asked.recv().await.unwrap();
                assert_eq!(counts(&supervisor).await, (1, 1));
                drop(leave);
            };
            future::zip(terminate, meanwhile).await;
            let reason = child.exited().await;
            assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
            assert_eq!(counts(&supervisor).await, (0, 0));
        });
    }
}

#[test]
fn terminate_child_kills_a_child_that_does_not_end_in_time() {
    run(async {
        let supervisor = supervisor();
        let spec = stubborn().shutdown(Shutdown::Within(Duration::from_millis(10)));
        let child = supervisor.start_child(spec).await.unwrap();
        supervisor.terminate_child(&child).await.unwrap();
        let reason = child.exit_reason();
        assert!(matches!(reason, Some(ExitReason::Killed)), "{reason:?}");
        assert_eq!(counts(&supervisor).await, (0, 0));
    });
}

#[test]
fn a_brutal_kill_does_not_ask() {
    run(async {
        let supervisor = supervisor();
        let ((asked, is_asked), (_leave, left)) = (channel::unbounded(), channel::bounded(1));
        let spec = polite(&asked, &left).shutdown(Shutdown::BrutalKill);
        let child = supervisor.start_child(spec).await.unwrap();
        supervisor.terminate_child(&child).await.unwrap();
        let reason = child.exit_reason();
        assert!(matches!(reason, Some(ExitReason::Killed)), "{reason:?}");
        assert!(is_asked.is_empty());
    });
}

#[test]
fn two_may_terminate_the_same_child_and_later_it_is_not_found() {
    run(async {
        let supervisor = supervisor();
        let child = supervisor.start_child(idle()).await.unwrap();
        let twice = future::zip(
            supervisor.terminate_child(&child),
            supervisor.terminate_child(&child),
        );
        assert_eq!(twice.await, (Ok(()), Ok(())));
        let again = supervisor.terminate_child(&child).await;
        assert_eq!(again, Err(TerminateChildError::NotFound));
    });
}

#[test]
fn another_supervisors_child_is_not_found() {
    run(async {
        let child = supervisor().start_child(idle()).await.unwrap();
        let outcome = supervisor().terminate_child(&child).await;
        assert_eq!(outcome, Err(TerminateChildError::NotFound));
        assert!(child.is_alive());
    });
}

#[test]
fn a_child_can_be_terminated_while_it_is_restarted() {
    run(async {
        let supervisor = supervisor();
        let (entered, enters) = channel::unbounded();
        let first = self::supervisor()
            .start_child(idle().restart(Restart::Temporary))
            .await
            .unwrap();
        let task = first.clone();
        let spec = ChildSpec::new("once", move || {
            let (task, entered) = (task.clone(), entered.clone());
            async move {
                if task.is_alive() {
                    return Ok(task.into());
                }
                entered.send(()).await?;
                future::pending().await
            }
        });
        let child = supervisor.start_child(spec).await.unwrap();
        child.kill();
        enters.recv().await.unwrap();
        let children = supervisor.which_children().await.unwrap();
        assert_eq!(children[0].state, ChildState::Restarting);
        assert_eq!(counts(&supervisor).await, (1, 0));
        supervisor.terminate_child(&child).await.unwrap();
        assert_eq!(counts(&supervisor).await, (0, 0));
        assert!(supervisor.as_ref().is_alive());
    });
}

#[test]
fn at_max_children_another_is_refused_until_one_has_ended() {
    run(async {
        let supervisor = DynamicSupervisor::builder().max_children(2).start();
        let spec = idle().restart(Restart::Temporary);
        for _ in 0..20 {
            let first = supervisor.start_child(spec.clone()).await.unwrap();
            let second = supervisor.start_child(spec.clone()).await.unwrap();
            let third = supervisor.start_child(spec.clone()).await;
            assert!(matches!(third, Err(StartChildError::MaxChildren(2))));
            first.request_shutdown();
            first.exited().await;
            let third = supervisor.start_child(spec.clone()).await.unwrap();
            supervisor.terminate_child(&second).await.unwrap();
            supervisor.terminate_child(&third).await.unwrap();
        }
    });
}

#[test]
fn whoever_has_seen_a_child_end_finds_that_its_supervisor_has_seen_it() {
    run(async {
        let threads = Threads::new();
        let supervisor = DynamicSupervisor::builder()
            .max_children(1)
            .executor(threads.executor.clone())
            .start();
        let spec = idle().restart(Restart::Temporary);
        for _ in 0..2_000 {
            let child = supervisor.start_child(spec.clone()).await.unwrap();
            child.request_shutdown();
            // Looks all the time, so as to look in the very moment of the end, too.
            while future::poll_once(child.exited()).await.is_none() {}
        }
    });
}

#[test]
fn a_pending_start_takes_a_childs_place() {
    run(async {
        let supervisor = DynamicSupervisor::builder().max_children(1).start();
        let (entered, enters) = channel::unbounded();
        let mut start = Box::pin(supervisor.start_child(endless(&entered)));
        assert!(future::poll_once(&mut start).await.is_none());
        enters.recv().await.unwrap();
        let outcome = supervisor.start_child(idle()).await;
        assert!(matches!(outcome, Err(StartChildError::MaxChildren(1))));
    });
}

#[test]
fn children_are_listed_with_their_ids_and_tasks() {
    run(async {
        let supervisor = supervisor();
        let one = supervisor.start_child(idle().id("one")).await.unwrap();
        let spec = idle().id("two").restart(Restart::Temporary);
        let two = supervisor.start_child(spec).await.unwrap();
        let mut children = supervisor.which_children().await.unwrap();
        children.sort_by_key(|child| child.id.clone());
        let listed: Vec<_> = children
            .into_iter()
            .map(|child| (child.id.to_string(), child.state, child.restart))
            .collect();
        assert_eq!(
            listed,
            [
                ("one".into(), ChildState::Running(one), Restart::Permanent),
                ("two".into(), ChildState::Running(two), Restart::Temporary),
            ]
        );
    });
}

#[test]
fn all_children_are_ended_at_once_and_none_outlives_the_supervisor() {
    run(async {
        let supervisor = supervisor();
        let ((asked, is_asked), (leave, left)) = (channel::unbounded(), channel::bounded(1));
        let mut children = Vec::new();
        for _ in 0..10 {
            let spec = polite(&asked, &left).shutdown(Shutdown::Infinity);
            children.push(supervisor.start_child(spec).await.unwrap());
        }
        let spec = stubborn().shutdown(Shutdown::BrutalKill);
        children.push(supervisor.start_child(spec).await.unwrap());
        let spec = stubborn().shutdown(Shutdown::Within(Duration::from_millis(10)));
        children.push(supervisor.start_child(spec).await.unwrap());

        supervisor.as_ref().request_shutdown();
        for _ in 0..10 {
            is_asked.recv().await.unwrap();
        }
        drop(leave);
        let reason = supervisor.as_ref().exited().await;
        assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
        assert!(!children.iter().any(TaskRef::is_alive));
    });
}

#[test]
fn an_ending_supervisor_answers_but_starts_nothing() {
    run(async {
        let supervisor = supervisor();
        let ((asked, is_asked), (_leave, left)) = (channel::unbounded(), channel::bounded(1));
        supervisor.start_child(polite(&asked, &left)).await.unwrap();
        supervisor.as_ref().request_shutdown();
        is_asked.recv().await.unwrap();
        let outcome = supervisor.start_child(idle()).await;
        assert!(matches!(outcome, Err(StartChildError::SupervisorGone)));
        assert_eq!(counts(&supervisor).await, (1, 1));
    });
}

#[test]
fn the_children_of_a_killed_supervisor_are_ended() {
    run(async {
        let supervisor = supervisor();
        let polite = supervisor.start_child(idle()).await.unwrap();
        let spec = stubborn().shutdown(Shutdown::Within(Duration::from_millis(10)));
        let stubborn = supervisor.start_child(spec).await.unwrap();
        supervisor.as_ref().kill();
        let reason = polite.exited().await;
        assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
        let reason = stubborn.exited().await;
        assert!(matches!(reason, ExitReason::Killed), "{reason}");
    });
}

#[test]
fn a_supervisor_goes_with_its_owner() {
    run(async {
        let owner = DynamicSupervisor::builder().start_link();
        let handle = owner.clone();
        let child = handle.start_child(idle()).await.unwrap();
        drop(owner);
        handle.as_ref().exited().await;
        assert!(!child.is_alive());
    });
}

#[test]
fn whoever_waits_for_a_supervisor_that_is_killed_gets_an_error() {
    run(async {
        let supervisor = supervisor();
        let (entered, enters) = channel::unbounded();
        let kill = async {
            enters.recv().await.unwrap();
            supervisor.as_ref().kill();
        };
        let (outcome, ()) = future::zip(supervisor.start_child(endless(&entered)), kill).await;
        assert!(matches!(outcome, Err(StartChildError::SupervisorGone)));
    });
}

#[test]
fn a_command_that_was_never_looked_at_gets_an_error() {
    run(async {
        let executor = Arc::new(Executor::new());
        let supervisor = DynamicSupervisor::builder()
            .executor(executor.clone())
            .start();
        let mut start = Box::pin(supervisor.start_child(idle()));
        assert!(future::poll_once(&mut start).await.is_none());
        supervisor.as_ref().kill();
        let outcome = executor.run(start).await;
        assert!(matches!(outcome, Err(StartChildError::SupervisorGone)));
    });
}

#[test]
fn a_handle_answers_with_errors_when_the_supervisor_has_ended() {
    run(async {
        let supervisor = supervisor();
        let child = supervisor.start_child(idle()).await.unwrap();
        supervisor.as_ref().shutdown(Shutdown::Infinity).await;
        let outcome = supervisor.start_child(idle()).await;
        assert!(matches!(outcome, Err(StartChildError::SupervisorGone)));
        assert_eq!(
            supervisor.terminate_child(&child).await,
            Err(TerminateChildError::SupervisorGone)
        );
        let listed = supervisor.which_children().await;
        assert!(matches!(listed, Err(SupervisorGone)));
        assert_eq!(supervisor.count_children().await, Err(SupervisorGone));
    });
}

#[test]
fn a_child_lives_in_the_universe_of_its_supervisor() {
    run(async {
        let universe = Universe::new();
        let supervisor = universe.enter(supervisor);
        let (seen, sees) = channel::unbounded();
        let from_recipe = seen.clone();
        let recipe = ChildSpec::new("recipe", move || {
            from_recipe.try_send(Universe::current()).unwrap();
            future::ready(Ok(Started::Ignore))
        });
        let body = ChildSpec::task("body", move |me| {
            seen.try_send(Universe::current()).unwrap();
            async move { me.shutdown_requested().await }
        });
        let elsewhere = Universe::new();
        let _ = elsewhere.scope(supervisor.start_child(recipe)).await;
        let _ = elsewhere.scope(supervisor.start_child(body)).await;
        for _ in 0..2 {
            assert_eq!(sees.recv().await.unwrap(), Some(universe.clone()));
        }
    });
}

#[test]
fn ten_thousand_children_start_and_end() {
    run(async {
        let supervisor = supervisor();
        let spec = idle();
        let mut children = Vec::new();
        for _ in 0..10_000 {
            children.push(supervisor.start_child(spec.clone()).await.unwrap());
        }
        assert_eq!(counts(&supervisor).await, (10_000, 10_000));
        supervisor.as_ref().shutdown(Shutdown::Infinity).await;
        assert!(!children.iter().any(TaskRef::is_alive));
    });
}

#[test]
fn handles_and_recipes_go_anywhere() {
    fn goes_anywhere<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    goes_anywhere::<DynamicSupervisor>();
    goes_anywhere::<ChildSpec>();
    goes_anywhere::<StartChildError>();
}
