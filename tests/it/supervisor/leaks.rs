//! Starting and stopping a thousand of everything (ten thousand with `ERPS_TEST_ALL`) leaves nothing behind.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use erps::{
    BoxError, ChildSpec, ChildState, Client, Context, Daemon, DynamicSupervisor, InitError,
    Network, Registry, ReplyTo, Server, ServerRef, Shutdown, Supervisor, TaskRef, Universe, time,
};

use crate::support::{
    cores::cores,
    scale::short_or_long,
    subprocess,
    test_server::{Call, Reply, TestProtocol},
};

fn many() -> usize {
    short_or_long(1000, 10_000)
}

/// Counts live instances.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn one(&self) -> Counted {
        self.0.fetch_add(1, SeqCst);
        Counted(self.clone())
    }

    fn now(&self) -> usize {
        self.0.load(SeqCst)
    }
}

struct Counted(Count);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, SeqCst);
    }
}

fn live_resources() -> usize {
    Universe::current().unwrap().live_resources().len()
}

#[test]
fn many_children_are_restarted_and_shut_down_without_leaks() {
    let many = many();
    Universe::simulated(1).run(async {
        let before = live_resources();
        let count = Count::default();
        let counts = count.clone();
        let spec = ChildSpec::task("child", move |me| {
            let counted = counts.one();
            async move {
                let _counted = counted;
                me.shutdown_requested().await
            }
        });
        let builder = DynamicSupervisor::builder().max_restarts(2 * many, Duration::MAX);
        let supervisor = builder.start();
        for _ in 0..many {
            supervisor.start_child(spec.clone()).await.unwrap();
        }
        time::sleep(Duration::from_millis(1)).await;
        assert_eq!(count.now(), many);
        assert_eq!(live_resources(), before + many + 1);

        let mut seen = BTreeSet::new();
        for round in 0..2 {
            let children = supervisor.which_children().await.unwrap();
            let task = |state: &ChildState| state.task().cloned();
            let tasks: Vec<TaskRef> = children.iter().filter_map(|it| task(&it.state)).collect();
            assert_eq!(tasks.len(), many);
            for task in &tasks {
                assert!(seen.insert(task.id()), "a task was not replaced");
                if round == 0 {
                    task.kill();
                }
            }
            time::sleep(Duration::from_millis(1)).await;
            assert_eq!(count.now(), many);
            assert_eq!(live_resources(), before + many + 1);
        }
        supervisor.as_ref().shutdown(Shutdown::Infinity).await;
        assert_eq!(count.now(), 0);
        // Lets cancelled timers expire.
        time::sleep(Duration::from_millis(1)).await;
        assert_eq!(live_resources(), before);
    });
}

/// A server that counts its instances.
struct Counting(#[expect(dead_code, reason = "it is there to be dropped")] Counted);

impl Server for Counting {
    type Protocol = TestProtocol;
    type Seed = Count;
    type Info = ();

    async fn init(count: Count, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(count.one()))
    }

    async fn handle_call(
        &mut self,
        _: Call,
        from: ReplyTo<Reply>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(Reply::Pong);
        Ok(())
    }
}

static LAMPS: Registry<&str, ServerRef<Counting>> = Registry::unique();

/// Starts a tree, makes a call over a connection, and shuts the tree down, or kills a part of it first.
async fn once(n: usize, count: &Count) {
    let clients = Arc::new(Mutex::new(None));
    let of = clients.clone();
    let dynamics = Arc::new(Mutex::new(None));
    let dynamic = dynamics.clone();
    let address = Arc::new(Mutex::new(None));
    let daemon = Daemon::<Counting>::builder(count.clone())
        .on_start({
            let address = address.clone();
            move |it| *address.lock().unwrap() = Some(it.local_addr())
        })
        .child_spec("daemon");
    let named = ServerRef::<Counting>::builder(count.clone()).name(&LAMPS, "lamp");
    // The client's address is known only after the daemon has started.
    let client = ChildSpec::new("client", move || {
        let (address, of) = (*address.lock().unwrap(), of.clone());
        async move {
            let client = Client::<TestProtocol>::builder(address.unwrap()).start();
            let task = client.task().clone();
            *of.lock().unwrap() = Some(client);
            Ok(task.into())
        }
    });
    let tree = Supervisor::builder()
        .child(daemon)
        .child(
            DynamicSupervisor::builder()
                .on_start(move |it| *dynamic.lock().unwrap() = Some(it.clone()))
                .child_spec("dynamic"),
        )
        .child(named.child_spec("named"))
        .child(client);
    let tree = tree.start_link().await.unwrap();
    let client = clients.lock().unwrap().take().unwrap();
    client.connect().await.unwrap();
    assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
    let dynamic = dynamics.lock().unwrap().take().unwrap();
    let server = ServerRef::<Counting>::builder(count.clone()).child_spec("server");
    dynamic.start_child(server).await.unwrap();
    assert_eq!((LAMPS.count(), count.now()), (1, 3));
    match n % 4 {
        // The rest shuts down normally after a part was killed.
        0 => client.task().kill(),
        1 => dynamic.as_ref().kill(),
        _ => {}
    }
    tree.as_ref().shutdown(Shutdown::Infinity).await;
}

fn loops(seed: u64, loops: usize) {
    let count = Count::default();
    Universe::simulated(seed).run(async {
        let network = Network::current().unwrap();
        let before = live_resources();
        for n in 0..loops {
            once(n, &count).await;
            // The children of a killed supervisor are shut down without anything waiting for them.
            if n % 4 != 1 {
                assert_eq!((LAMPS.count(), count.now()), (0, 0), "{n}");
            }
            // Tasks that wait for a timeout exit at the same moment.
            time::sleep(Duration::from_millis(1)).await;
            let left = Universe::current().unwrap().live_resources();
            assert_eq!(left.len(), before, "{n}: {left:?}");
            assert_eq!((LAMPS.count(), count.now()), (0, 0), "{n}");
            assert!(network.connections().is_empty(), "{n}");
        }
    });
}

#[test]
fn many_trees_are_started_and_shut_down_without_leaks() {
    let _cores = cores(2);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            scope.spawn(move || loops(seed, short_or_long(200, 5000)));
        }
    });
}

/// Returns the numbers of open file descriptors and threads of this process.
fn held() -> (usize, usize) {
    let count = |path| fs::read_dir(path).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

#[test]
#[ignore = "it counts the descriptors of its process"]
fn hundreds_of_trees_on_real_sockets() {
    real_loops(short_or_long(100, 400));
}

#[test]
#[ignore = "it counts the descriptors of its process and leaves ten thousand ports in TIME_WAIT"]
fn ten_thousand_trees_on_real_sockets() {
    real_loops(10_000);
}

fn real_loops(loops: usize) {
    Universe::new().run(async {
        let count = Count::default();
        // Threads, an epoll instance and a pipe that are created once remain.
        for n in 0..8 {
            once(n, &count).await;
        }
        let before = held();
        for n in 0..loops {
            once(n, &count).await;
        }
        let mut after = held();
        for _ in 0..100 {
            if after <= before && live_resources() == 0 {
                break;
            }
            time::sleep(Duration::from_millis(20)).await;
            after = held();
        }
        assert!(
            after.0 <= before.0 && after.1 <= before.1,
            "{before:?} {after:?}"
        );
        assert_eq!((LAMPS.count(), count.now()), (0, 0));
    });
}

#[test]
#[cfg(target_os = "linux")]
fn trees_on_real_sockets_leak_no_descriptor_or_thread() {
    subprocess::passes("supervisor::leaks::hundreds_of_trees_on_real_sockets", &[]);
}
