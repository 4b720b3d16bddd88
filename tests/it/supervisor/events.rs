//! What supervisors say of their children, as a subscriber hears it.

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

/// An event of a supervisor, with its fields as texts. Those that have no value are empty.
#[derive(Clone, Debug, Default)]
struct Said {
    level: String,
    name: &'static str,
    target: String,
    supervisor: String,
    child: String,
    task: String,
    universe: String,
    reason: String,
}

impl Visit for Said {
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

/// Hears what supervisors say on this thread.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<Said>>>);

impl Ear {
    fn heard(&self) -> Vec<Said> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.fields().field("supervisor").is_some()
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut said = Said {
            level: metadata.level().to_string(),
            name: metadata.name(),
            target: metadata.target().to_owned(),
            ..Said::default()
        };
        event.record(&mut said);
        self.0.lock().unwrap().push(said);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Runs something of which the ear hears.
///
/// As long as there has been one subscriber only, `tracing` asks that of the thread which comes to an
/// event first whether anybody is interested, and other threads come to those of supervisors too.
fn listening<T>(ear: &Ear, life: impl FnOnce() -> T) -> T {
    static OTHERS: LazyLock<[Dispatch; 2]> =
        LazyLock::new(|| [(); 2].map(|()| Dispatch::new(Ear::default())));
    LazyLock::force(&OTHERS);
    tracing::subscriber::with_default(ear.clone(), life)
}

/// A child that panics when it is told to.
fn fragile(tasks: channel::Sender<TaskRef>, told: Receiver<()>) -> ChildSpec {
    ChildSpec::task("vase", move |me| {
        let (tasks, told) = (tasks.clone(), told.clone());
        async move {
            tasks.send(me).await.unwrap();
            told.recv().await.unwrap();
            panic!("as the test asks")
        }
    })
}

#[test]
fn both_kinds_of_supervisors_say_the_same_of_a_crash_a_restart_and_that_they_give_up() {
    for dynamic in [false, true] {
        let ear = Ear::default();
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
        let (first, second, supervisor) = listening(&ear, || universe.run(expected(life)));
        let panicked = "panicked: as the test asks";
        let expected = [
            ("DEBUG", "child_started", "vase", first, ""),
            ("WARN", "child_exited", "vase", first, panicked),
            ("DEBUG", "child_restarting", "vase", first, panicked),
            ("DEBUG", "child_started", "vase", second, ""),
            ("WARN", "child_exited", "vase", second, panicked),
            ("WARN", "max_restarts_exceeded", "vase", second, panicked),
            (
                "DEBUG",
                "supervisor_shutting_down",
                "",
                supervisor,
                "shutdown",
            ),
        ];
        let heard = ear.heard();
        let found: Vec<_> = heard
            .iter()
            .map(|it| {
                let task = it.task.parse::<u64>().unwrap();
                (&*it.level, it.name, &*it.child, task, &*it.reason)
            })
            .collect();
        assert_eq!(found, expected, "dynamic: {dynamic}");
        for said in heard {
            assert_eq!(said.universe, universe.id().to_string(), "{said:?}");
            assert_eq!((&*said.supervisor, &*said.target), ("shop", "erps"));
        }
    }
}

#[test]
fn a_child_that_does_not_start_or_is_told_to_end_is_spoken_of_as_such() {
    for dynamic in [false, true] {
        let ear = Ear::default();
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
        listening(&ear, || Universe::simulated(1).run(life));
        let expected = [
            ("WARN", "child_not_started", "ill", "as the test asks"),
            ("DEBUG", "child_ignored", "idle", ""),
            ("DEBUG", "child_started", "dull", ""),
            ("DEBUG", "supervisor_shutting_down", "", "shutdown"),
            ("DEBUG", "child_exited", "dull", "it did not like that"),
        ];
        let heard = ear.heard();
        let found: Vec<_> = heard
            .iter()
            .map(|it| (&*it.level, it.name, &*it.child, &*it.reason))
            .collect();
        assert_eq!(found, expected, "dynamic: {dynamic}");
    }
}

#[test]
fn who_is_in_no_universe_says_none() {
    let ear = Ear::default();
    let executor = Arc::new(smol::Executor::new());
    let life = executor.run(async {
        let builder = DynamicSupervisor::builder().executor(Arc::clone(&executor));
        let supervisor = builder.start_link();
        let child = ChildSpec::task("a", |me| async move { me.shutdown_requested().await });
        supervisor.start_child(child).await.unwrap();
        supervisor.shutdown().await;
    });
    listening(&ear, || smol::block_on(life));
    let heard = ear.heard();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert!(
        heard.iter().all(|said| said.universe.is_empty()),
        "{heard:?}"
    );
}

#[test]
fn a_restart_may_wait_and_is_spoken_of_before_it_does() {
    let ear = Ear::default();
    let life = async {
        let builder = Supervisor::builder().restart_delay(erps::RestartDelay::Fixed(60 * SECOND));
        let child = ChildSpec::task("a", |_| async { ExitReason::Normal });
        let supervisor = builder.child(child).start_link().await.unwrap();
        time::sleep(SECOND).await;
        let names = ear.heard().iter().map(|it| it.name).collect::<Vec<_>>();
        assert_eq!(names, ["child_started", "child_exited", "child_restarting"]);
        supervisor.shutdown().await;
    };
    listening(&ear, || Universe::simulated(1).run(life));
}
