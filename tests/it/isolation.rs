//! Isolation to the end: nothing that a user's code panics with, or drops, reaches anybody else.
//!
//! What could abort the process runs in one of its own.

use std::{
    fmt,
    panic::panic_any,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use erps::{
    BoxError, ChildSpec, ClientContext, ClientHandler, Context, Daemon, DynamicSupervisor,
    ExitReason, InitError, Protocol, ReplyTo, Restart, Server, ServerRef, ServerSupervisor,
    Sharded, Supervisor, Universe, time,
};
use smol::future;

use crate::support::{events::Warnings, fixture, lab};

/// Thrown, it throws another one when it is dropped, and that one the next.
struct Bomb(usize);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Self(self.0 - 1));
        }
    }
}

/// What its destructor throws has a destructor that panics.
struct Throws;

impl Drop for Throws {
    fn drop(&mut self) {
        THROWN.fetch_add(1, SeqCst);
        panic_any(Bomb(2));
    }
}

static THROWN: AtomicUsize = AtomicUsize::new(0);

/// The library's name for all that is no text.
const UNKNOWN: &str = "a panic with a payload of unknown type";

fn run<T>(test: impl Future<Output = T>) -> T {
    let universe = Universe::simulated(1);
    universe.allow_panics("");
    universe.run(test)
}

async fn settled() {
    time::sleep(Duration::from_millis(1)).await;
}

fn is_unknown(reason: &ExitReason) -> bool {
    matches!(reason, ExitReason::Panic(text) if &**text == UNKNOWN)
}

/// A sibling lives on, and its supervisor answers.
async fn beside(spec: ChildSpec) -> ExitReason {
    let supervisor = DynamicSupervisor::builder().max_restarts(5, time_long());
    let supervisor = supervisor.start_link();
    let idle = ChildSpec::task("idle", |me| async move { me.shutdown_requested().await });
    let idle = supervisor.start_child(idle).await.unwrap();
    let child = supervisor.start_child(spec.restart(Restart::Temporary));
    let child = child.await.unwrap();
    settled().await;
    child.kill();
    let reason = child.exited().await;
    settled().await;
    assert!(idle.is_alive());
    assert_eq!(supervisor.count_children().await.unwrap().active, 1);
    reason
}

fn time_long() -> Duration {
    Duration::from_secs(3600)
}

#[test]
#[ignore = "it aborts its process, unless the library prevents that"]
fn payloads_of_tasks() {
    run(async {
        let dropped = ChildSpec::task("dropped", |_| async {
            let _throws = Throws;
            future::pending().await
        });
        assert!(matches!(beside(dropped).await, ExitReason::Killed));
        let thrown = ChildSpec::task("thrown", |_| async { panic_any(Bomb(3)) });
        assert!(is_unknown(&beside(thrown).await));
        let for_ever = ChildSpec::task("for ever", |_| async { panic_any(Bomb(usize::MAX)) });
        assert!(is_unknown(&beside(for_ever).await));
        erps::spawn(async { panic_any(Bomb(3)) }).detach();
        let awaited = erps::spawn(async { panic_any(Bomb(3)) });
        let cancelled = erps::spawn(async {
            let _throws = Throws;
            future::pending::<()>().await
        });
        settled().await;
        drop((awaited, cancelled));
        settled().await;
        assert_eq!(THROWN.load(SeqCst), 2);
    });
}

#[test]
#[ignore = "it aborts its process, unless the library prevents that"]
fn payloads_of_tasks_outside_of_universes() {
    smol::block_on(async {
        let spec = ChildSpec::task("thrower", |_| async {
            let _throws = Throws;
            future::pending().await
        });
        let supervisor = DynamicSupervisor::builder().start_link();
        let spec = spec.restart(Restart::Temporary);
        let child = supervisor.start_child(spec).await.unwrap();
        child.kill();
        assert!(matches!(child.exited().await, ExitReason::Killed));
        erps::spawn(async { panic_any(Bomb(3)) }).detach();
        assert_eq!(supervisor.count_children().await.unwrap().active, 0);
    });
}

/// Where a server panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Init,
    Call,
    Info,
    Timeout,
    Terminate,
    /// It is killed in a callback: its state, the callback, the call and the messages are dropped at once.
    Killed,
}

struct Wire;

impl Protocol for Wire {
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Push = ();
}

struct Fragile {
    at: At,
    _state: Option<Throws>,
}

impl Server for Fragile {
    type Protocol = Wire;
    type Seed = At;
    type Info = Option<Throws>;

    async fn init(at: At, cx: &mut Context<Self>) -> Result<Self, InitError> {
        if at == At::Init {
            panic_any(Bomb(2));
        }
        if at == At::Timeout {
            cx.timeout(Duration::ZERO);
        }
        let _state = (at == At::Killed).then(|| Throws);
        Ok(Self { at, _state })
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<()>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match self.at {
            At::Call => panic_any(Bomb(2)),
            At::Killed => {
                let _throws = Throws;
                future::pending::<()>().await;
            }
            _ => {}
        }
        from.reply(());
        Ok(())
    }

    async fn handle_info(
        &mut self,
        _: Option<Throws>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        panic_any(Bomb(2))
    }

    async fn handle_timeout(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        panic_any(Bomb(2))
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        if self.at == At::Terminate {
            panic_any(Bomb(2));
        }
    }
}

#[test]
#[ignore = "it aborts its process, unless the library prevents that"]
fn payloads_and_values_of_servers() {
    for at in [
        At::Init,
        At::Call,
        At::Info,
        At::Timeout,
        At::Terminate,
        At::Killed,
    ] {
        run(async {
            let before = THROWN.load(SeqCst);
            let (daemon, beside) = (
                Daemon::<lab::LabServer>::builder(lab::seed().0).start_link(),
                ServerRef::<Fragile>::builder(at).start(),
            );
            let daemon = daemon.await.unwrap();
            let client = lab::client(&daemon).connect().await.unwrap();
            let Ok(server) = beside.await else {
                return assert_eq!(at, At::Init);
            };
            let call = erps::spawn({
                let server = server.clone();
                async move { server.call(()).await }
            });
            settled().await;
            match at {
                At::Info => server.info(None).await.unwrap(),
                At::Killed => {
                    for _ in 0..3 {
                        server.info(Some(Throws)).await.unwrap();
                    }
                    server.task().kill();
                }
                _ => server.task().request_shutdown(),
            }
            server.task().exited().await;
            assert!(call.await.is_err() || at != At::Call && at != At::Killed);
            if at == At::Killed {
                assert_eq!(THROWN.load(SeqCst) - before, 5);
            }
            assert!(client.call(lab::Call::Ping).await.is_ok());
        });
    }
}

/// A handler of a client that is killed with its client.
struct Handler {
    _state: Throws,
}

impl ClientHandler for Handler {
    type Protocol = lab::Lab;
    type Info = ();

    async fn handle_push(
        &mut self,
        _: String,
        _: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        let _throws = Throws;
        future::pending().await
    }
}

#[test]
#[ignore = "it aborts its process, unless the library prevents that"]
fn values_of_handlers_and_what_hooks_throw() {
    run(async {
        let before = THROWN.load(SeqCst);
        let daemon = Daemon::<lab::LabServer>::builder(lab::seed().0).start_link();
        let daemon = daemon.await.unwrap();
        let client = lab::client(&daemon).handler(|| Handler { _state: Throws });
        let client = client.connect().await.unwrap();
        let push = lab::Cast::Push("news".into());
        client.cast(push).await.unwrap();
        settled().await;
        client.task().kill();
        client.exited().await;
        settled().await;
        assert_eq!(THROWN.load(SeqCst) - before, 2);

        let hooked = Daemon::<lab::LabServer>::builder(lab::seed().0)
            .admit_address(|_| -> Result<(), BoxError> { panic_any(Bomb(2)) })
            .start_link();
        let hooked = hooked.await.unwrap();
        let custom = ServerSupervisor::custom(|_| async { panic_any(Bomb(2)) });
        let custom = Daemon::<lab::LabServer>::builder(lab::seed().0).server_supervisor(custom);
        let custom = custom.start_link().await.unwrap();
        for daemon in [&hooked, &custom] {
            if let Ok(client) = lab::client(daemon).connect().await {
                assert!(client.call(lab::Call::Ping).await.is_err());
            }
        }
        assert!(hooked.task().is_alive() && custom.task().is_alive());
        let client = lab::client(&daemon).connect().await.unwrap();
        assert!(client.call(lab::Call::Ping).await.is_ok());
    });
}

#[test]
#[ignore = "it aborts its process, unless the library prevents that"]
fn values_of_a_universe() {
    static FIRST: Sharded<Mutex<Option<Throws>>> = Sharded::new(|| Mutex::new(Some(Throws)));
    static SECOND: Sharded<Mutex<Option<Throws>>> = Sharded::new(|| Mutex::new(Some(Throws)));
    let universe = Universe::new();
    universe.enter(|| drop((FIRST.get(), SECOND.get())));
    // A task that is cancelled by its executor has the last handle.
    let executor = smol::Executor::new();
    let task = universe.enter(|| executor.spawn(erps::universe::inherit(future::pending::<()>())));
    drop(universe);
    drop(task);
    drop(executor);
    assert_eq!(THROWN.load(SeqCst), 2);
    // Statics that nobody has cleared are dropped at the end of a run.
    run(async {
        let holds = erps::spawn(async { drop((FIRST.get(), SECOND.get())) });
        holds.await;
    });
    assert_eq!(THROWN.load(SeqCst), 4);
}

#[test]
#[ignore = "it aborts its process, unless the library prevents that"]
fn payloads_of_a_test_itself() {
    let outcome = std::panic::catch_unwind(|| {
        run(async {
            let _throws = Throws;
            future::pending::<()>().await
        })
    });
    let text = outcome.unwrap_err();
    let text: &String = text.downcast_ref().unwrap();
    assert!(text.contains("is deadlocked"), "{text}");
}

#[test]
fn a_payload_whose_destructor_panics_harms_nobody_but_its_own_task() {
    for fixture in [
        "payloads_of_tasks",
        "payloads_of_tasks_outside_of_universes",
        "payloads_and_values_of_servers",
        "values_of_handlers_and_what_hooks_throw",
        "values_of_a_universe",
        "payloads_of_a_test_itself",
    ] {
        fixture::passes(&format!("isolation::{fixture}"), &[]);
    }
}

/// An error that cannot be shown.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("there are no words for it")
    }
}

impl std::error::Error for Unspeakable {}

#[test]
fn an_error_whose_display_panics_ends_nobody_but_its_own_task() {
    // Whoever listens has it shown.
    Warnings::during(|_| {
        run(async {
            let failing = || {
                let failing =
                    ChildSpec::task("failing", |_| async { ExitReason::error(Unspeakable) });
                failing.restart(Restart::Temporary)
            };
            let reason = beside(failing()).await;
            let says = "(its `Display` panicked: there are no words for it)";
            assert_eq!(reason.to_string(), says);
            let unstarted = ChildSpec::new("unstarted", || async { Err(Unspeakable.into()) });
            let builder = Supervisor::builder().child(failing()).child(unstarted);
            assert!(builder.start_link().await.is_err());
            let idle = ChildSpec::task("idle", |me| async move { me.shutdown_requested().await });
            let supervisor = Supervisor::builder().child(idle).start_link();
            let supervisor = supervisor.await.unwrap();
            let unstarted = ChildSpec::new("unstarted", || async { Err(Unspeakable.into()) });
            assert!(supervisor.start_child(unstarted).await.is_err());
            assert_eq!(supervisor.count_children().await.unwrap().active, 1);
        });
    });
}

/// A subscriber that panics at events, once it is told to.
struct Deaf;

impl tracing::Subscriber for Deaf {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event()
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        panic!("it hears nothing")
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
#[ignore = "it aborts its process, unless the library prevents that"]
fn a_subscriber_that_panics() {
    tracing::subscriber::with_default(Deaf, || {
        run(async {
            let dropped = ChildSpec::task("dropped", |_| async {
                let _throws = Throws;
                future::pending().await
            });
            assert!(matches!(beside(dropped).await, ExitReason::Killed));
        });
    });
}

#[test]
fn a_subscriber_that_panics_ends_no_supervisor_and_no_process() {
    fixture::passes("isolation::a_subscriber_that_panics", &[]);
}
