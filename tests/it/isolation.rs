//! Panics and destructors of user code do not affect other tasks.
//!
//! Tests that could abort the process run in one of their own.

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

use crate::support::{events::Warnings, subprocess, test_server};

/// A panic payload whose destructor panics with the next one, this many times.
struct Bomb(usize);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Self(self.0 - 1));
        }
    }
}

/// Panics on drop, with a payload whose destructor panics.
struct Throws;

impl Drop for Throws {
    fn drop(&mut self) {
        THROWN.fetch_add(1, SeqCst);
        panic_any(Bomb(2));
    }
}

static THROWN: AtomicUsize = AtomicUsize::new(0);

/// The library's text for panic payloads that are not strings.
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

/// Runs a child and kills it. Asserts that its sibling keeps running and its supervisor answers. Returns its
/// exit reason.
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
#[ignore = "it would abort the process without the library's protection"]
fn panic_payloads_of_tasks() {
    run(async {
        let dropped = ChildSpec::task("dropped", |_| async {
            let _throws = Throws;
            future::pending().await
        });
        assert!(matches!(beside(dropped).await, ExitReason::Killed));
        let thrown = ChildSpec::task("thrown", |_| async { panic_any(Bomb(3)) });
        assert!(is_unknown(&beside(thrown).await));
        let forever = ChildSpec::task("forever", |_| async { panic_any(Bomb(usize::MAX)) });
        assert!(is_unknown(&beside(forever).await));
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
#[ignore = "it would abort the process without the library's protection"]
fn panic_payloads_of_tasks_outside_universes() {
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
    /// Killed within a callback: its state, the callback, the call and the messages are dropped together.
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
#[ignore = "it would abort the process without the library's protection"]
fn panic_payloads_and_values_of_servers() {
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
                Daemon::<test_server::TestServer>::builder(test_server::seed().0).start_link(),
                ServerRef::<Fragile>::builder(at).start(),
            );
            let daemon = daemon.await.unwrap();
            let client = test_server::client(&daemon).connect().await.unwrap();
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
            assert!(client.call(test_server::Call::Ping).await.is_ok());
        });
    }
}

/// A client handler that is killed with its client.
struct Handler {
    _state: Throws,
}

impl ClientHandler for Handler {
    type Protocol = test_server::TestProtocol;
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
#[ignore = "it would abort the process without the library's protection"]
fn values_of_client_handlers_and_panic_payloads_of_hooks() {
    run(async {
        let before = THROWN.load(SeqCst);
        let daemon = Daemon::<test_server::TestServer>::builder(test_server::seed().0).start_link();
        let daemon = daemon.await.unwrap();
        let client = test_server::client(&daemon).handler(|| Handler { _state: Throws });
        let client = client.connect().await.unwrap();
        let push = test_server::Cast::Push("news".into());
        client.cast(push).await.unwrap();
        settled().await;
        client.task().kill();
        client.exited().await;
        settled().await;
        assert_eq!(THROWN.load(SeqCst) - before, 2);

        let hooked = Daemon::<test_server::TestServer>::builder(test_server::seed().0)
            .admit_address(|_| -> Result<(), BoxError> { panic_any(Bomb(2)) })
            .start_link();
        let hooked = hooked.await.unwrap();
        let custom = ServerSupervisor::custom(|_| async { panic_any(Bomb(2)) });
        let custom = Daemon::<test_server::TestServer>::builder(test_server::seed().0)
            .server_supervisor(custom);
        let custom = custom.start_link().await.unwrap();
        for daemon in [&hooked, &custom] {
            if let Ok(client) = test_server::client(daemon).connect().await {
                assert!(client.call(test_server::Call::Ping).await.is_err());
            }
        }
        assert!(hooked.task().is_alive() && custom.task().is_alive());
        let client = test_server::client(&daemon).connect().await.unwrap();
        assert!(client.call(test_server::Call::Ping).await.is_ok());
    });
}

#[test]
#[ignore = "it would abort the process without the library's protection"]
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
    // Values that were not cleared are dropped at the end of a run.
    run(async {
        let holds = erps::spawn(async { drop((FIRST.get(), SECOND.get())) });
        holds.await;
    });
    assert_eq!(THROWN.load(SeqCst), 4);
}

#[test]
#[ignore = "it would abort the process without the library's protection"]
fn panic_payload_of_a_test() {
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
fn panic_payload_with_a_panicking_destructor_affects_only_its_own_task() {
    for fixture in [
        "panic_payloads_of_tasks",
        "panic_payloads_of_tasks_outside_universes",
        "panic_payloads_and_values_of_servers",
        "values_of_client_handlers_and_panic_payloads_of_hooks",
        "values_of_a_universe",
        "panic_payload_of_a_test",
    ] {
        subprocess::passes(&format!("isolation::{fixture}"), &[]);
    }
}

/// An error whose `Display` panics.
#[derive(Debug)]
struct NoDisplay;

impl fmt::Display for NoDisplay {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no text")
    }
}

impl std::error::Error for NoDisplay {}

#[test]
fn error_with_a_panicking_display_affects_only_its_own_task() {
    // With a subscriber, events format the error.
    Warnings::capture(|_| {
        run(async {
            let failing = || {
                let failing =
                    ChildSpec::task("failing", |_| async { ExitReason::error(NoDisplay) });
                failing.restart(Restart::Temporary)
            };
            let reason = beside(failing()).await;
            let says = "(its `Display` panicked: no text)";
            assert_eq!(reason.to_string(), says);
            let unstarted = ChildSpec::new("unstarted", || async { Err(NoDisplay.into()) });
            let builder = Supervisor::builder().child(failing()).child(unstarted);
            assert!(builder.start_link().await.is_err());
            let idle = ChildSpec::task("idle", |me| async move { me.shutdown_requested().await });
            let supervisor = Supervisor::builder().child(idle).start_link();
            let supervisor = supervisor.await.unwrap();
            let unstarted = ChildSpec::new("unstarted", || async { Err(NoDisplay.into()) });
            assert!(supervisor.start_child(unstarted).await.is_err());
            assert_eq!(supervisor.count_children().await.unwrap().active, 1);
        });
    });
}

/// A subscriber that panics on each event.
struct PanickingSubscriber;

impl tracing::Subscriber for PanickingSubscriber {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event()
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        panic!("the subscriber panics")
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
#[ignore = "it would abort the process without the library's protection"]
fn panicking_subscriber() {
    tracing::subscriber::with_default(PanickingSubscriber, || {
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
fn panicking_subscriber_stops_no_supervisor() {
    subprocess::passes("isolation::panicking_subscriber", &[]);
}
