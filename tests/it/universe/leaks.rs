//! The end of a universe that is run: what is left over is told, and where it was made.

use std::{
    any::Any,
    net::SocketAddr,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use async_channel::Sender;
use erps::{
    BoxError, ChildSpec, Client, Context, Daemon, DynamicSupervisor, InitError, Linked, Network,
    Registration, Registry, ReplyTo, Server, ServerRef, Sharded, Shutdown, TaskRef, Universe, time,
    universe,
};
use smol::future;

use crate::support::{
    cores::cores,
    events::Warnings,
    test_server::{self, Call, Reply, TestProtocol, TestServer, assert_served, current_universe},
};

/// What a run panics with.
fn failure<T>(universe: &Universe, main: impl Future<Output = T>) -> String {
    let run = panic::catch_unwind(AssertUnwindSafe(|| universe.run(main)));
    match run {
        Ok(_) => panic!("the run did not fail"),
        Err(panic) => text(&*panic),
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    match panic.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => (*panic.downcast_ref::<&str>().unwrap()).to_owned(),
    }
}

/// A simulated universe that waits for no external events. The shutdown limit matters where its clock stands still.
fn named() -> Universe {
    Universe::simulated(7)
        .named("a::b")
        .external_timeout(Duration::from_millis(10))
        .shutdown_timeout(SHUTDOWN)
}

/// How long a universe waits for tasks that never end.
const SHUTDOWN: Duration = Duration::from_millis(200);

/// A universe with the real clock.
fn real() -> Universe {
    Universe::new().named("a::b").shutdown_timeout(SHUTDOWN)
}

/// Fails unless the run tells of exactly these.
#[track_caller]
fn leaves<T>(main: impl Future<Output = T>, lines: &[String]) {
    let told = failure(&named(), main);
    let expected = [HAS_ENDED.to_owned()]
        .into_iter()
        .chain(lines.iter().map(|it| format!("  {it}")));
    assert_eq!(told, expected.collect::<Vec<_>>().join("\n"));
}

const HAS_ENDED: &str = "the universe `a::b` (seed 7) has ended, and these have not:";

fn made(what: &str, line: u32) -> String {
    format!("{what} created at {}:{line}", file!())
}

const DAEMON: &str = "the daemon of `it::support::test_server::TestServer`";
const SERVER: &str = "the server `it::support::test_server::TestServer`";

/// Nobody listens there.
const NOWHERE: (&str, u16) = ("127.0.0.1", 1);

#[test]
fn run_without_leaks_logs_nothing() {
    Warnings::capture(|warnings| {
        let real = Universe::new();
        let answer = real.run(async {
            let (_daemon, client, _watch) = test_server::pair().await;
            assert_served(&client).await;
            42
        });
        assert_eq!(answer, 42);
        assert_eq!(real.live_resources(), []);
        let simulated = Universe::simulated(1);
        simulated.run(async {
            let (seed, _watch) = test_server::seed();
            let server = ServerRef::<TestServer>::builder(seed).start_link();
            let pong = server.await.unwrap().call(Call::Ping).await;
            assert_eq!(pong.unwrap(), Reply::Pong);
        });
        assert_eq!(simulated.live_resources(), []);
        assert_eq!(simulated.clock().unwrap().elapsed(), Duration::ZERO);
        assert_eq!(warnings.take(), Vec::<String>::new());
    });
}

#[test]
fn leaked_daemon_is_reported_with_its_supervisor() {
    let (seed, _watch) = test_server::seed();
    let (builder, line) = (Daemon::<TestServer>::builder(seed), line!());
    let lines = [made(DAEMON, line), made("the supervisor `servers`", line)];
    leaves(builder.clone().start(), &lines);
    Universe::simulated(7).run(async { drop(builder.start_link().await.unwrap()) });
}

#[test]
fn leaks_are_reported_with_the_real_clock() {
    let (seed, _watch) = test_server::seed();
    let (builder, line) = (Daemon::<TestServer>::builder(seed), line!());
    let told = failure(&real(), builder.start());
    let head = "the universe `a::b` has ended, and these have not:\n";
    assert!(told.starts_with(head), "{told}");
    assert!(told.contains(&made(DAEMON, line)), "{told}");
}

#[test]
fn leaked_client_is_reported() {
    let (builder, line) = (Client::<TestProtocol>::builder(NOWHERE), line!());
    let clean = builder.clone();
    leaves(
        async { builder.start() },
        &[made("the client of 127.0.0.1:1", line)],
    );
    Universe::simulated(7).run(async { drop(clean.start()) });
}

#[test]
fn leaked_server_is_reported() {
    let (seed, _watch) = test_server::seed();
    let (builder, line) = (ServerRef::<TestServer>::builder(seed), line!());
    leaves(builder.start(), &[made(SERVER, line)]);
    let (seed, _watch) = test_server::seed();
    let clean = ServerRef::<TestServer>::builder(seed).start_link();
    Universe::simulated(7).run(async { drop(clean.await.unwrap()) });
}

#[test]
fn leaked_supervisor_is_reported_with_its_children() {
    let (builder, above) = (DynamicSupervisor::builder(), line!());
    let idle = |me: TaskRef| async move { me.shutdown_requested().await };
    let (spec, below) = (ChildSpec::task("idle", idle), line!());
    let clean = spec.clone();
    let main = async {
        let supervisor = builder.start();
        supervisor.start_child(spec).await.unwrap();
        supervisor
    };
    let supervisor = made("the supervisor `supervisor`", above);
    leaves(main, &[supervisor, made("the child `idle`", below)]);
    Universe::simulated(7).run(async {
        let supervisor = DynamicSupervisor::builder().start_link();
        supervisor.start_child(clean).await.unwrap();
    });
}

#[test]
fn leaked_local_call_is_reported() {
    let mut line = 0;
    let main = async {
        let (seed, _watch) = test_server::seed();
        let server = ServerRef::<TestServer>::builder(seed).start_link();
        let server = server.await.unwrap();
        let handle = ServerRef::clone(&server);
        line = line!() + 1;
        let mut call = Box::pin(async move { handle.call(Call::Hold).await });
        assert!(future::poll_once(&mut call).await.is_none());
        vec![call]
    };
    let told = failure(&named(), main);
    assert!(told.contains(&made("a call", line)), "{told}");
    named().run(async {
        let (seed, _watch) = test_server::seed();
        let server = ServerRef::<TestServer>::builder(seed).start_link();
        let server = server.await.unwrap();
        assert!(future::poll_once(server.call(Call::Hold)).await.is_none());
    });
}

#[test]
fn leaked_remote_call_is_reported_with_the_line_of_the_caller() {
    let mut line = 0;
    let told = failure(&real(), async {
        let (_daemon, client, _watch) = test_server::pair().await;
        line = line!() + 1;
        let mut call = Box::pin(async move { client.call(Call::Hold).await });
        assert!(future::poll_once(&mut call).await.is_none());
        vec![call]
    });
    assert!(told.contains(&made("a call", line)), "{told}");
    Universe::new().run(async {
        let (_daemon, client, _watch) = test_server::pair().await;
        let mut call = Box::pin(client.call(Call::Hold));
        assert!(future::poll_once(&mut call).await.is_none());
    });
}

/// A server that gives its calls away.
struct Careless(Sender<ReplyTo<Reply>>);

impl Server for Careless {
    type Protocol = TestProtocol;
    type Seed = Sender<ReplyTo<Reply>>;
    type Info = ();

    async fn init(calls: Sender<ReplyTo<Reply>>, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(calls))
    }

    async fn handle_call(
        &mut self,
        _: Call,
        from: ReplyTo<Reply>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        self.0.send(from).await?;
        Ok(())
    }
}

#[test]
fn unanswered_local_call_is_reported_with_the_line_of_the_caller() {
    let (calls, given_away) = async_channel::unbounded();
    let mut line = 0;
    let main = async {
        let server = ServerRef::<Careless>::builder(calls).start_link();
        let server = server.await.unwrap();
        line = line!() + 1;
        let call = server.call_within(Call::Ping, Duration::from_millis(1));
        let answer = call.await;
        assert!(answer.is_err());
    };
    let told = failure(&named(), main);
    let lives_on = format!(
        "{}, which cannot be cancelled",
        made("an unanswered call", line)
    );
    assert!(told.ends_with(&lives_on), "{told}");
    assert_eq!(given_away.len(), 1);
}

#[test]
fn unanswered_remote_call_is_reported_with_peer_server_and_request() {
    let (calls, given_away) = async_channel::unbounded();
    let (builder, line) = (Daemon::<Careless>::builder(calls), line!());
    let peer = OnceLock::new();
    let main = async {
        let daemon = builder.start_link().await.unwrap();
        let client = Client::<TestProtocol>::builder(daemon.local_addr())
            .connect()
            .await;
        let client = client.unwrap();
        let call = async { drop(client.call(Call::Ping).await) };
        let held = async { given_away.recv().await.unwrap() };
        let held = future::or(
            async {
                call.await;
                Err(())
            },
            async { Ok(held.await) },
        )
        .await;
        let connection = daemon.connections().pop().unwrap();
        peer.set(connection.peer.address).unwrap();
        held.unwrap()
    };
    let told = failure(&real(), main);
    let unanswered = format!(
        "an unanswered call :ping of {} to `it::universe::leaks::Careless`",
        peer.get().unwrap(),
    );
    assert!(told.contains(&made(&unanswered, line)), "{told}");
}

static NAMES: Registry<&str, u16> = Registry::unique();

#[test]
fn leaked_name_is_reported() {
    let mut line = 0;
    let main = async {
        line = line!() + 1;
        NAMES.register("corner", 4747).unwrap()
    };
    let told = failure(&named(), main);
    assert!(told.ends_with(&made("the name \"corner\"", line)), "{told}");
    named().run(async { drop(NAMES.register("corner", 4747)) });
}

#[test]
fn resource_that_cannot_be_cancelled_is_reported_as_such() {
    static KEPT: Mutex<Option<Registration>> = Mutex::new(None);
    let mut line = 0;
    let main = async {
        line = line!() + 1;
        let name = NAMES.register("corner", 4747).unwrap();
        *KEPT.lock().unwrap() = Some(name);
    };
    let told = failure(&named(), main);
    let lives_on = format!(
        "{}, which cannot be cancelled",
        made("the name \"corner\"", line)
    );
    assert!(told.ends_with(&lives_on), "{told}");
}

#[test]
fn values_of_statics_are_no_leak() {
    static NAME: Sharded<Mutex<Option<Registration>>> = Sharded::new(Mutex::default);
    static CLIENT: Sharded<Client<TestProtocol>> =
        Sharded::new(|| Client::<TestProtocol>::builder(NOWHERE).start());
    let universe = named();
    universe.run(async {
        *NAME.get().lock().unwrap() = NAMES.register("corner", 4747).ok();
        assert!(!CLIENT.get().status().is_connected());
    });
    assert_eq!(universe.live_resources(), []);
}

#[test]
fn leaked_task_of_another_runtime_is_reported() {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(1).build().unwrap();
    let mut line = 0;
    let told = failure(&named(), async {
        line = line!() + 1;
        let task = universe::inherit(future::pending::<()>());
        runtime.spawn(task);
    });
    let lives_on = format!("{}, which cannot be cancelled", made("a future", line));
    assert!(told.ends_with(&lives_on), "{told}");
    named().run(async {
        let task = runtime.spawn(universe::inherit(async { 1 }));
        assert_eq!(task.await.unwrap(), 1);
    });
}

#[test]
fn leaked_thread_is_reported() {
    let (go, gone) = mpsc::channel::<()>();
    let mut line = 0;
    let mut thread = None;
    let told = failure(&named(), async {
        line = line!() + 1;
        let closure = universe::inherit_fn(move || gone.recv().is_ok());
        thread = Some(thread::spawn(closure));
    });
    let lives_on = format!("{}, which cannot be cancelled", made("a closure", line));
    assert!(told.ends_with(&lives_on), "{told}");
    drop(go);
    thread.unwrap().join().unwrap();
    named().run(async {
        let thread = thread::spawn(universe::inherit_fn(current_universe));
        assert!(thread.join().unwrap().is_some());
    });
}

#[test]
fn resources_from_before_the_run_are_ignored() {
    let universe = named();
    let before = universe.enter(|| NAMES.register("before", 1)).unwrap();
    universe.run(async { assert_eq!(NAMES.count(), 1) });
    assert_eq!(universe.live_resources().len(), 1);
    drop(before);
}

/// A child that takes this long to end.
async fn takes(limit: Duration) -> Linked<DynamicSupervisor> {
    let slow = move |me: TaskRef| async move {
        let reason = me.shutdown_requested().await;
        time::sleep(limit).await;
        reason
    };
    let supervisor = DynamicSupervisor::builder().start_link();
    let spec = ChildSpec::task("slow", slow).shutdown(Shutdown::Infinity);
    supervisor.start_child(spec).await.unwrap();
    supervisor
}

#[test]
fn task_that_ends_within_the_shutdown_timeout_is_no_leak() {
    let universe = Universe::simulated(7);
    universe.run(async { drop(takes(Duration::from_secs(5)).await) });
    assert_eq!(universe.clock().unwrap().elapsed(), Duration::from_secs(5));
    let told = failure(&Universe::simulated(7), async {
        drop(takes(Duration::from_secs(7)).await)
    });
    assert!(told.contains("the child `slow`"), "{told}");
}

#[test]
fn slow_task_that_makes_progress_is_no_leak() {
    let universe = named();
    universe.run(async {
        let slow = erps::spawn(async {
            for _ in 0..8 {
                // As on a thread that waits for a core. All of them take longer than the limit.
                smol::block_on(smol::Timer::after(SHUTDOWN / 4));
                for _ in 0..1000 {
                    future::yield_now().await;
                }
                time::sleep(Duration::from_millis(1)).await;
            }
        });
        slow.detach();
    });
    assert_eq!(
        universe.clock().unwrap().elapsed(),
        Duration::from_millis(8)
    );
}

#[test]
fn task_that_never_waits_is_reported_as_livelock() {
    let _core = cores(1);
    let mut line = 0;
    let universe = named();
    let told = failure(&universe, async {
        line = line!() + 1;
        let busy = erps::spawn(async {
            loop {
                future::yield_now().await;
            }
        });
        busy.detach();
    });
    assert!(told.contains(&made("a future", line)), "{told}");
    let spins = format!(
        "\nthe universe `a::b` (seed 7) is in a livelock: a future created at {}:{line} ",
        file!()
    );
    assert!(told.contains(&spins), "{told}");
    assert_eq!(universe.clock().unwrap().elapsed(), Duration::ZERO);
}

/// Reports, when it is dropped, which universe it is in.
struct Reports(Sender<Option<u64>>);

impl Drop for Reports {
    fn drop(&mut self) {
        let _ = self.0.try_send(current_universe());
    }
}

/// A supervisor that stays open with a child that holds something.
async fn holding<T: Clone + Send + Sync + 'static>(held: T) {
    let idle = move |me: TaskRef| {
        let held = held.clone();
        async move {
            let _held = held;
            me.exited().await
        }
    };
    let supervisor = DynamicSupervisor::builder().start();
    supervisor
        .start_child(ChildSpec::task("idle", idle))
        .await
        .unwrap();
}

#[test]
fn cancelled_child_is_dropped_in_its_universe_and_not_restarted() {
    let (seen, sights) = async_channel::unbounded();
    let universe = named();
    let told = failure(&universe, holding(Arc::new(Reports(seen))));
    assert_eq!(sights.try_recv(), Ok(Some(universe.id())));
    assert!(!told.contains("which cannot be cancelled"), "{told}");
    assert_eq!(universe.live_resources(), []);
}

#[test]
fn panic_of_the_main_future_is_the_only_one() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("of a destructor")
        }
    }
    let (seed, _watch) = test_server::seed();
    let told = failure(&named(), async {
        let _daemon = Daemon::<TestServer>::builder(seed).start().await.unwrap();
        panic!("as the test asks")
    });
    assert_eq!(told, "as the test asks");
    // What it has returned is dropped before the panic that tells of a leak.
    let run = AssertUnwindSafe(|| {
        named().run(async {
            drop(DynamicSupervisor::builder().start());
            Panics
        })
    });
    assert_eq!(
        text(&*panic::catch_unwind(run).err().unwrap()),
        "of a destructor"
    );
}

#[test]
fn universe_without_runnable_tasks_and_timers_is_deadlocked() {
    let real = Instant::now();
    let universe = named();
    let told = failure(&universe, async {
        let (seed, _watch) = test_server::seed();
        let server = ServerRef::<TestServer>::builder(seed).start_link();
        let server = server.await.unwrap();
        drop(server.call_within(Call::Hold, Duration::MAX).await);
    });
    let head = "the universe `a::b` (seed 7) is deadlocked: no task can run, no timer is pending, and no external event";
    assert!(told.starts_with(head), "{told}");
    assert!(told.contains("\n  the main future created at"), "{told}");
    assert!(told.contains("sleep with `time::sleep`"), "{told}");
    assert!(real.elapsed() < Duration::from_secs(30));
}

/// An address of the host that asks.
fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[test]
fn leaked_listener_is_reported() {
    let mut line = 0;
    let main = async {
        let network = Network::current().unwrap();
        line = line!() + 1;
        let listener = network.listen(local(4747)).unwrap();
        // What has been dropped is not told.
        drop(network.listen(local(4748)).unwrap());
        listener
    };
    let told = failure(&named(), main);
    let listener = made("the listener at 127.0.0.1:4747", line);
    assert_eq!(told, format!("{HAS_ENDED}\n  {listener}"));
}

#[test]
fn leaked_ends_of_a_connection_are_reported() {
    let mut lines = [0, 0];
    let main = async {
        let network = Network::current().unwrap();
        let listener = network.listen(local(4747)).unwrap();
        lines = [line!() + 1, line!() + 2];
        let dialled = network.connect(local(4747)).await.unwrap();
        let accepted = listener.accept().await.unwrap();
        (dialled, accepted)
    };
    let told = failure(&named(), main);
    let way = "connection from 127.0.0.1:49152 to 127.0.0.1:4747";
    let dialled = made(&format!("the {way}"), lines[0]);
    let accepted = made(&format!("the accepted {way}"), lines[1]);
    assert_eq!(told, format!("{HAS_ENDED}\n  {dialled}\n  {accepted}"));
}

#[test]
fn connection_held_by_another_thread_cannot_be_cancelled() {
    let mut line = 0;
    let (keep, _kept) = mpsc::channel();
    let main = async {
        let network = Network::current().unwrap();
        let _listener = network.listen(local(4747)).unwrap();
        line = line!() + 1;
        let dialled = network.connect(local(4747)).await.unwrap();
        keep.send(dialled).unwrap();
    };
    let told = failure(&named(), main);
    let dialled = "the connection from 127.0.0.1:49152 to 127.0.0.1:4747";
    let lives_on = format!("{}, which cannot be cancelled", made(dialled, line));
    assert_eq!(told, format!("{HAS_ENDED}\n  {lives_on}"));
}

#[test]
fn leaked_running_timer_is_reported() {
    for universe in [named, real] {
        let mut lines = [0, 0];
        let told = failure(&universe(), async {
            lines = [line!() + 1, line!() + 2];
            let mut nap = Box::pin(time::sleep(Duration::MAX));
            let mut limited = Box::pin(time::timeout(Duration::MAX, future::pending::<()>()));
            assert!(future::poll_once(&mut nap).await.is_none());
            assert!(future::poll_once(&mut limited).await.is_none());
            (nap, limited, time::sleep(Duration::MAX))
        });
        let [nap, limited] = lines.map(|line| made("a running timer", line));
        let ended = format!("has ended, and these have not:\n  {nap}\n  {limited}");
        assert!(told.ends_with(&ended), "{told}");
    }
}

#[test]
fn finished_and_unpolled_timers_are_no_leak() {
    let universe = named();
    let kept = universe.run(async {
        let second = Duration::from_secs(1);
        let mut nap = Box::pin(time::sleep(second));
        nap.as_mut().await;
        let mut limited = Box::pin(time::timeout(second, future::pending::<()>()));
        assert!(limited.as_mut().await.is_err());
        let mut in_time = Box::pin(time::timeout(second, future::ready(1)));
        assert_eq!(in_time.as_mut().await, Ok(1));
        assert_eq!(Universe::current().unwrap().live_resources(), []);
        let never = (time::sleep(second), time::timeout(second, async {}));
        (nap, limited, in_time, never)
    });
    drop(kept);
    assert_eq!(universe.clock().unwrap().elapsed().as_secs(), 2);
}

#[test]
fn connections_of_daemons_and_clients_are_not_reported_separately() {
    let mut lines = [0, 0];
    let main = async {
        let (seed, watch) = test_server::seed();
        lines = [line!() + 1, line!() + 3];
        let daemon = Daemon::<TestServer>::builder(seed).port(4747);
        let daemon = daemon.start_link().await.unwrap();
        let client = Client::<TestProtocol>::builder(("127.0.0.1", 4747));
        let client = client.connect().await.unwrap();
        assert_served(&client).await;
        (daemon, client, watch)
    };
    let told = failure(&named(), main);
    let (daemon, client) = (made(DAEMON, lines[0]), "the client of 127.0.0.1:4747");
    assert!(told.contains(&daemon), "{told}");
    assert!(told.contains(&made(client, lines[1])), "{told}");
    for unsaid in ["listener", "connection from", "running timer"] {
        assert!(!told.contains(unsaid), "{told}");
    }
}

#[test]
fn timer_of_a_task_is_not_reported_separately() {
    let mut line = 0;
    let main = async {
        line = line!() + 1;
        erps::spawn(time::sleep(Duration::MAX)).detach();
    };
    let told = failure(&named(), main);
    let task = made("a future", line);
    assert_eq!(told, format!("{HAS_ENDED}\n  {task}"));
    // Even if it began before the run and naps on.
    let universe = named();
    let naps = async {
        loop {
            time::sleep(Duration::from_millis(1)).await;
        }
    };
    let _before = universe.enter(|| smol::spawn(universe::inherit(naps)));
    universe.run(time::sleep(Duration::from_secs(1)));
}
