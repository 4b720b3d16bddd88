//! Universes and the network: who lives in whose, and that TCP is a wormhole.

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

use crate::support::lab::{
    self, Cast, Lab, LabServer, OwnThread, eventually, here, is_served, run, universe_of,
};

/// A handler that reports which universe each of its callbacks is in.
struct Witness(Sender<(&'static str, Option<u64>)>);

impl Witness {
    fn report(&self, callback: &'static str) {
        let _ = self.0.try_send((callback, here()));
    }
}

impl ClientHandler for Witness {
    type Protocol = Lab;
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

async fn witness(
    daemon: &Daemon<LabServer>,
) -> (Client<Lab>, Receiver<(&'static str, Option<u64>)>) {
    let (seen, sights) = async_channel::unbounded();
    let client = lab::client(daemon).handler(move || Witness(seen.clone()));
    (client.connect().await.unwrap(), sights)
}

/// A supervisor that lives in `universe`.
fn supervisor_in(universe: &Universe) -> Linked<DynamicSupervisor> {
    universe.enter(|| DynamicSupervisor::builder().start_link())
}

/// Where the server of a daemon lives that was started in `home`, or in none, with these servers.
async fn born_in(home: Option<&Universe>, supervisor: impl Into<ServerSupervisor>) -> Option<u64> {
    let (builder, _watch) = lab::daemon();
    let start = builder.server_supervisor(supervisor).start_link();
    let daemon = match home {
        Some(home) => home.scope(start).await,
        None => start.await,
    };
    let daemon = daemon.unwrap();
    universe_of(&lab::client(&daemon).connect().await.unwrap()).await
}

/// What a custom supervisor is for here: to start servers in `elsewhere`, by any means.
fn custom<F>(
    elsewhere: &Universe,
    start: impl Fn(ServerSpec) -> F + Send + Sync + 'static,
) -> ServerSupervisor
where
    F: Future<Output = Result<erps::Started, BoxError>> + Send + 'static,
{
    let elsewhere = elsewhere.clone();
    ServerSupervisor::custom(move |recipe| elsewhere.scope(start(recipe)))
}

#[test]
fn server_and_handler_live_in_the_universe_of_the_test_that_starts_daemon_and_client() {
    let home = Universe::new();
    let id = Some(home.id());
    run(home.scope(async {
        let (builder, _watch) = lab::daemon();
        let daemon = builder.start_link().await.unwrap();
        let (client, sights) = witness(&daemon).await;
        assert_eq!(universe_of(&client).await, id);
        client.cast(Cast::Push("news".into())).await.unwrap();
        for callback in ["init", "handle_connect", "handle_push"] {
            assert_eq!(sights.recv().await.unwrap(), (callback, id));
        }
        client.task().shutdown(Shutdown::Infinity).await;
        assert_eq!(sights.recv().await.unwrap(), ("terminate", id));
    }));
}

#[test]
fn a_supervisor_in_another_universe_starts_servers_in_the_daemons() {
    run(async {
        let (home, elsewhere) = (Universe::new(), Universe::new());
        let supervisor = supervisor_in(&elsewhere);
        let found = born_in(Some(&home), DynamicSupervisor::clone(&supervisor)).await;
        assert_eq!(found, Some(home.id()));
    });
}

#[test]
fn one_supervisor_starts_servers_in_the_universe_of_each_of_its_daemons() {
    run(async {
        let supervisor = DynamicSupervisor::builder().start_link();
        let homes = [Universe::new(), Universe::new(), Universe::new()];
        let found = homes
            .iter()
            .map(|home| born_in(Some(home), DynamicSupervisor::clone(&supervisor)));
        let expected: Vec<_> = homes.iter().map(|home| Some(home.id())).collect();
        assert_eq!(join_all(found).await, expected);
    });
}

#[test]
fn a_custom_supervisor_starts_servers_in_the_daemons_universe_on_whatever_thread() {
    run(async {
        let (home, elsewhere) = (Universe::new(), Universe::new());
        let on_a_thread = custom(&elsewhere, |recipe| async {
            let (started, ready) = futures::channel::oneshot::channel();
            thread::spawn(universe::inherit_fn(|| {
                let _ = started.send(futures_lite::future::block_on(recipe.start()));
            }));
            ready.await?
        });
        assert_eq!(born_in(Some(&home), on_a_thread).await, Some(home.id()));
    });
}

#[test]
fn a_custom_supervisor_starts_servers_in_the_daemons_universe_on_whatever_executor() {
    run(async {
        let (home, elsewhere) = (Universe::new(), Universe::new());
        let own = OwnThread::new();
        let supervisor = elsewhere.enter(|| {
            let builder = DynamicSupervisor::builder();
            builder.executor(Arc::clone(&own.executor)).start_link()
        });
        let handle = DynamicSupervisor::clone(&supervisor);
        let given_on = custom(&elsewhere, move |recipe| {
            let handle = handle.clone();
            async move { Ok(handle.start_child(recipe).await?.into()) }
        });
        assert_eq!(born_in(Some(&home), given_on).await, Some(home.id()));

        let executor = Arc::clone(&own.executor);
        let spawned = custom(&elsewhere, move |recipe| {
            executor.spawn(universe::inherit(recipe.start()))
        });
        assert_eq!(born_in(Some(&home), spawned).await, Some(home.id()));
    });
}

#[test]
fn a_custom_supervisors_closure_itself_runs_in_the_daemons_universe() {
    run(async {
        let home = Universe::new();
        let (seen, sights) = async_channel::unbounded();
        let supervisor = ServerSupervisor::custom(move |recipe| {
            seen.try_send(here()).unwrap();
            recipe.start()
        });
        assert_eq!(born_in(Some(&home), supervisor).await, Some(home.id()));
        assert_eq!(sights.recv().await.unwrap(), Some(home.id()));
    });
}

#[test]
fn a_daemon_keeps_its_universe_whoever_connects() {
    run(async {
        let home = Universe::new();
        let (builder, _watch) = lab::daemon();
        let daemon = home.scope(builder.start_link()).await.unwrap();
        let strangers = [Universe::new(), Universe::new()];
        for stranger in &strangers {
            let visit = async {
                let (client, sights) = witness(&daemon).await;
                assert_eq!(universe_of(&client).await, Some(home.id()));
                assert_eq!(sights.recv().await.unwrap(), ("init", Some(stranger.id())));
            };
            stranger.scope(visit).await;
        }
        let client = lab::client(&daemon).connect().await.unwrap();
        assert_eq!(universe_of(&client).await, Some(home.id()), "from none");
    });
}

#[test]
fn a_daemon_of_no_universe_stays_in_none_whoever_connects() {
    run(async {
        let (builder, _watch) = lab::daemon();
        let daemon = builder.start_link().await.unwrap();
        let visit = async {
            let client = lab::client(&daemon).connect().await.unwrap();
            assert_eq!(universe_of(&client).await, None);
        };
        Universe::new().scope(visit).await;
    });
}

#[test]
fn a_daemon_started_outside_has_its_servers_outside_even_if_their_supervisor_is_inside() {
    run(async {
        let supervisor = supervisor_in(&Universe::new());
        let found = born_in(None, DynamicSupervisor::clone(&supervisor)).await;
        assert_eq!(found, None);
    });
}

#[test]
fn without_forward_callers_a_daemon_is_in_none_and_its_servers_where_their_supervisor_is() {
    run(async {
        let (home, nest) = (Universe::new(), Universe::new());
        let supervisor = supervisor_in(&nest);
        for (given, expected) in [(true, Some(nest.id())), (false, None)] {
            let (seen, sights) = async_channel::unbounded();
            let (mut builder, _watch) = lab::daemon();
            if given {
                builder = builder.server_supervisor(DynamicSupervisor::clone(&supervisor));
            }
            let start = builder
                .forward_callers(false)
                .on_start(move |_| seen.try_send(here()).unwrap())
                .start_link();
            let daemon = home.scope(start).await.unwrap();
            assert_eq!(sights.recv().await.unwrap(), None);
            let connect = async { lab::client(&daemon).connect().await.unwrap() };
            let client = home.scope(connect).await;
            assert_eq!(universe_of(&client).await, expected);
        }
    });
}

#[test]
fn the_universe_is_that_of_the_await_of_start_and_not_of_the_builder() {
    run(async {
        let (builder, _watch) = Universe::new().enter(lab::daemon);
        let home = Universe::new();
        let daemon = home.scope(builder.start_link()).await.unwrap();
        let client = lab::client(&daemon).connect().await.unwrap();
        assert_eq!(universe_of(&client).await, Some(home.id()));
    });
}

#[test]
fn a_supervised_daemon_keeps_its_universe_and_its_port_when_it_is_restarted() {
    run(async {
        let (home, nest) = (Universe::simulated(1), Universe::new());
        let supervisor = supervisor_in(&nest);
        let (builder, _watch) = lab::daemon();
        let (started, starts) = async_channel::unbounded();
        let builder = builder
            .port(4747)
            .on_start(move |daemon| started.try_send((daemon.clone(), here())).unwrap());
        let spec = home.enter(|| builder.child_spec("daemon"));
        supervisor.start_child(spec).await.unwrap();
        for _ in 0..3 {
            let (daemon, seen) = starts.recv().await.unwrap();
            assert_eq!((daemon.port(), seen), (4747, Some(home.id())));
            let builder = lab::client(&daemon);
            let client = home.scope(builder.connect()).await.unwrap();
            assert_eq!(universe_of(&client).await, Some(home.id()));
            daemon.task().kill();
        }
    });
}

static NAMES: erps::Registry<&str, ServerRef<LabServer>> = erps::Registry::unique();

#[test]
fn a_restarted_server_is_in_its_universe_too() {
    run(async {
        let (home, nest) = (Universe::new(), Universe::new());
        let supervisor = supervisor_in(&nest);
        let (seed, watch) = lab::seed();
        let builder = ServerRef::<LabServer>::builder(seed).name(&NAMES, "lab");
        let spec = home.enter(|| builder.child_spec("server"));
        supervisor
            .start_child(spec.restart(Restart::Permanent))
            .await
            .unwrap();
        for _ in 0..3 {
            while !matches!(watch.lives.recv().await, Ok(lab::Life::Init)) {}
            let find = || home.enter(|| NAMES.find("lab"));
            eventually("it has its name", || find().is_some()).await;
            let server = find().unwrap();
            let found = server.call(lab::Call::Universe).await.unwrap();
            assert_eq!(found, lab::Reply::Universe(Some(home.id())));
            assert!(server.call(lab::Call::Crash).await.is_err());
            server.exited().await;
        }
    });
}

// ---- statics that are sharded by universe ----

/// What was put here, by whomever, in one universe.
static SHELF: erps::Sharded<Mutex<BTreeSet<u64>>> = erps::Sharded::new(Mutex::default);

fn put(item: u64) {
    SHELF.with(|shelf| assert!(shelf.lock().unwrap().insert(item), "{item} twice"));
}

struct Shelf;

impl Protocol for Shelf {
    type Call = u64;
    type Reply = Vec<u64>;
    type Cast = ();
    type Push = ();
}

/// Puts what it is called with on the shelf, and answers with all that is there.
struct Keeper;

impl Server for Keeper {
    type Protocol = Shelf;
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
        from.reply(SHELF.with(|shelf| shelf.lock().unwrap().iter().copied().collect()));
        Ok(())
    }
}

#[test]
fn a_hundred_universes_at_once_share_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let life = |home: u64| {
        let runtime = runtime.handle().clone();
        async move {
            let daemon = Daemon::<Keeper>::builder(()).start_link().await.unwrap();
            let client = Client::<Shelf>::builder(daemon.local_addr());
            let first = home * 1000;
            let ask = |n: u64| {
                let client = client.clone();
                async move {
                    put(first + n);
                    let client = client.connect().await.unwrap();
                    // The server puts it on the same shelf as its client, and no other is seen.
                    let seen = client.call(first + 100 + n).await.unwrap();
                    assert!(seen.iter().all(|item| item / 1000 == home), "{seen:?}");
                    assert!(seen.contains(&(first + n)) && seen.contains(&(first + 100 + n)));
                    SHELF.with(|shelf| {
                        assert!(
                            shelf
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
            SHELF.with(|shelf| assert_eq!(*shelf.lock().unwrap(), expected));
        }
    };
    run(async {
        let universes: Vec<_> = (0..100).map(|_| Universe::new()).collect();
        let lives = universes
            .iter()
            .map(|home| smol::spawn(home.scope(life(home.id()))));
        join_all(lives).await;
        SHELF.with(|shelf| assert!(shelf.lock().unwrap().is_empty(), "that of none"));
    });
}

// ---- a universe ends ----

static HELD: erps::Sharded<()> = erps::Sharded::new(|| ());

/// Lives a little in a universe of its own and returns what tells whether anything of it is left.
async fn live_and_end<F>(end: impl FnOnce(Linked<Daemon<LabServer>>, Client<Lab>) -> F) -> Weak<()>
where
    F: Future<Output = ()>,
{
    let home = Universe::new();
    let life = async {
        let (builder, _watch) = lab::daemon();
        let daemon = builder.start_link().await.unwrap();
        let (client, _sights) = witness(&daemon).await;
        is_served(&client).await;
        let mut pushes = Box::pin(client.pushes());
        assert!(
            futures::StreamExt::next(&mut pushes).await.is_none(),
            "they go to the handler"
        );
        end(daemon, client).await;
    };
    home.scope(life).await;
    let held = home.enter(|| Arc::downgrade(&HELD.get()));
    assert_eq!(held.strong_count(), 1);
    held
}

#[test]
fn what_was_shut_down_keeps_no_universe_alive() {
    run(async {
        let held = live_and_end(|daemon, client| async move {
            client.task().shutdown(Shutdown::Infinity).await;
            daemon.shutdown().await;
        })
        .await;
        eventually("the universe ends", || held.strong_count() == 0).await;
    });
}

#[test]
fn what_was_killed_keeps_no_universe_alive() {
    run(async {
        let held = live_and_end(|daemon, client| async move {
            client.task().kill();
            daemon.task().kill();
            daemon.exited().await;
        })
        .await;
        eventually("the universe ends", || held.strong_count() == 0).await;
    });
}

#[test]
fn what_was_only_dropped_keeps_no_universe_alive() {
    run(async {
        let held = live_and_end(|daemon, client| async move {
            client.task().request_shutdown();
            drop(daemon);
        })
        .await;
        eventually("the universe ends", || held.strong_count() == 0).await;
    });
}
