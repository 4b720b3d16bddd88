//! Races between starting, stopping and querying, in as many orders as there are seeds.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use erps::{
    ChildSpec, ChildState, Client, Daemon, DynamicSupervisor, ExitReason, Registry, Restart,
    RestartDelay, ServerRef, Shutdown, StartError, Started, Strategy, Supervisor,
    SupervisorBuilder, TaskRef, time,
};
use futures::future::join_all;
use smol::future::{self, FutureExt as _};

use crate::support::{
    scale::short_or_long,
    test_server::{self, Call, TestProtocol, TestServer},
};

const SECOND: Duration = Duration::from_secs(1);

fn below(limit: u64) -> u64 {
    time::random() % limit
}

async fn a_moment() {
    time::sleep(Duration::from_millis(below(20))).await;
}

static NAMES: Registry<&str, ServerRef<TestServer>> = Registry::unique();

/// Several tasks register one name, others kill its owner, and one checks it.
#[erps::test(simulated, seeds = short_or_long(40, 200), allow_panics = "as the test asks")]
async fn name_has_at_most_one_live_owner_and_is_free_after_its_exit() {
    let claimant = async || {
        for _ in 0..5 {
            a_moment().await;
            let builder = ServerRef::builder(test_server::seed().0).name(&NAMES, "name");
            match builder.start().await {
                Ok(server) => {
                    let monitors = [server.task().monitor(), server.task().monitor()];
                    match below(4) {
                        0 => server.task().kill(),
                        1 => server.task().request_shutdown(),
                        2 => drop(server.call(Call::Crash).await),
                        _ => {
                            a_moment().await;
                            server.task().kill();
                        }
                    }
                    for monitor in monitors {
                        monitor.await;
                    }
                    if let Some(owner) = NAMES.find("name") {
                        assert_ne!(owner.task(), server.task(), "its name outlived it");
                    }
                }
                Err(StartError::Registered(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
    };
    let watcher = async {
        for _ in 0..100 {
            time::sleep(Duration::from_millis(1)).await;
            assert!(NAMES.count() <= 1);
            if let Some(owner) = NAMES.find("name")
                && below(3) == 0
            {
                owner.task().kill();
            }
        }
    };
    let claimants = join_all((0..4).map(|_| claimant()));
    future::zip(claimants, watcher).await;
    assert_eq!(NAMES.count(), 0);
}

/// More clients than `max_connections` allows, each of which can exit at any time.
#[erps::test(simulated, seeds = short_or_long(40, 200), allow_panics = "as the test asks")]
async fn connection_permit_is_released_whichever_side_exits_first() {
    let (seed, _watch) = test_server::seed();
    let daemon = Daemon::<TestServer>::builder(seed).max_connections(2);
    let daemon = daemon.start_link().await.unwrap();
    let client = async || {
        for _ in 0..4 {
            a_moment().await;
            let client = Client::<TestProtocol>::builder(daemon.local_addr()).start();
            let gone = client.task().monitor();
            match below(5) {
                0 => client.task().kill(),
                1 => drop(client),
                2 => {
                    let _ = time::timeout(SECOND, client.connect()).await;
                    client.task().kill();
                }
                3 => {
                    let _ = time::timeout(SECOND, client.connect()).await;
                    let _ = client.call(Call::Crash).await;
                    drop(client);
                }
                _ => {
                    if time::timeout(SECOND, client.connect()).await.is_ok() {
                        let _ = client.call(Call::Ping).await;
                    }
                    drop(client);
                }
            }
            gone.await;
            assert!(daemon.info().connections <= 2);
        }
    };
    join_all((0..5).map(|_| client())).await;
    time::sleep(SECOND).await;
    assert_eq!(daemon.info().connections, 0);
    let last = Client::<TestProtocol>::builder(daemon.local_addr())
        .connect()
        .await;
    test_server::assert_served(&last.unwrap()).await;
}

/// How many tasks each child has.
#[derive(Clone, Default)]
struct Alive(Arc<Mutex<BTreeMap<String, usize>>>);

struct Life(Alive, String);

impl Drop for Life {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

impl Alive {
    fn born(&self, id: &str) -> Life {
        let mut alive = self.0.lock().unwrap();
        let count = alive.entry(id.to_owned()).or_default();
        *count += 1;
        let twice = *count > 1;
        drop(alive);
        assert!(!twice, "two of {id} at once");
        Life(self.clone(), id.to_owned())
    }

    fn count(&self, id: &str) -> usize {
        self.0.lock().unwrap().get(id).copied().unwrap_or(0)
    }

    /// A child that starts and stops with random delays and can exit by itself.
    fn restless(&self, id: &str) -> ChildSpec {
        let (alive, name) = (self.clone(), id.to_owned());
        ChildSpec::task(id, move |me| {
            let life = alive.born(&name);
            async move {
                let _life = life;
                let by_itself = async {
                    time::sleep(Duration::from_millis(below(200))).await;
                    match below(3) {
                        0 => ExitReason::Normal,
                        _ => ExitReason::error("it did not like it any more"),
                    }
                };
                let reason = me.shutdown_requested().or(by_itself).await;
                a_moment().await;
                reason
            }
        })
    }
}

/// A child whose start function can be slow, fail, or return `Ignore`, and that can crash immediately.
fn reluctant(id: &str) -> ChildSpec {
    let server = ServerRef::<TestServer>::builder(test_server::seed().0);
    ChildSpec::new(id, move || {
        let server = server.clone();
        async move {
            a_moment().await;
            match below(10) {
                0 => return Err("it did not want to".into()),
                1 => return Ok(Started::Ignore),
                _ => {}
            }
            let server = server.start_link().await?.unlink();
            if below(3) == 0 {
                let _ = server.call(Call::Crash).await;
            }
            Ok(Started::Running(server.task().clone()))
        }
    })
}

fn restless_three(alive: &Alive) -> SupervisorBuilder {
    let (strategy, delay) = match below(6) {
        0 => (Strategy::OneForOne, RestartDelay::None),
        1 => (Strategy::OneForAll, RestartDelay::None),
        2 => (Strategy::RestForOne, RestartDelay::None),
        3 => (Strategy::OneForOne, RestartDelay::Fixed(SECOND / 50)),
        4 => (Strategy::OneForAll, RestartDelay::Fixed(SECOND / 50)),
        _ => (Strategy::RestForOne, RestartDelay::Fixed(SECOND / 50)),
    };
    let mut builder = Supervisor::builder()
        .strategy(strategy)
        .restart_delay(delay)
        .max_restarts(1_000_000, SECOND);
    for id in ["a", "b", "c"] {
        let restart = match below(2) {
            0 => Restart::Permanent,
            _ => Restart::Transient,
        };
        let shutdown = match below(3) {
            0 => Shutdown::BrutalKill,
            1 => Shutdown::Within(Duration::from_millis(5)),
            _ => Shutdown::Infinity,
        };
        builder = builder.child(alive.restless(id).restart(restart).shutdown(shutdown));
    }
    builder.child(reluctant("d"))
}

/// Random commands while children crash, exit, fail to start, and are restarted.
#[erps::test(simulated, seeds = short_or_long(60, 300), allow_panics = "as the test asks")]
async fn random_commands_and_restarts_leave_at_most_one_task_per_child_and_none_after_shutdown() {
    let alive = Alive::default();
    let Ok(supervisor) = restless_three(&alive).start().await else {
        return assert!(alive.0.lock().unwrap().values().all(|count| *count == 0));
    };
    let commander = async || {
        for _ in 0..20 {
            a_moment().await;
            let id = ["a", "b", "c", "d"][below(4) as usize];
            match below(5) {
                0 => {
                    supervisor.terminate_child(id).await.ok();
                }
                1 => {
                    supervisor.restart_child(id).await.ok();
                }
                2 => {
                    supervisor.delete_child(id).await.ok();
                }
                3 if id != "d" => {
                    supervisor.start_child(alive.restless(id)).await.ok();
                    supervisor.start_child(reluctant("d")).await.ok();
                }
                _ => {
                    let children = supervisor.which_children().await.unwrap();
                    if let Some(task) = children.iter().find_map(|child| child.state.task()) {
                        TaskRef::kill(task);
                    }
                }
            }
        }
    };
    join_all((0..3).map(|_| commander())).await;

    // Stopped children have no task and stay stopped.
    for id in ["a", "b", "c"] {
        supervisor.terminate_child(id).await.ok();
    }
    let children = supervisor.which_children().await.unwrap();
    for child in &children {
        // A sibling that crashed meanwhile can have restarted one.
        if child.state == ChildState::Stopped {
            assert_eq!(alive.count(&child.id), 0);
        }
    }
    supervisor.as_ref().shutdown(Shutdown::Infinity).await;
    for id in ["a", "b", "c"] {
        assert_eq!(alive.count(id), 0, "{id} has outlived its supervisor");
    }
}

/// A supervisor is killed at a random moment.
#[erps::test(simulated, seeds = short_or_long(40, 200), allow_panics = "as the test asks")]
async fn children_exit_when_their_supervisor_is_killed_at_any_moment() {
    let alive = Alive::default();
    let starting = restless_three(&alive).start();
    let Ok(Ok(supervisor)) = time::timeout(Duration::from_millis(below(100)), starting).await
    else {
        time::sleep(SECOND).await;
        return assert!(alive.0.lock().unwrap().values().all(|count| *count == 0));
    };
    time::sleep(Duration::from_millis(below(500))).await;
    supervisor.as_ref().kill();
    time::sleep(SECOND).await;
    assert!(alive.0.lock().unwrap().values().all(|count| *count == 0));
}

/// A supervisor is shut down at a random moment, also while it starts or restarts its children.
#[erps::test(simulated, seeds = short_or_long(60, 300), allow_panics = "as the test asks")]
async fn no_child_is_left_after_shutdown_at_any_moment() {
    let alive = Alive::default();
    let (handle, handles) = async_channel::bounded::<Supervisor>(1);
    let builder = restless_three(&alive).on_start(move |it| drop(handle.try_send(it.clone())));
    let starting = erps::spawn(async move { builder.start().await.map(drop) });
    let supervisor = handles.recv().await.unwrap();
    let commander = erps::spawn({
        let (supervisor, alive) = (supervisor.clone(), alive.clone());
        async move {
            while supervisor.as_ref().is_alive() {
                a_moment().await;
                let id = ["a", "b", "c"][below(3) as usize];
                let _ = supervisor.terminate_child(id).await;
                let _ = supervisor.restart_child(id).await;
                let _ = supervisor.delete_child(id).await;
                let _ = supervisor.start_child(alive.restless(id)).await;
            }
        }
    });
    time::sleep(Duration::from_millis(below(500))).await;
    supervisor.as_ref().request_shutdown();
    supervisor.as_ref().exited().await;
    assert!(alive.0.lock().unwrap().values().all(|count| *count == 0));
    let _ = starting.await;
    commander.await;
}

#[erps::test(simulated, seeds = short_or_long(40, 200))]
async fn dynamic_child_terminated_while_it_restarts_stays_stopped() {
    let alive = Alive::default();
    let supervisor = DynamicSupervisor::builder()
        .max_restarts(1_000_000, SECOND)
        .restart_delay(RestartDelay::Fixed(Duration::from_millis(below(30))))
        .start();
    let Ok(child) = supervisor.start_child(alive.restless("a")).await else {
        return supervisor.as_ref().kill();
    };
    let mut task = child;
    loop {
        a_moment().await;
        match supervisor.terminate_child(&task).await {
            Ok(()) => break,
            // The child was restarted as another task meanwhile.
            Err(_) => match &supervisor.which_children().await.unwrap()[..] {
                [] => break,
                [child, ..] => {
                    if let ChildState::Running(next) = &child.state {
                        task = next.clone();
                    }
                }
            },
        }
    }
    assert_eq!(alive.count("a"), 0);
    time::sleep(SECOND).await;
    assert_eq!(alive.count("a"), 0);
    assert_eq!(supervisor.count_children().await.unwrap().specs, 0);
    supervisor.as_ref().shutdown(Shutdown::Infinity).await;
}
