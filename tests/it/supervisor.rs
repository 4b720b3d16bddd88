//! Supervisors, dynamic ones here: OTP's cases, written anew.

mod corners;
mod destructors;
mod end;
mod events;
mod links;
mod many;
mod ordered;
mod pairs;
mod races;
mod start;
mod tree;

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use erps::{
    ChildSpec, ChildState, Counts, DynamicSupervisor, ExitReason, Linked, Restart, Shutdown,
    StartChildError, Started, SupervisorGone, TaskRef, TerminateChildError, Universe, time,
};
use smol::{
    Executor, Timer,
    channel::{self, Receiver, Sender},
    future::{self, FutureExt as _},
};

use crate::support::{
    extent::short_or_long,
    panics::{allowed, expected},
    time::{STEP, secs, settled},
};

const LONG: Duration = Duration::from_secs(3600);

/// Runs a test in a simulated universe. It fails if it takes too long.
fn run<T>(test: impl Future<Output = T>) -> T {
    Universe::simulated(1).run(soon(test))
}

/// As [`run`], in the real world: with threads, or with universes beside this one.
fn run_for_real<T>(test: impl Future<Output = T>) -> T {
    smol::block_on(soon(test))
}

fn soon<T>(test: impl Future<Output = T>) -> impl Future<Output = T> {
    test.or(async {
        Timer::after(Duration::from_secs(20)).await;
        panic!("the test hangs");
    })
}

fn supervisor() -> Linked<DynamicSupervisor> {
    DynamicSupervisor::builder().start_link()
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
    Asked,
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
                        told => panic!("as the test asks: {told:?}"),
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
            End::Asked => child.request_shutdown(),
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

#[test]
fn a_child_is_restarted_as_its_type_and_its_end_say() {
    let ends = [
        (End::Return(ExitReason::Normal), false),
        (End::Return(ExitReason::Shutdown), false),
        (End::Asked, false),
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
            run(allowed(async {
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
            }));
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

/// With threads, of which one is still dropping the old child when another would start the new one.
#[test]
fn a_new_child_starts_only_when_the_old_one_is_wholly_gone() {
    struct Alive(Arc<(Mutex<usize>, Condvar)>);
    impl Alive {
        /// Tells how many others there are.
        fn new(all: &Arc<(Mutex<usize>, Condvar)>) -> (Self, usize) {
            let (count, changed) = &**all;
            let mut count = count.lock().unwrap();
            *count += 1;
            changed.notify_all();
            (Self(all.clone()), *count - 1)
        }
    }
    impl Drop for Alive {
        /// Takes its time, and longer than that if nobody comes.
        fn drop(&mut self) {
            let (count, changed) = &*self.0;
            let alone = |count: &mut usize| *count == 1;
            let (count, limit) = (count.lock().unwrap(), Duration::from_millis(5));
            let waited = changed.wait_timeout_while(count, limit, alone);
            *waited.unwrap().0 -= 1;
        }
    }
    run_for_real(async {
        let threads = Threads::new();
        let (started, starts) = channel::unbounded();
        let all = Arc::default();
        let spec = ChildSpec::task("one", move |me| {
            let (alive, others) = Alive::new(&all);
            let started = started.clone();
            async move {
                started.send((me.clone(), others)).await.unwrap();
                let reason = me.shutdown_requested().await;
                drop(alive);
                reason
            }
        });
        let supervisor = DynamicSupervisor::builder()
            .max_restarts(50, LONG)
            .executor(threads.executor.clone())
            .start();
        supervisor.start_child(spec).await.unwrap();
        for _ in 0..50 {
            let (child, others) = starts.recv().await.unwrap();
            assert_eq!(others, 0);
            child.kill();
        }
        supervisor.as_ref().shutdown(Shutdown::Infinity).await;
    });
}

#[test]
fn as_many_restarts_as_the_limit_are_borne() {
    run(allowed(async {
        let supervisor = DynamicSupervisor::builder()
            .max_restarts(3, LONG)
            .start_link();
        let puppet = Puppet::new(Restart::Permanent);
        supervisor.start_child(puppet.spec.clone()).await.unwrap();
        for _ in 0..3 {
            let child = puppet.starts.recv().await.unwrap();
            puppet.end(&child, End::Killed).await;
        }
        puppet.starts.recv().await.unwrap();
        assert!(supervisor.as_ref().is_alive());
    }));
}

#[test]
fn at_one_restart_too_many_the_supervisor_ends_its_children_and_then_itself() {
    run(async {
        let supervisor = DynamicSupervisor::builder()
            .max_restarts(3, LONG)
            .start_link();
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

/// Restarts that lie as far back as the limit looks count, and those before do not.
#[erps::test(simulated, panics = "as the test asks")]
async fn restarts_are_counted_for_as_long_as_the_limit_says() {
    for (pause, is_borne) in [(secs(2) - STEP, false), (secs(2) + STEP, true)] {
        let builder = DynamicSupervisor::builder().max_restarts(3, secs(6));
        let supervisor = builder.start_link();
        let puppet = Puppet::new(Restart::Permanent);
        supervisor.start_child(puppet.spec.clone()).await.unwrap();
        for n in 1..=30 {
            let Ok(child) = puppet.starts.recv().await else {
                break;
            };
            puppet.end(&child, End::Killed).await;
            settled().await;
            if !supervisor.as_ref().is_alive() {
                assert_eq!(n, 4);
                break;
            }
            time::sleep(pause).await;
        }
        assert_eq!(supervisor.as_ref().is_alive(), is_borne);
    }
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
        let (nursery, started) = (DynamicSupervisor::clone(&nursery), started.clone());
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
        let supervisor = DynamicSupervisor::builder()
            .max_restarts(3, LONG)
            .start_link();
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
        let supervisor = DynamicSupervisor::builder()
            .max_restarts(3, LONG)
            .start_link();
        let (spec, starts) = failing_to_restart(3);
        supervisor.start_child(spec).await.unwrap();
        starts.recv().await.unwrap().kill();
        supervisor.as_ref().exited().await;
        assert!(starts.is_empty());
    });
}

#[test]
fn many_children_start_and_end() {
    let many = short_or_long(1000, 10_000);
    run(async {
        let supervisor = supervisor();
        let spec = idle();
        let mut children = Vec::new();
        for _ in 0..many {
            children.push(supervisor.start_child(spec.clone()).await.unwrap());
        }
        assert_eq!(counts(&supervisor).await, (many, many));
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
