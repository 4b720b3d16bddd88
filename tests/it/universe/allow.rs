//! Tasks that are taken into a universe after they were spawned.

use std::{
    pin::Pin,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::Poll,
    thread,
    time::Duration,
};

use async_channel::Sender;
use erps::{
    BoxError, ChildSpec, Client, ClientContext, ClientHandler, Context, DynamicSupervisor,
    ExitReason, InitError, PeerInfo, Protocol, Registration, Registry, ReplyTo, Restart, Server,
    ServerRef, Sharded, TaskRef, Universe, time,
    universe::{self, AllowError, Resident},
};
use smol::future;

use crate::support::{
    events::Warnings,
    test_server::{self, TestProtocol, TestServer, current_universe, run, universe_of},
};

const HOUR: Duration = Duration::from_secs(3600);

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task that does what it is told to, in its universe.
struct Worker {
    jobs: Sender<Job>,
    resident: Resident,
    task: smol::Task<()>,
}

impl Worker {
    /// Spawned in the current universe, or in none.
    fn new() -> Self {
        let (jobs, inbox) = async_channel::unbounded::<Job>();
        let mut work = universe::inherit(async move {
            while let Ok(job) = inbox.recv().await {
                job.await;
            }
        });
        let resident = work.resident();
        let task = smol::spawn(work);
        Self {
            jobs,
            resident,
            task,
        }
    }

    fn tell(&self, job: impl Future<Output = ()> + Send + 'static) {
        self.jobs.try_send(Box::pin(job)).unwrap();
    }

    async fn does<R: Send + 'static>(&self, job: impl Future<Output = R> + Send + 'static) -> R {
        let (say, hear) = async_channel::bounded(1);
        self.tell(async move { say.send(job.await).await.unwrap() });
        hear.recv().await.unwrap()
    }

    /// Waits until it is there: what happens during a poll shows at the next one.
    async fn comes_to(&self, universe: Option<u64>) {
        while self.is_in().await != universe {
            future::yield_now().await;
        }
    }

    async fn is_in(&self) -> Option<u64> {
        self.does(async { current_universe() }).await
    }
}

async fn universe_of_server(server: &ServerRef<TestServer>) -> Option<u64> {
    match server.call(test_server::Call::Universe).await.unwrap() {
        test_server::Reply::Universe(id) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn allowed_task_is_in_the_universe() {
    static VALUE: Sharded<AtomicU32> = Sharded::new(AtomicU32::default);
    run(async {
        let worker = Worker::new();
        assert_eq!(worker.is_in().await, None);
        let universe = Universe::new();
        universe.allow(&worker.resident).unwrap();
        assert_eq!(worker.is_in().await, Some(universe.id()));
        let add = || VALUE.get().fetch_add(1, Relaxed);
        let spawned = async move { smol::spawn(universe::inherit(async move { add() })).await };
        worker.does(async move { add() }).await;
        worker.does(spawned).await;
        assert_eq!(universe.enter(|| VALUE.get().load(Relaxed)), 2);
        assert_eq!(VALUE.get().load(Relaxed), 0);
    });
}

#[test]
fn future_can_be_allowed_before_it_is_spawned() {
    let universe = Universe::new();
    let mut future = universe::inherit(async { current_universe() });
    universe.allow(&future.resident()).unwrap();
    assert_eq!(smol::block_on(future), Some(universe.id()));
}

#[test]
fn allowed_task_is_dropped_in_the_universe_without_being_polled_there() {
    struct Tells(Sender<Option<u64>>);
    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.0.try_send(current_universe());
        }
    }
    let (say, hear) = async_channel::unbounded();
    let universe = Universe::new();
    let tells = Tells(say);
    let mut future = universe::inherit(async move {
        let _tells = tells;
        future::pending::<()>().await;
    });
    universe.allow(&future.resident()).unwrap();
    drop(future);
    assert_eq!(hear.try_recv(), Ok(Some(universe.id())));
}

#[test]
fn task_can_be_allowed_twice_into_the_same_universe() {
    run(async {
        let (worker, universe) = (Worker::new(), Universe::new());
        universe.allow(&worker.resident).unwrap();
        universe.allow(&worker.resident).unwrap();
        assert_eq!(worker.is_in().await, Some(universe.id()));
        universe.allow(&worker.resident).unwrap();
        assert_eq!(worker.is_in().await, Some(universe.id()));
    });
}

#[test]
fn allow_fails_with_elsewhere_for_a_task_of_another_universe() {
    run(async {
        let (worker, first, second) = (Worker::new(), Universe::new(), Universe::new());
        first.allow(&worker.resident).unwrap();
        let universe = first.id();
        let elsewhere = AllowError::Elsewhere { universe };
        assert_eq!(second.allow(&worker.resident), Err(elsewhere));
        assert_eq!(worker.is_in().await, Some(universe));
        drop(first);
        second.allow(&worker.resident).unwrap();
        assert_eq!(worker.is_in().await, Some(second.id()));
    });
}

#[test]
fn task_polled_while_its_universe_ends_can_be_allowed_into_another() {
    let meeting = Arc::new(Barrier::new(2));
    let (first, second) = (Universe::new(), Universe::new());
    let meet = Arc::clone(&meeting);
    let mut future = universe::inherit(async move {
        let before = current_universe();
        meet.wait();
        meet.wait();
        (before, current_universe())
    });
    let resident = future.resident();
    first.allow(&resident).unwrap();
    let thread = thread::spawn(move || smol::block_on(future));
    meeting.wait();
    let before = Some(first.id());
    drop(first);
    second.allow(&resident).unwrap();
    meeting.wait();
    assert_eq!(thread.join().unwrap(), (before, Some(second.id())));
}

#[test]
fn waker_from_before_allow_still_wakes_the_task() {
    run(async {
        let (home, other) = (Universe::simulated(1), Universe::new());
        let worker = home.enter(Worker::new);
        let (say, hear) = async_channel::bounded(1);
        // It keeps the first waker that it is given, as what sits beside a faster future may.
        let mut first = true;
        let mut woken = false;
        worker.tell(future::poll_fn(move |cx| {
            if std::mem::take(&mut first) {
                say.try_send(cx.waker().clone()).unwrap();
                return Poll::Pending;
            }
            // By the call that takes it to the other universe; then by the waker.
            match std::mem::replace(&mut woken, true) {
                false => Poll::Pending,
                true => Poll::Ready(()),
            }
        }));
        let waker = hear.recv().await.unwrap();
        home.enter(|| other.allow(&worker.resident)).unwrap();
        let mut goes_on = std::pin::pin!(worker.is_in());
        while future::poll_once(&mut goes_on).await.is_none() {
            waker.wake_by_ref();
            future::yield_now().await;
        }
    });
}

#[test]
fn task_is_moved_on_by_code_of_its_universe() {
    run(async {
        let (home, other) = (Universe::new(), Universe::new());
        let worker = home.enter(Worker::new);
        let universe = home.id();
        let elsewhere = AllowError::Elsewhere { universe };
        assert_eq!(other.allow(&worker.resident), Err(elsewhere));
        home.enter(|| other.allow(&worker.resident)).unwrap();
        assert_eq!(worker.is_in().await, Some(other.id()));
        other.enter(|| home.allow(&worker.resident)).unwrap();
        assert_eq!(worker.is_in().await, Some(home.id()));
    });
}

#[test]
fn allowed_task_returns_when_the_universe_ends_and_does_not_keep_it_alive() {
    static HELD: Sharded<Mutex<Option<Arc<()>>>> = Sharded::new(Mutex::default);
    run(async {
        let home = Universe::new();
        for worker in [Worker::new(), home.enter(Worker::new)] {
            let before = worker.is_in().await;
            let universe = Universe::new();
            let value = Arc::new(());
            let held = Some(Arc::clone(&value));
            universe.enter(|| *HELD.get().lock().unwrap() = held);
            home.enter(|| universe.allow(&worker.resident)).unwrap();
            assert_eq!(worker.is_in().await, Some(universe.id()));
            drop(universe);
            // The worker may be at its last poll in it.
            test_server::eventually("its values are dropped", || Arc::strong_count(&value) == 1)
                .await;
            assert_eq!(worker.is_in().await, before);
        }
    });
}

#[test]
fn allow_fails_with_ended_for_a_finished_task() {
    run(async {
        let (worker, universe) = (Worker::new(), Universe::new());
        drop(worker.jobs);
        worker.task.await;
        assert_eq!(universe.allow(&worker.resident), Err(AllowError::Ended));
        let (seed, _watch) = test_server::seed();
        let server = ServerRef::<TestServer>::builder(seed)
            .start()
            .await
            .unwrap();
        let task: TaskRef = server.task().clone();
        task.shutdown(Default::default()).await;
        assert_eq!(universe.allow(&server), Err(AllowError::Ended));
    });
}

#[test]
fn allowed_server_is_in_the_universe() {
    run(async {
        let (seed, _watch) = test_server::seed();
        let server = ServerRef::builder(seed).start_link().await.unwrap();
        assert_eq!(universe_of_server(&server).await, None);
        let universe = Universe::new();
        universe.allow(&server).unwrap();
        assert_eq!(universe_of_server(&server).await, Some(universe.id()));
    });
}

#[test]
fn allowed_daemon_starts_servers_in_the_universe() {
    run(async {
        let (daemon, before, _watch) = test_server::pair().await;
        let universe = Universe::new();
        universe.allow(&daemon).unwrap();
        let after = test_server::client(&daemon).connect().await.unwrap();
        assert_eq!(universe_of(&after).await, Some(universe.id()));
        assert_eq!(universe_of(&before).await, None);
        drop((after, universe));
        test_server::eventually("the server is gone", || daemon.info().connections == 1).await;
        let last = test_server::client(&daemon).connect().await.unwrap();
        assert_eq!(universe_of(&last).await, None);
    });
}

#[test]
fn allowed_supervisor_starts_children_in_the_universe() {
    run(async {
        let supervisor = DynamicSupervisor::builder().start_link();
        let universe = Universe::new();
        universe.allow(&supervisor).unwrap();
        let (say, hear) = async_channel::unbounded();
        let spec = ChildSpec::task("child", move |_| {
            say.try_send(current_universe()).unwrap();
            future::pending()
        });
        supervisor.start_child(spec).await.unwrap();
        assert_eq!(hear.recv().await, Ok(Some(universe.id())));
    });
}

#[test]
fn allowed_client_takes_its_handler_along() {
    struct Tells(Sender<Option<u64>>);
    impl ClientHandler for Tells {
        type Protocol = TestProtocol;
        type Info = ();
        async fn handle_connect(
            &mut self,
            _: PeerInfo,
            _: &mut ClientContext<Self>,
        ) -> Result<(), BoxError> {
            self.0.try_send(current_universe())?;
            Ok(())
        }
    }
    run(async {
        let (daemon, _client, _watch) = test_server::pair().await;
        let (say, hear) = async_channel::unbounded();
        let client = test_server::client(&daemon).handler(move || Tells(say.clone()));
        let client: Client<TestProtocol> = client.connect().await.unwrap();
        assert_eq!(hear.recv().await, Ok(None));
        let universe = Universe::new();
        universe.allow(&client).unwrap();
        client.disconnect().await;
        client.connect().await.unwrap();
        assert_eq!(hear.recv().await, Ok(Some(universe.id())));
    });
}

#[test]
fn simulated_clock_waits_for_allowed_tasks() {
    run(async {
        let worker = Worker::new();
        worker.is_in().await;
        let universe = Universe::simulated(1);
        universe.allow(&worker.resident).unwrap();
        let inside = universe.scope(async {
            let start = time::now();
            // It is busy for a while, and no time passes; then it waits, and it does.
            let busy = worker.does(async {
                for _ in 0..1000 {
                    future::yield_now().await;
                }
                let busy_until = time::now();
                time::sleep(HOUR).await;
                (busy_until, time::now())
            });
            let outcome = time::timeout(2 * HOUR, busy).await;
            assert_eq!(outcome, Ok((start, start + HOUR)));
        });
        inside.await;
    });
}

#[test]
fn allowed_task_waits_by_the_clock_of_the_universe() {
    run(async {
        for _ in 0..50 {
            let worker = Worker::new();
            let universe = Universe::simulated(1);
            universe.allow(&worker.resident).unwrap();
            // It was never polled, or sleeps by the waker that it had outside: what is sent to it now
            // keeps the clock from leaping.
            let hears = universe.scope(time::timeout(
                HOUR,
                worker.does(async { current_universe() }),
            ));
            assert_eq!(hears.await, Ok(Some(universe.id())));
        }
    });
}

#[test]
fn timer_keeps_its_clock_and_is_due_when_that_universe_ends() {
    run(async {
        let worker = Worker::new();
        let universe = Universe::simulated(1);
        universe.allow(&worker.resident).unwrap();
        let (say, begun) = async_channel::bounded(1);
        worker.tell(async move {
            let nap = time::sleep(HOUR);
            let mut nap = std::pin::pin!(nap);
            assert!(future::poll_once(&mut nap).await.is_none());
            say.send(()).await.unwrap();
            nap.await;
        });
        // Over before the hour is, and nobody moves the clock afterwards.
        universe.run(begun.recv()).unwrap();
        drop(universe);
        worker.comes_to(None).await;
    });
}

/// A protocol and a server that says when it had nothing to do for an hour.
struct Idle;

impl Protocol for Idle {
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Push = ();
}

struct IdleServer(Sender<Option<u64>>);

impl Server for IdleServer {
    type Protocol = Idle;
    type Seed = Sender<Option<u64>>;
    type Info = ();

    async fn init(seed: Self::Seed, cx: &mut Context<Self>) -> Result<Self, InitError> {
        cx.timeout(HOUR);
        Ok(Self(seed))
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<()>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        cx.timeout(HOUR);
        from.reply(());
        Ok(())
    }

    async fn handle_timeout(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.0.try_send(current_universe())?;
        Ok(())
    }
}

#[test]
fn allowed_server_times_out_by_the_clock_of_the_universe() {
    run(async {
        let (say, hear) = async_channel::unbounded();
        let server = ServerRef::<IdleServer>::builder(say).start_link().await;
        let server = server.unwrap();
        let universe = Universe::simulated(1);
        universe.allow(&server).unwrap();
        assert_eq!(universe.scope(hear.recv()).await, Ok(Some(universe.id())));
        drop(universe);
        // From here on it is an hour of the real time.
        server.call(()).await.unwrap();
        assert!(hear.is_empty());
    });
}

/// Registers a name in the worker's task.
async fn register(
    worker: &Worker,
    registry: &'static Registry<&'static str, u32>,
    key: &'static str,
) -> Registration {
    let register = async move { registry.register(key, 0).unwrap() };
    worker.does(register).await
}

#[test]
fn allow_name_allows_the_task_that_has_the_name() {
    static NAMES: Registry<&str, u32> = Registry::unique();
    run(async {
        let worker = Worker::new();
        let _name = register(&worker, &NAMES, "worker").await;
        let universe = Universe::new();
        universe.allow_name(&NAMES, "another").unwrap();
        assert_eq!(worker.is_in().await, None);
        universe.allow_name(&NAMES, "worker").unwrap();
        assert_eq!(worker.is_in().await, Some(universe.id()));
        // Where it was registered, and not where it is now.
        assert_eq!((NAMES.count(), universe.enter(|| NAMES.count())), (1, 0));
    });
}

#[test]
fn allow_name_allows_tasks_that_register_the_name_later() {
    static NAMES: Registry<&str, u32> = Registry::unique();
    run(async {
        let universe = Universe::new();
        universe.allow_name(&NAMES, "worker").unwrap();
        for _ in 0..2 {
            let worker = Worker::new();
            assert_eq!(worker.is_in().await, None);
            let _name = register(&worker, &NAMES, "worker").await;
            assert_eq!(worker.is_in().await, Some(universe.id()));
        }
    });
}

#[test]
fn allow_name_allows_a_server_that_registers_the_name_in_init() {
    static NAMES: Registry<&str, u32> = Registry::unique();
    run(async {
        let universe = Universe::new();
        universe.allow_name(&NAMES, "server").unwrap();
        let (say, hear) = async_channel::unbounded();
        let supervisor = DynamicSupervisor::builder().start_link();
        let spec = ChildSpec::task("server", move |_| {
            let say = say.clone();
            async move {
                let _name = NAMES.register("server", 0).unwrap();
                future::yield_now().await;
                say.send(current_universe()).await.unwrap();
                ExitReason::Killed
            }
        });
        let spec = spec.restart(Restart::Permanent);
        supervisor.start_child(spec).await.unwrap();
        for _ in 0..3 {
            assert_eq!(hear.recv().await, Ok(Some(universe.id())));
        }
    });
}

#[test]
fn allow_name_allows_all_tasks_of_a_duplicate_key() {
    static TOPICS: Registry<&str, u32> = Registry::duplicate();
    run(async {
        let workers = [Worker::new(), Worker::new()];
        let mut names = Vec::new();
        for worker in &workers {
            names.push(register(worker, &TOPICS, "news").await);
        }
        let universe = Universe::new();
        universe.allow_name(&TOPICS, "news").unwrap();
        for worker in &workers {
            assert_eq!(worker.is_in().await, Some(universe.id()));
        }
    });
}

#[test]
fn allow_name_fails_with_elsewhere_while_another_universe_has_the_name() {
    static NAMES: Registry<&str, u32> = Registry::unique();
    run(async {
        let (first, second) = (Universe::new(), Universe::new());
        first.allow_name(&NAMES, "worker").unwrap();
        first.allow_name(&NAMES, "worker").unwrap();
        let universe = first.id();
        let elsewhere = Err(AllowError::Elsewhere { universe });
        assert_eq!(second.allow_name(&NAMES, "worker"), elsewhere);
        drop(first);
        let worker = Worker::new();
        let _name = register(&worker, &NAMES, "worker").await;
        assert_eq!(worker.is_in().await, None);
        second.allow_name(&NAMES, "worker").unwrap();
        assert_eq!(worker.is_in().await, Some(second.id()));
    });
}

#[test]
fn allow_name_fails_with_elsewhere_for_a_task_of_another_universe() {
    static NAMES: Registry<&str, u32> = Registry::unique();
    run(async {
        let (first, second) = (Universe::new(), Universe::new());
        let worker = Worker::new();
        let name = register(&worker, &NAMES, "worker").await;
        first.allow(&worker.resident).unwrap();
        let universe = first.id();
        let elsewhere = Err(AllowError::Elsewhere { universe });
        assert_eq!(second.allow_name(&NAMES, "worker"), elsewhere);
        drop(name);
        let worker = Worker::new();
        let _name = register(&worker, &NAMES, "worker").await;
        assert_eq!(worker.is_in().await, None);
    });
}

#[test]
fn allow_name_fails_with_immovable_for_a_name_of_a_thread() {
    static NAMES: Registry<&str, u32> = Registry::unique();
    static STRICT: Registry<&str, u32> = Registry::unique().strict();
    let _name = thread::spawn(|| NAMES.register("thread", 0).unwrap());
    let _name = _name.join().unwrap();
    let universe = Universe::new();
    let allowed = universe.allow_name(&NAMES, "thread");
    assert_eq!(allowed, Err(AllowError::Immovable));
    let allowed = universe.allow_name(&STRICT, "thread");
    assert_eq!(allowed, Err(AllowError::Strict));
}

#[test]
fn allowed_name_registered_by_a_thread_later_logs_a_warning() {
    static NAMES: Registry<&str, u32> = Registry::unique();
    let universe = Universe::new();
    universe.allow_name(&NAMES, "late").unwrap();
    Warnings::capture(|warnings| {
        let _other = NAMES.register("other", 0).unwrap();
        assert_eq!(warnings.take(), [""; 0]);
        let _late = NAMES.register("late", 0).unwrap();
        let said = warnings.take();
        assert!(
            matches!(&said[..], [one] if one.contains("not allowed in")),
            "{said:?}"
        );
        assert_eq!(current_universe(), None);
    });
}

#[test]
fn allow_name_ignores_names_of_universes() {
    static NAMES: Registry<&str, u32> = Registry::unique();
    run(async {
        let (home, other) = (Universe::new(), Universe::new());
        let worker = home.enter(Worker::new);
        let _name = register(&worker, &NAMES, "worker").await;
        other.allow_name(&NAMES, "worker").unwrap();
        assert_eq!(worker.is_in().await, Some(home.id()));
    });
}
