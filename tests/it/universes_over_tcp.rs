//! Universes over connections: which universe daemons, servers and client handlers run in.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Arc, Mutex, Weak},
    thread,
};

use async_channel::{Receiver, Sender};
use erps::{
    BoxError, Client, ClientContext, ClientHandler, Context, Daemon, DynamicSupervisor, ExitReason,
    InitError, Linked, PeerInfo, Protocol, ReplyTo, Restart, Server, ServerRef, ServerSpec,
    ServerSupervisor, Shutdown, Universe, universe,
};
use futures::future::join_all;

use crate::support::test_server::{
    self, Cast, TestProtocol, TestServer, ThreadExecutor, assert_served, current_universe,
    eventually, run, universe_of,
};

/// A client handler that reports the universe of each callback.
struct UniverseReporter(Sender<(&'static str, Option<u64>)>);

impl UniverseReporter {
    fn report(&self, callback: &'static str) {
        let _ = self.0.try_send((callback, current_universe()));
    }
}

impl ClientHandler for UniverseReporter {
    type Protocol = TestProtocol;
    type Info = ();

    async fn init(&mut self, _: &mut ClientContext<Self>) -> Result<(), BoxError> {
        self.report("init");
        Ok(())
    }

    async fn handle_connect(
        &mut self,
        _: PeerInfo,
        _: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        self.report("handle_connect");
        Ok(())
    }

    async fn handle_push(
        &mut self,
        _: String,
        _: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        self.report("handle_push");
        Ok(())
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut ClientContext<Self>) {
        self.report("terminate");
    }
}

async fn reporting_client(
    daemon: &Daemon<TestServer>,
) -> (Client<TestProtocol>, Receiver<(&'static str, Option<u64>)>) {
    let (seen, reports) = async_channel::unbounded();
    let client = test_server::client(daemon).handler(move || UniverseReporter(seen.clone()));
    (client.connect().await.unwrap(), reports)
}

/// Starts a supervisor in `universe`.
fn supervisor_in(universe: &Universe) -> Linked<DynamicSupervisor> {
    universe.enter(|| DynamicSupervisor::builder().start_link())
}

/// Returns the universe of a server whose daemon was started in `home`, or in none, with this supervisor.
async fn universe_of_server(
    home: Option<&Universe>,
    supervisor: impl Into<ServerSupervisor>,
) -> Option<u64> {
    let (builder, _watch) = test_server::daemon();
    let start = builder.server_supervisor(supervisor).start_link();
    let daemon = match home {
        Some(home) => home.scope(start).await,
        None => start.await,
    };
    let daemon = daemon.unwrap();
    universe_of(&test_server::client(&daemon).connect().await.unwrap()).await
}

/// A custom supervisor that starts servers in `elsewhere`, by any means.
fn custom<F>(
    elsewhere: &Universe,
    start: impl Fn(ServerSpec) -> F + Send + Sync + 'static,
) -> ServerSupervisor
where
    F: Future<Output = Result<erps::Started, BoxError>> + Send + 'static,
{
    let elsewhere = elsewhere.clone();
    ServerSupervisor::custom(move |spec| elsewhere.scope(start(spec)))
}

#[test]
fn server_and_client_handler_run_in_the_universe_of_their_start() {
    let home = Universe::new();
    let id = Some(home.id());
    run(home.scope(async {
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.start_link().await.unwrap();
        let (client, reports) = reporting_client(&daemon).await;
        assert_eq!(universe_of(&client).await, id);
        client.cast(Cast::Push("news".into())).await.unwrap();
        for callback in ["init", "handle_connect", "handle_push"] {
            assert_eq!(reports.recv().await.unwrap(), (callback, id));
        }
        client.task().shutdown(Shutdown::Infinity).await;
        assert_eq!(reports.recv().await.unwrap(), ("terminate", id));
    }));
}

#[test]
fn supervisor_of_another_universe_starts_servers_in_the_daemons_universe() {
    run(async {
        let (home, elsewhere) = (Universe::new(), Universe::new());
        let supervisor = supervisor_in(&elsewhere);
        let found = universe_of_server(Some(&home), DynamicSupervisor::clone(&supervisor)).await;
        assert_eq!(found, Some(home.id()));
    });
}

#[test]
fn shared_supervisor_starts_servers_in_the_universe_of_each_daemon() {
    run(async {
        let supervisor = DynamicSupervisor::builder().start_link();
        let homes = [Universe::new(), Universe::new(), Universe::new()];
        let found = homes
            .iter()
            .map(|home| universe_of_server(Some(home), DynamicSupervisor::clone(&supervisor)));
        let expected: Vec<_> = homes.iter().map(|home| Some(home.id())).collect();
        assert_eq!(join_all(found).await, expected);
    });
}

#[test]
fn custom_supervisor_starts_servers_in_the_daemons_universe_from_any_thread() {
    run(async {
        let (home, elsewhere) = (Universe::new(), Universe::new());
        let on_a_thread = custom(&elsewhere, |spec| async {
            let (started, ready) = futures::channel::oneshot::channel();
            thread::spawn(universe::inherit_fn(|| {
                let _ = started.send(futures_lite::future::block_on(spec.start()));
            }));
            ready.await?
        });
        assert_eq!(
            universe_of_server(Some(&home), on_a_thread).await,
            Some(home.id())
        );
    });
}

#[test]
fn custom_supervisor_starts_servers_in_the_daemons_universe_from_any_executor() {
    run(async {
        let (home, elsewhere) = (Universe::new(), Universe::new());
        let own = ThreadExecutor::new();
        let supervisor = elsewhere.enter(|| {
            let builder = DynamicSupervisor::builder();
            builder.executor(Arc::clone(&own.executor)).start_link()
        });
        let handle = DynamicSupervisor::clone(&supervisor);
        let given_on = custom(&elsewhere, move |spec| {
            let handle = handle.clone();
            async move { Ok(handle.start_child(spec).await?.into()) }
        });
        assert_eq!(
            universe_of_server(Some(&home), given_on).await,
            Some(home.id())
        );

        let executor = Arc::clone(&own.executor);
        let spawned = custom(&elsewhere, move |spec| {
            executor.spawn(universe::inherit(spec.start()))
        });
        assert_eq!(
            universe_of_server(Some(&home), spawned).await,
            Some(home.id())
        );
    });
}

#[test]
fn custom_supervisors_closure_runs_in_the_daemons_universe() {
    run(async {
        let home = Universe::new();
        let (seen, reports) = async_channel::unbounded();
        let supervisor = ServerSupervisor::custom(move |spec| {
            seen.try_send(current_universe()).unwrap();
            spec.start()
        });
        assert_eq!(
            universe_of_server(Some(&home), supervisor).await,
            Some(home.id())
        );
        assert_eq!(reports.recv().await.unwrap(), Some(home.id()));
    });
}

#[test]
fn servers_run_in_the_daemons_universe_for_clients_of_any_universe() {
    run(async {
        let home = Universe::new();
        let (builder, _watch) = test_server::daemon();
        let daemon = home.scope(builder.start_link()).await.unwrap();
        let others = [Universe::new(), Universe::new()];
        for other in &others {
            let visit = async {
                let (client, reports) = reporting_client(&daemon).await;
                assert_eq!(universe_of(&client).await, Some(home.id()));
                assert_eq!(reports.recv().await.unwrap(), ("init", Some(other.id())));
            };
            other.scope(visit).await;
        }
        let client = test_server::client(&daemon).connect().await.unwrap();
        assert_eq!(universe_of(&client).await, Some(home.id()), "from none");
    });
}

#[test]
fn servers_of_a_daemon_outside_universes_run_outside_universes() {
    run(async {
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.start_link().await.unwrap();
        let visit = async {
            let client = test_server::client(&daemon).connect().await.unwrap();
            assert_eq!(universe_of(&client).await, None);
        };
        Universe::new().scope(visit).await;
    });
}

#[test]
fn servers_run_outside_universes_although_their_supervisor_is_in_one() {
    run(async {
        let supervisor = supervisor_in(&Universe::new());
        let found = universe_of_server(None, DynamicSupervisor::clone(&supervisor)).await;
        assert_eq!(found, None);
    });
}

#[test]
fn without_forward_callers_servers_run_in_their_supervisors_universe() {
    run(async {
        let (home, other) = (Universe::new(), Universe::new());
        let supervisor = supervisor_in(&other);
        for (given, expected) in [(true, Some(other.id())), (false, None)] {
            let (seen, reports) = async_channel::unbounded();
            let (mut builder, _watch) = test_server::daemon();
            if given {
                builder = builder.server_supervisor(DynamicSupervisor::clone(&supervisor));
            }
            let start = builder
                .forward_callers(false)
                .on_start(move |_| seen.try_send(current_universe()).unwrap())
                .start_link();
            let daemon = home.scope(start).await.unwrap();
            assert_eq!(reports.recv().await.unwrap(), None);
            let connect = async { test_server::client(&daemon).connect().await.unwrap() };
            let client = home.scope(connect).await;
            assert_eq!(universe_of(&client).await, expected);
        }
    });
}

#[test]
fn daemon_runs_in_the_universe_of_start_and_not_of_its_builder() {
    run(async {
        let (builder, _watch) = Universe::new().enter(test_server::daemon);
        let home = Universe::new();
        let daemon = home.scope(builder.start_link()).await.unwrap();
        let client = test_server::client(&daemon).connect().await.unwrap();
        assert_eq!(universe_of(&client).await, Some(home.id()));
    });
}

#[test]
fn restarted_daemon_keeps_its_universe_and_port() {
    run(async {
        let (home, other) = (Universe::simulated(1), Universe::new());
        let supervisor = supervisor_in(&other);
        let (builder, _watch) = test_server::daemon();
        let (started, starts) = async_channel::unbounded();
        let builder = builder.port(4747).on_start(move |daemon| {
            started
                .try_send((daemon.clone(), current_universe()))
                .unwrap()
        });
        let spec = home.enter(|| builder.child_spec("daemon"));
        supervisor.start_child(spec).await.unwrap();
        for _ in 0..3 {
            let (daemon, seen) = starts.recv().await.unwrap();
            assert_eq!((daemon.port(), seen), (4747, Some(home.id())));
            let builder = test_server::client(&daemon);
            let client = home.scope(builder.connect()).await.unwrap();
            assert_eq!(universe_of(&client).await, Some(home.id()));
            daemon.task().kill();
        }
    });
}

static NAMES: erps::Registry<&str, ServerRef<TestServer>> = erps::Registry::unique();

#[test]
fn restarted_server_keeps_its_universe() {
    run(async {
        let (home, other) = (Universe::new(), Universe::new());
        let supervisor = supervisor_in(&other);
        let (seed, watch) = test_server::seed();
        let builder = ServerRef::<TestServer>::builder(seed).name(&NAMES, "test");
        let spec = home.enter(|| builder.child_spec("server"));
        supervisor
            .start_child(spec.restart(Restart::Permanent))
            .await
            .unwrap();
        for _ in 0..3 {
            while !matches!(
                watch.lifecycle.recv().await,
                Ok(test_server::Lifecycle::Init)
            ) {}
            let find = || home.enter(|| NAMES.find("test"));
            eventually("the name is registered", || find().is_some()).await;
            let server = find().unwrap();
            let found = server.call(test_server::Call::Universe).await.unwrap();
            assert_eq!(found, test_server::Reply::Universe(Some(home.id())));
            assert!(server.call(test_server::Call::Crash).await.is_err());
            server.exited().await;
        }
    });
}

// ---- statics sharded by universe ----

/// The items stored in each universe.
static ITEMS: erps::Sharded<Mutex<BTreeSet<u64>>> = erps::Sharded::new(Mutex::default);

fn put(item: u64) {
    ITEMS.with(|items| assert!(items.lock().unwrap().insert(item), "{item} twice"));
}

struct Items;

impl Protocol for Items {
    type Call = u64;
    type Reply = Vec<u64>;
    type Cast = ();
    type Push = ();
}

/// Stores the item it is called with and replies with all items.
struct ItemServer;

impl Server for ItemServer {
    type Protocol = Items;
    type Seed = ();
    type Info = ();

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        item: u64,
        from: ReplyTo<Vec<u64>>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        put(item);
        from.reply(ITEMS.with(|items| items.lock().unwrap().iter().copied().collect()));
        Ok(())
    }
}

#[test]
fn hundred_concurrent_universes_share_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let life = |home: u64| {
        let runtime = runtime.handle().clone();
        async move {
            let daemon = Daemon::<ItemServer>::builder(())
                .start_link()
                .await
                .unwrap();
            let client = Client::<Items>::builder(daemon.local_addr());
            let first = home * 1000;
            let ask = |n: u64| {
                let client = client.clone();
                async move {
                    put(first + n);
                    let client = client.connect().await.unwrap();
                    // The server stores its item in the shard of its client's universe, and sees no other
                    // shard.
                    let seen = client.call(first + 100 + n).await.unwrap();
                    assert!(seen.iter().all(|item| item / 1000 == home), "{seen:?}");
                    assert!(seen.contains(&(first + n)) && seen.contains(&(first + 100 + n)));
                    ITEMS.with(|items| {
                        assert!(
                            items
                                .lock()
                                .unwrap()
                                .is_superset(&seen.into_iter().collect())
                        )
                    });
                }
            };
            let on_smol = [0, 1].map(|n| smol::spawn(universe::inherit(ask(n))));
            let on_tokio = [2, 3].map(|n| runtime.spawn(universe::inherit(ask(n))));
            let on_a_thread = {
                let ask = ask(4);
                smol::unblock(universe::inherit_fn(|| {
                    let thread = thread::spawn(universe::inherit_fn(|| smol::block_on(ask)));
                    thread.join().unwrap();
                }))
            };
            join_all(on_smol).await;
            for outcome in join_all(on_tokio).await {
                outcome.unwrap();
            }
            on_a_thread.await;
            let expected = (0..5).chain(100..105).map(|n| first + n).collect();
            ITEMS.with(|items| assert_eq!(*items.lock().unwrap(), expected));
        }
    };
    run(async {
        let universes: Vec<_> = (0..100).map(|_| Universe::new()).collect();
        let lifecycle = universes
            .iter()
            .map(|home| smol::spawn(home.scope(life(home.id()))));
        join_all(lifecycle).await;
        ITEMS.with(|items| {
            assert!(
                items.lock().unwrap().is_empty(),
                "the shard outside of universes"
            )
        });
    });
}

// ---- universes are dropped ----

static HELD: erps::Sharded<()> = erps::Sharded::new(|| ());

/// Uses a daemon and a client in a new universe, and returns a weak reference to its shard.
async fn run_and_stop<F>(
    end: impl FnOnce(Linked<Daemon<TestServer>>, Client<TestProtocol>) -> F,
) -> Weak<()>
where
    F: Future<Output = ()>,
{
    let home = Universe::new();
    let life = async {
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.start_link().await.unwrap();
        let (client, _sights) = reporting_client(&daemon).await;
        assert_served(&client).await;
        let mut pushes = Box::pin(client.pushes());
        assert!(
            futures::StreamExt::next(&mut pushes).await.is_none(),
            "pushes go to the handler"
        );
        end(daemon, client).await;
    };
    home.scope(life).await;
    let held = home.enter(|| Arc::downgrade(&HELD.get()));
    assert_eq!(held.strong_count(), 1);
    held
}

#[test]
fn shut_down_daemon_and_client_do_not_keep_their_universe_alive() {
    run(async {
        let held = run_and_stop(|daemon, client| async move {
            client.task().shutdown(Shutdown::Infinity).await;
            daemon.shutdown().await;
        })
        .await;
        eventually("the universe is dropped", || held.strong_count() == 0).await;
    });
}

#[test]
fn killed_daemon_and_client_do_not_keep_their_universe_alive() {
    run(async {
        let held = run_and_stop(|daemon, client| async move {
            client.task().kill();
            daemon.task().kill();
            daemon.exited().await;
        })
        .await;
        eventually("the universe is dropped", || held.strong_count() == 0).await;
    });
}

#[test]
fn dropped_daemon_and_client_do_not_keep_their_universe_alive() {
    run(async {
        let held = run_and_stop(|daemon, client| async move {
            client.task().request_shutdown();
            drop(daemon);
        })
        .await;
        eventually("the universe is dropped", || held.strong_count() == 0).await;
    });
}
