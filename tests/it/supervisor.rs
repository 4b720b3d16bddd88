//! Supervisors, with dynamic ones in this file: the cases of OTP's test suites.

mod client_and_daemon;
mod corner_cases;
mod destructors;
mod events;
mod leaks;
mod links;
mod ordered;
mod races;
mod shutdown;
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
    StartChildError, Started, SupervisorStopped, TaskRef, TerminateChildError, Universe, time,
};
use smol::{
    Executor, Timer,
    channel::{self, Receiver, Sender},
    future::{self, FutureExt as _},
};

use crate::support::{
    panics::{allowed, expected},
    scale::short_or_long,
    time::{STEP, secs, settled},
};

const LONG: Duration = Duration::from_secs(3600);

/// Runs a test in a simulated universe, for at most 20 seconds of real time.
fn run<T>(test: impl Future<Output = T>) -> T {
    Universe::simulated(1).run(with_time_limit(test))
}

/// As [`run`], on the real clock: for tests with threads or with several universes.
fn run_on_real_clock<T>(test: impl Future<Output = T>) -> T {
    smol::block_on(with_time_limit(test))
}

fn with_time_limit<T>(test: impl Future<Output = T>) -> impl Future<Output = T> {
    test.or(async {
        Timer::after(Duration::from_secs(20)).await;
        panic!("the test hangs");
    })
}

fn supervisor() -> Linked<DynamicSupervisor> {
    DynamicSupervisor::builder().start_link()
}

/// A child that runs until shutdown is requested.
fn idle() -> ChildSpec {
    ChildSpec::task("idle", |me| async move { me.shutdown_requested().await })
}

/// A child that ignores shutdown requests.
fn stubborn() -> ChildSpec {
    ChildSpec::task("stubborn", |_| future::pending())
}

/// A child that reports a shutdown request on one channel and exits when the other is closed.
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

/// A start function that reports that it was entered and never returns.
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

/// A child that reports each of its starts and exits as the test tells it to.
struct Scripted {
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

impl Scripted {
    fn new(restart: Restart) -> Self {
        let (started, starts) = channel::unbounded();
        let (ends, end) = channel::unbounded();
        let spec = ChildSpec::task("scripted", move |me| {
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

/// Threads that run an executor until dropped.
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
fn restart_type_and_exit_reason_decide_whether_a_child_is_restarted() {
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
                let scripted = Scripted::new(restart);
                let child = supervisor.start_child(scripted.spec.clone()).await.unwrap();
                assert_eq!(scripted.starts.recv().await.unwrap(), child);
                scripted.end(&child, end.clone()).await;
                if restarted {
                    assert_ne!(scripted.starts.recv().await.unwrap(), child);
                    assert_eq!(counts(&supervisor).await.0, 1, "{restart:?}, {end:?}");
                } else {
                    assert_eq!(counts(&supervisor).await, (0, 0), "{restart:?}, {end:?}");
                    assert!(scripted.starts.is_empty(), "{restart:?}, {end:?}");
                }
            }));
        }
    }
}

#[test]
fn child_is_permanent_by_default() {
    assert_eq!(Restart::default(), Restart::Permanent);
    run(async {
        let supervisor = supervisor();
        supervisor.start_child(idle()).await.unwrap();
        let children = supervisor.which_children().await.unwrap();
        assert_eq!(children[0].restart, Restart::Permanent);
    });
}

/// On threads: one is still dropping the old child when another could start the new one.
#[test]
fn child_is_restarted_after_its_old_task_was_dropped() {
    struct Alive(Arc<(Mutex<usize>, Condvar)>);
    impl Alive {
        /// Returns how many others exist.
        fn new(all: &Arc<(Mutex<usize>, Condvar)>) -> (Self, usize) {
            let (count, changed) = &**all;
            let mut count = count.lock().unwrap();
            *count += 1;
            changed.notify_all();
            (Self(all.clone()), *count - 1)
        }
    }
    impl Drop for Alive {
        /// Waits for another instance for up to 5 ms before it is dropped.
        fn drop(&mut self) {
            let (count, changed) = &*self.0;
            let alone = |count: &mut usize| *count == 1;
            let (count, limit) = (count.lock().unwrap(), Duration::from_millis(5));
            let waited = changed.wait_timeout_while(count, limit, alone);
            *waited.unwrap().0 -= 1;
        }
    }
    run_on_real_clock(async {
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
fn supervisor_survives_max_restarts() {
    run(allowed(async {
        let supervisor = DynamicSupervisor::builder()
            .max_restarts(3, LONG)
            .start_link();
        let scripted = Scripted::new(Restart::Permanent);
        supervisor.start_child(scripted.spec.clone()).await.unwrap();
        for _ in 0..3 {
            let child = scripted.starts.recv().await.unwrap();
            scripted.end(&child, End::Killed).await;
        }
        scripted.starts.recv().await.unwrap();
        assert!(supervisor.as_ref().is_alive());
    }));
}

#[test]
fn supervisor_shuts_down_its_children_and_exits_over_max_restarts() {
    run(async {
        let supervisor = DynamicSupervisor::builder()
            .max_restarts(3, LONG)
            .start_link();
        let ((asked, is_asked), (leave, left)) = (channel::unbounded(), channel::bounded(1));
        let sibling = supervisor.start_child(polite(&asked, &left)).await.unwrap();
        let scripted = Scripted::new(Restart::Permanent);
        supervisor.start_child(scripted.spec.clone()).await.unwrap();
        for _ in 0..4 {
            let child = scripted.starts.recv().await.unwrap();
            scripted.end(&child, End::Killed).await;
        }
        is_asked.recv().await.unwrap();
        assert!(supervisor.as_ref().is_alive());
        drop(leave);
        let reason = supervisor.as_ref().exited().await;
        assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
        assert!(!sibling.is_alive());
        assert!(scripted.starts.is_empty());
    });
}

/// A restart counts until it is older than the period of the limit.
#[erps::test(simulated, panics = "as the test asks")]
async fn restarts_older_than_the_period_are_not_counted() {
    for (pause, is_borne) in [(secs(2) - STEP, false), (secs(2) + STEP, true)] {
        let builder = DynamicSupervisor::builder().max_restarts(3, secs(6));
        let supervisor = builder.start_link();
        let scripted = Scripted::new(Restart::Permanent);
        supervisor.start_child(scripted.spec.clone()).await.unwrap();
        for n in 1..=30 {
            let Ok(child) = scripted.starts.recv().await else {
                break;
            };
            scripted.end(&child, End::Killed).await;
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
fn supervisor_that_exceeded_max_restarts_is_restarted_by_its_own_supervisor() {
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

/// A spec whose start function fails this many times after its first start.
fn failing_to_restart(times: usize) -> (ChildSpec, Receiver<TaskRef>) {
    let (started, starts) = channel::unbounded();
    let (other, count) = (supervisor(), AtomicUsize::new(0));
    let spec = ChildSpec::new("failing", move || {
        let n = count.fetch_add(1, SeqCst);
        let (other, started) = (DynamicSupervisor::clone(&other), started.clone());
        async move {
            if (1..=times).contains(&n) {
                return Err("as the test asks".into());
            }
            let spec = idle().restart(Restart::Temporary);
            let task = other.start_child(spec).await?;
            started.send(task.clone()).await?;
            Ok(task.into())
        }
    });
    (spec, starts)
}

#[test]
fn failed_restart_is_retried() {
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
fn failed_restart_counts_towards_max_restarts() {
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
fn many_children_start_and_shut_down() {
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
fn handles_and_specs_are_clone_send_and_sync() {
    fn goes_anywhere<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    goes_anywhere::<DynamicSupervisor>();
    goes_anywhere::<ChildSpec>();
    goes_anywhere::<StartChildError>();
}
