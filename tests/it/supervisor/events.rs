//! Events that supervisors emit through `tracing`.

use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use erps::{ChildSpec, DynamicSupervisor, ExitReason, Supervisor, TaskRef, Universe, time};
use smol::channel::{self, Receiver};
use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::support::panics::expected;

const SECOND: Duration = Duration::from_secs(1);

/// An event of a supervisor with its fields as text; a field without a value is empty.
#[derive(Clone, Debug, Default)]
struct Recorded {
    level: String,
    name: &'static str,
    target: String,
    supervisor: String,
    child: String,
    task: String,
    universe: String,
    reason: String,
}

impl Visit for Recorded {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let place = match field.name() {
            "supervisor" => &mut self.supervisor,
            "child" => &mut self.child,
            "task" => &mut self.task,
            "universe" => &mut self.universe,
            "reason" => &mut self.reason,
            "message" => return,
            other => panic!("{other}"),
        };
        *place = format!("{value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Records the events of supervisors on this thread.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Recorded>>>);

impl Recorder {
    fn events(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.fields().field("supervisor").is_some()
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut recorded = Recorded {
            level: metadata.level().to_string(),
            name: metadata.name(),
            target: metadata.target().to_owned(),
            ..Recorded::default()
        };
        event.record(&mut recorded);
        self.0.lock().unwrap().push(recorded);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Runs `life` and records its events.
///
/// With a single subscriber, `tracing` caches the interest of the thread that reaches an event first, for all
/// threads; other tests' threads reach events of supervisors too.
fn recording<T>(recorder: &Recorder, life: impl FnOnce() -> T) -> T {
    static OTHERS: LazyLock<[Dispatch; 2]> =
        LazyLock::new(|| [(); 2].map(|()| Dispatch::new(Recorder::default())));
    LazyLock::force(&OTHERS);
    tracing::subscriber::with_default(recorder.clone(), life)
}

/// A child that panics after a message.
fn fragile(tasks: channel::Sender<TaskRef>, told: Receiver<()>) -> ChildSpec {
    ChildSpec::task("fragile", move |me| {
        let (tasks, told) = (tasks.clone(), told.clone());
        async move {
            tasks.send(me).await.unwrap();
            told.recv().await.unwrap();
            panic!("as the test asks")
        }
    })
}

#[test]
fn both_supervisors_emit_the_same_events_for_crash_restart_and_max_restarts() {
    for dynamic in [false, true] {
        let recorder = Recorder::default();
        let universe = Universe::simulated(1);
        let life = async {
            let (tasks, task) = channel::unbounded();
            let (tell, told) = channel::unbounded();
            let child = fragile(tasks, told);
            let supervisor = if dynamic {
                let builder = DynamicSupervisor::builder().name("shop");
                let shop = builder.max_restarts(1, 5 * SECOND).start();
                shop.start_child(child).await.unwrap();
                shop.as_ref().clone()
            } else {
                let builder = Supervisor::builder().name("shop").child(child);
                let shop = builder.max_restarts(1, 5 * SECOND).start().await.unwrap();
                shop.as_ref().clone()
            };
            let first = task.recv().await.unwrap().id();
            tell.send(()).await.unwrap();
            let second = task.recv().await.unwrap().id();
            tell.send(()).await.unwrap();
            supervisor.exited().await;
            (first, second, supervisor.id())
        };
        let (first, second, supervisor) = recording(&recorder, || universe.run(expected(life)));
        let panicked = "panicked: as the test asks";
        let expected = [
            ("DEBUG", "child_started", "fragile", first, ""),
            ("WARN", "child_exited", "fragile", first, panicked),
            ("DEBUG", "child_restarting", "fragile", first, panicked),
            ("DEBUG", "child_started", "fragile", second, ""),
            ("WARN", "child_exited", "fragile", second, panicked),
            ("WARN", "max_restarts_exceeded", "fragile", second, panicked),
            (
                "DEBUG",
                "supervisor_shutting_down",
                "",
                supervisor,
                "shutdown",
            ),
        ];
        let events = recorder.events();
        let found: Vec<_> = events
            .iter()
            .map(|it| {
                let task = it.task.parse::<u64>().unwrap();
                (&*it.level, it.name, &*it.child, task, &*it.reason)
            })
            .collect();
        assert_eq!(found, expected, "dynamic: {dynamic}");
        for event in events {
            assert_eq!(event.universe, universe.id().to_string(), "{event:?}");
            assert_eq!((&*event.supervisor, &*event.target), ("shop", "erps"));
        }
    }
}

#[test]
fn supervisors_emit_failed_ignored_and_shut_down_children() {
    for dynamic in [false, true] {
        let recorder = Recorder::default();
        let life = async {
            let ill = ChildSpec::new("ill", || async { Err("as the test asks".into()) });
            let idle = ChildSpec::new("idle", || async { Ok(erps::Started::Ignore) });
            let dull = ChildSpec::task("dull", |me| async move {
                me.shutdown_requested().await;
                ExitReason::error("it did not like that")
            });
            if dynamic {
                let shop = DynamicSupervisor::builder().name("shop").start_link();
                shop.start_child(ill).await.unwrap_err();
                shop.start_child(idle).await.unwrap_err();
                shop.start_child(dull).await.unwrap();
                shop.shutdown().await;
            } else {
                let shop = Supervisor::builder().name("shop").start_link();
                let shop = shop.await.unwrap();
                shop.start_child(ill).await.unwrap_err();
                shop.start_child(idle).await.unwrap();
                shop.start_child(dull).await.unwrap();
                shop.shutdown().await;
            }
        };
        recording(&recorder, || Universe::simulated(1).run(life));
        let expected = [
            ("WARN", "child_not_started", "ill", "as the test asks"),
            ("DEBUG", "child_ignored", "idle", ""),
            ("DEBUG", "child_started", "dull", ""),
            ("DEBUG", "supervisor_shutting_down", "", "shutdown"),
            ("DEBUG", "child_exited", "dull", "it did not like that"),
        ];
        let events = recorder.events();
        let found: Vec<_> = events
            .iter()
            .map(|it| (&*it.level, it.name, &*it.child, &*it.reason))
            .collect();
        assert_eq!(found, expected, "dynamic: {dynamic}");
    }
}

#[test]
fn events_outside_a_universe_have_an_empty_universe_field() {
    let recorder = Recorder::default();
    let executor = Arc::new(smol::Executor::new());
    let life = executor.run(async {
        let builder = DynamicSupervisor::builder().executor(Arc::clone(&executor));
        let supervisor = builder.start_link();
        let child = ChildSpec::task("a", |me| async move { me.shutdown_requested().await });
        supervisor.start_child(child).await.unwrap();
        supervisor.shutdown().await;
    });
    recording(&recorder, || smol::block_on(life));
    let events = recorder.events();
    assert_eq!(events.len(), 3, "{events:?}");
    assert!(
        events.iter().all(|event| event.universe.is_empty()),
        "{events:?}"
    );
}

#[test]
fn child_restarting_is_emitted_before_the_restart_delay() {
    let recorder = Recorder::default();
    let life = async {
        let builder = Supervisor::builder().restart_delay(erps::RestartDelay::Fixed(60 * SECOND));
        let child = ChildSpec::task("a", |_| async { ExitReason::Normal });
        let supervisor = builder.child(child).start_link().await.unwrap();
        time::sleep(SECOND).await;
        let names = recorder
            .events()
            .iter()
            .map(|it| it.name)
            .collect::<Vec<_>>();
        assert_eq!(names, ["child_started", "child_exited", "child_restarting"]);
        supervisor.shutdown().await;
    };
    recording(&recorder, || Universe::simulated(1).run(life));
}
