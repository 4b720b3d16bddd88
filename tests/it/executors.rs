//! The library works from every async runtime, and from none.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread, ThreadId},
    time::{Duration, Instant},
};

use erps::{
    CallError, ChildSpec, Client, Daemon, DynamicSupervisor, ExitReason, ServerRef, Shutdown,
    Started, Status, TestCa,
};
use futures::future::join_all;

use crate::support::test_server::{
    self, Call, Cast, Reply, TestProtocol, TestServer, ThreadExecutor, assert_served, eventually,
    pair, run, seed,
};

// ---- everything from every runtime ----

/// Uses a daemon, a client, a server and a supervisor. Awaits only futures of the library.
async fn tour() {
    let supervisor = DynamicSupervisor::builder().start_link();
    let ca = TestCa::new();
    let (builder, _watch) = test_server::daemon();
    let daemon = builder
        .transport(ca.tls(&["127.0.0.1"]))
        .server_supervisor(DynamicSupervisor::clone(&supervisor))
        .start_link()
        .await
        .unwrap();
    let client = test_server::client(&daemon).transport(ca.tls(&["guest"]));
    let client = client.connect().await.unwrap();
    use_client(&client).await;
    client.disconnect().await;
    client.connect().await.unwrap();
    assert_served(&client).await;
    client.task().shutdown(Shutdown::Infinity).await;
    daemon.shutdown().await;
    supervisor.shutdown().await;

    let (seed, _watch) = seed();
    let server = ServerRef::<TestServer>::builder(seed).start_link().await;
    let server = server.unwrap();
    assert_eq!(server.call(Call::Ping).await.unwrap(), Reply::Pong);
    server.cast(Cast::Note(7)).await.unwrap();
    assert_eq!(
        server.call(Call::Casts).await.unwrap(),
        Reply::Casts(vec![7])
    );
    server.shutdown().await;
}

/// Uses a client: single and concurrent calls, a call that times out, casts and pushes.
async fn use_client(client: &Client<TestProtocol>) {
    assert_served(client).await;
    let many = join_all((0..50).map(|_| client.call(Call::Ping))).await;
    assert!(many.into_iter().all(|it| it.is_ok()));
    let late = client
        .call_within(Call::Hold, Duration::from_millis(10))
        .await;
    assert!(matches!(late, Err(CallError::TimedOut { .. })), "{late:?}");
    let mut pushes = client.pushes();
    client.cast(Cast::Push("news".into())).await.unwrap();
    assert_eq!(pushes.next().await.as_deref(), Some("news"));
}

/// Runs a test on a thread of its own for at most a minute. The runtimes under test may have no timers.
fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, finished) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    let hangs = std::sync::mpsc::RecvTimeoutError::Timeout;
    assert_ne!(
        finished.recv_timeout(Duration::from_secs(60)),
        Err(hangs),
        "the test hangs"
    );
    thread.join().unwrap();
}

fn tokio_runtime(workers: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .build()
        .unwrap()
}

#[test]
fn library_works_from_smol() {
    bounded(|| smol::block_on(tour()));
}

#[test]
fn library_works_in_a_task_of_smols_global_executor() {
    bounded(|| smol::block_on(smol::spawn(tour())));
}

#[test]
fn library_works_from_a_tokio_runtime() {
    bounded(|| tokio_runtime(2).block_on(tour()));
}

#[test]
fn library_works_in_a_tokio_task() {
    bounded(|| {
        let runtime = tokio_runtime(2);
        runtime.block_on(runtime.spawn(tour())).unwrap();
    });
}

#[test]
fn library_works_from_a_current_thread_tokio_runtime() {
    bounded(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(tour());
    });
}

#[test]
fn library_works_from_the_executor_of_futures() {
    bounded(|| futures::executor::block_on(tour()));
}

#[test]
fn library_works_on_a_thread_without_runtime() {
    bounded(|| futures_lite::future::block_on(tour()));
}

#[test]
fn library_works_from_all_runtimes_at_once() {
    bounded(|| {
        let runtime = tokio_runtime(2);
        let on_tokio = runtime.spawn(tour());
        let on_smol = smol::spawn(tour());
        let on_a_thread = thread::spawn(|| futures_lite::future::block_on(tour()));
        let on_another = thread::spawn(|| futures::executor::block_on(tour()));
        smol::block_on(on_smol);
        runtime.block_on(on_tokio).unwrap();
        on_a_thread.join().unwrap();
        on_another.join().unwrap();
    });
}

// ---- executors of the user ----

/// Starts a daemon and a client on this executor, so that nothing runs on smol's global executor.
async fn pair_on(
    own: &ThreadExecutor,
) -> (
    erps::Linked<Daemon<TestServer>>,
    Client<TestProtocol>,
    test_server::Watch,
) {
    let (builder, watch) = test_server::daemon();
    let builder = builder.executor(Arc::clone(&own.executor));
    let daemon = builder.start_link().await.unwrap();
    let client = test_server::client(&daemon).executor(Arc::clone(&own.executor));
    (daemon, client.connect().await.unwrap(), watch)
}

#[test]
fn daemon_and_client_run_on_their_configured_executor() {
    bounded(|| {
        futures_lite::future::block_on(async {
            let own = ThreadExecutor::new();
            let (daemon, client, _watch) = pair_on(&own).await;
            use_client(&client).await;
            client.task().shutdown(Shutdown::default()).await;
            daemon.shutdown().await;
        });
    });
}

#[test]
fn server_and_supervisor_run_on_their_configured_executor() {
    bounded(|| {
        futures_lite::future::block_on(async {
            let own = ThreadExecutor::new();
            let (seed, _watch) = seed();
            let server = ServerRef::<TestServer>::builder(seed).executor(Arc::clone(&own.executor));
            let server = server.start_link().await.unwrap();
            assert_eq!(server.call(Call::Ping).await.unwrap(), Reply::Pong);
            let late = server
                .call_within(Call::Hold, Duration::from_millis(10))
                .await;
            assert!(matches!(late, Err(erps::ServerError::TimedOut)), "{late:?}");
            server.shutdown().await;

            let supervisor = DynamicSupervisor::builder().executor(Arc::clone(&own.executor));
            let supervisor = supervisor.start_link();
            let (seen, threads) = async_channel::unbounded();
            let spec = ChildSpec::task("child", move |me| {
                let seen = seen.clone();
                async move {
                    seen.try_send(thread::current().id()).unwrap();
                    me.shutdown_requested().await
                }
            });
            supervisor.start_child(spec).await.unwrap();
            assert_eq!(threads.recv().await.unwrap(), own.id);
            supervisor.shutdown().await;
        });
    });
}

#[test]
fn servers_run_on_the_executor_of_their_daemon() {
    run(async {
        let (own, other) = (ThreadExecutor::new(), ThreadExecutor::new());
        let supervisor = DynamicSupervisor::builder().executor(Arc::clone(&other.executor));
        let supervisor = supervisor.start_link();
        let (seed, threads) = thread_recorder();
        let daemon = Daemon::<ThreadRecorder>::builder(seed)
            .executor(Arc::clone(&own.executor))
            .server_supervisor(DynamicSupervisor::clone(&supervisor));
        let daemon = daemon.start_link().await.unwrap();
        let client = Client::<TestProtocol>::builder(daemon.local_addr())
            .connect()
            .await
            .unwrap();
        assert_served(&client).await;
        assert_eq!(*threads.lock().unwrap(), [own.id]);
    });
}

type Threads = Arc<Mutex<Vec<ThreadId>>>;

fn thread_recorder() -> (Threads, Threads) {
    let threads = Threads::default();
    (Arc::clone(&threads), threads)
}

/// A server that records the thread on which it handles calls.
struct ThreadRecorder(Threads);

impl erps::Server for ThreadRecorder {
    type Protocol = TestProtocol;
    type Seed = Threads;
    type Info = ();

    async fn init(seed: Threads, _: &mut erps::Context<Self>) -> Result<Self, erps::InitError> {
        Ok(Self(seed))
    }

    async fn handle_call(
        &mut self,
        _: Call,
        from: erps::ReplyTo<Reply>,
        _: &mut erps::Context<Self>,
    ) -> Result<(), erps::BoxError> {
        self.0.lock().unwrap().push(thread::current().id());
        from.reply(Reply::Pong);
        Ok(())
    }
}

#[test]
fn start_is_pending_while_its_executor_is_not_run() {
    run(async {
        let executor = Arc::new(smol::Executor::new());
        let (builder, _watch) = test_server::daemon();
        let builder = builder.executor(Arc::clone(&executor));
        let mut start = Box::pin(builder.start_link());
        for _ in 0..100 {
            assert!(smol::future::poll_once(&mut start).await.is_none());
        }
        let daemon = executor.run(start).await.expect("now it is run");
        drop(daemon);
    });
}

// ---- no future of the library polls a socket or a timer ----

/// Records which threads wake a task, and unparks its thread.
struct WakeRecorder {
    thread: Thread,
    woken: AtomicBool,
    by: Mutex<Vec<ThreadId>>,
}

impl Wake for WakeRecorder {
    fn wake(self: Arc<Self>) {
        self.by.lock().unwrap().push(thread::current().id());
        self.woken.store(true, Relaxed);
        self.thread.unpark();
    }
}

/// Polls a future on this thread, which parks in between. Returns which threads woke it.
fn record_wakes<T>(future: impl Future<Output = T>) -> (T, Vec<ThreadId>) {
    let recorder = Arc::new(WakeRecorder {
        thread: thread::current(),
        woken: AtomicBool::new(false),
        by: Mutex::default(),
    });
    let waker = Waker::from(Arc::clone(&recorder));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return (output, std::mem::take(&mut *recorder.by.lock().unwrap()));
        }
        while !recorder.woken.swap(false, Relaxed) {
            thread::park();
        }
    }
}

/// Returns the output of a future, and asserts that it was woken at most `most` times, by the thread of `own`
/// or by its own.
///
/// All tasks of the library run on `own` in these tests, and sockets and timers are polled by other threads.
/// A future that polls a socket or a timer itself would be woken by those.
#[track_caller]
fn woken_by<T>(own: &ThreadExecutor, most: usize, future: impl Future<Output = T>) -> T {
    let (output, by) = record_wakes(future);
    assert!(by.len() <= most, "woken {} times", by.len());
    // Dropping a part of the future can wake it once more.
    let known = [own.id, thread::current().id()];
    assert!(
        by.iter().all(|it| known.contains(it)),
        "woken by other threads"
    );
    output
}

#[test]
fn wake_recorder_distinguishes_timers_from_tasks() {
    bounded(|| {
        let own = ThreadExecutor::new();
        let (_, by) = record_wakes(smol::Timer::after(Duration::from_millis(1)));
        assert!(!by.is_empty() && !by.contains(&own.id));
        woken_by(&own, 1, own.executor.spawn(async {}));
    });
}

#[test]
fn remote_callers_are_woken_only_by_tasks_of_the_library() {
    bounded(|| {
        let own = ThreadExecutor::new();
        let executor = || Arc::clone(&own.executor);
        let (builder, _watch) = test_server::daemon();
        let start = builder.executor(executor()).start_link();
        let daemon = woken_by(&own, 1, start).unwrap();
        let client = test_server::client(&daemon).executor(executor());
        let client = woken_by(&own, 2, client.connect()).unwrap();
        for _ in 0..100 {
            let reply = woken_by(&own, 1, client.call(Call::Ping));
            assert_eq!(reply.unwrap(), Reply::Pong);
        }
        let limit = Duration::from_millis(5);
        let late = woken_by(&own, 1, client.call_within(Call::Hold, limit));
        assert!(matches!(late, Err(CallError::TimedOut { .. })), "{late:?}");

        let mut pushes = client.pushes();
        for n in 0..100 {
            woken_by(&own, 1, client.cast(Cast::Push(n.to_string()))).unwrap();
            let push = woken_by(&own, 2, pushes.next());
            assert_eq!(push.unwrap(), n.to_string());
        }
        drop(pushes);

        woken_by(&own, 10, client.disconnect());
        woken_by(&own, 1, client.connect()).unwrap();
        client.task().request_shutdown();
        // The future is polled at each change of the status.
        woken_by(&own, 10, client.until(|it| matches!(it, Status::Ended(_))));
        woken_by(&own, 10, client.exited());
        woken_by(&own, 10, daemon.shutdown());
    });
}

#[test]
fn local_callers_are_woken_only_by_tasks_of_the_library() {
    bounded(|| {
        let own = ThreadExecutor::new();
        let executor = || Arc::clone(&own.executor);
        let (seed, _watch) = seed();
        let start = ServerRef::<TestServer>::builder(seed).executor(executor());
        let server = woken_by(&own, 1, start.start_link()).unwrap();
        for _ in 0..100 {
            let reply = woken_by(&own, 2, server.call(Call::Ping));
            assert_eq!(reply.unwrap(), Reply::Pong);
        }
        let limit = Duration::from_millis(5);
        let late = woken_by(&own, 2, server.call_within(Call::Hold, limit));
        assert!(matches!(late, Err(erps::ServerError::TimedOut)), "{late:?}");
        woken_by(&own, 2, server.cast(Cast::Note(1))).unwrap();
        let task = server.task().clone();
        woken_by(&own, 10, server.shutdown());
        let reason = woken_by(&own, 0, task.exited());
        assert!(matches!(reason, ExitReason::Shutdown), "{reason}");

        let supervisor = DynamicSupervisor::builder()
            .executor(executor())
            .start_link();
        let spec = ChildSpec::new("nothing", || async { Ok(Started::Ignore) });
        woken_by(&own, 1, supervisor.start_child(spec)).unwrap_err();
        let spec = ChildSpec::task("idle", |me| async move { me.shutdown_requested().await });
        let child = woken_by(&own, 1, supervisor.start_child(spec)).unwrap();
        woken_by(&own, 1, supervisor.which_children()).unwrap();
        woken_by(&own, 1, supervisor.terminate_child(&child)).unwrap();
        woken_by(&own, 10, supervisor.shutdown());
    });
}

#[test]
fn waiting_caller_is_woken_once() {
    bounded(|| {
        let own = ThreadExecutor::new();
        let (daemon, client, _watch) = futures_lite::future::block_on(pair_on(&own));
        let (other, release) = (client.clone(), client.clone());
        let waits = thread::spawn({
            let id = own.id;
            move || {
                let (reply, by) = record_wakes(client.call(Call::Hold));
                assert_eq!(by, [id], "woken once, when the reply arrives");
                reply.unwrap()
            }
        });
        // Other calls do not wake the waiting one.
        futures_lite::future::block_on(async {
            for _ in 0..100 {
                assert_served(&other).await;
            }
            loop {
                match release.call(Call::Release).await.unwrap() {
                    Reply::Released(0) => smol::future::yield_now().await,
                    Reply::Released(1) => break,
                    other => panic!("{other:?}"),
                }
            }
        });
        assert_eq!(waits.join().unwrap(), Reply::Released(0));
        drop(daemon);
    });
}

#[test]
fn call_from_a_busy_tokio_runtime_is_as_fast_as_from_smol() {
    bounded(|| {
        let (_daemon, client, _watch) = smol::block_on(pair());
        let runtime = tokio_runtime(2);
        let busy = Arc::new(AtomicBool::new(true));
        for _ in 0..4 {
            let busy = Arc::clone(&busy);
            runtime.spawn(async move {
                while busy.load(Relaxed) {
                    tokio::task::yield_now().await;
                }
            });
        }
        let on_tokio = || {
            let client = client.clone();
            let ping = async move {
                let start = Instant::now();
                assert_served(&client).await;
                start.elapsed()
            };
            runtime.block_on(runtime.spawn(ping)).unwrap()
        };
        let on_smol = || {
            let start = Instant::now();
            smol::block_on(assert_served(&client));
            start.elapsed()
        };
        let (mut tokio, mut smol): (Vec<_>, Vec<_>) =
            (0..200).map(|_| (on_tokio(), on_smol())).unzip();
        busy.store(false, Relaxed);
        tokio.sort();
        smol.sort();
        let (tokio, smol) = (tokio[100], smol[100]);
        println!("median of 200 pings: {tokio:?} from a busy tokio runtime, {smol:?} from smol");
        // The worst cost observed of a socket in a tokio task is 8 milliseconds.
        let generous = (smol * 10).max(Duration::from_millis(20));
        assert!(tokio < generous, "{tokio:?} from tokio, {smol:?} from smol");
    });
}

#[test]
fn client_and_daemon_outlive_the_runtime_they_were_started_in() {
    run(async {
        let (daemon, client, _watch) = smol::unblock(|| {
            let runtime = tokio_runtime(1);
            let started = runtime.block_on(pair());
            drop(runtime);
            started
        })
        .await;
        assert_served(&client).await;
        drop(client);
        eventually("its server stops", || daemon.info().servers == 0).await;
    });
}
