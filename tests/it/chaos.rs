//! Three daemons, ten clients and random faults between them, in simulated time.
//!
//! Invariants are checked while faults happen. At the end every client must be connected again, and no
//! connection may be left. Faults follow from the seed: `ERPS_SEEDS=100000 cargo test chaos::` tries many
//! seeds.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use erps::{
    BoxError, CallError, Client, Context, Daemon, InitError, Network, Protocol, ReplyTo, Server,
    Sharded, Supervisor, Universe,
    network::{EventKind, Link},
    time,
    universe::Check,
};
use serde::{Deserialize, Serialize};

use crate::support::{
    cores::{copies, cores},
    scale::short_or_long,
};

const PORT: u16 = 4747;
const DAEMONS: [&str; 3] = ["amber", "beryl", "coral"];
const CLIENTS: usize = 10;
/// The connection limit of a daemon: its clients and a few more.
const MAX_CONNECTIONS: usize = 6;
const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(5);

struct Work;

impl Protocol for Work {
    type Call = Job;
    type Reply = u64;
    type Cast = u64;
    type Push = u64;
}

#[derive(Serialize, Deserialize)]
struct Job {
    id: u64,
    millis: u64,
}

/// What is recorded of all jobs in a universe.
#[derive(Default)]
struct Records {
    /// How often each job was started.
    begun: Mutex<BTreeMap<u64, u32>>,
    /// A trace of everything that happened, in order.
    log: Mutex<String>,
    /// Whether `init` fails.
    closed: AtomicBool,
}

static RECORDS: Sharded<Records> = Sharded::new(Records::default);

fn log(what: std::fmt::Arguments<'_>) {
    let elapsed = Universe::current().unwrap().clock().unwrap().elapsed();
    let records = RECORDS.get();
    let mut log = records.log.lock().unwrap();
    writeln!(log, "{:>14.6} {what}", elapsed.as_secs_f64()).unwrap();
}

struct Worker;

impl Server for Worker {
    type Protocol = Work;
    type Seed = ();
    type Info = ();

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        match RECORDS.get().closed.load(Relaxed) {
            true => Err(InitError::Stop("closed".into())),
            false => Ok(Self),
        }
    }

    async fn handle_call(
        &mut self,
        job: Job,
        from: ReplyTo<u64>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        *RECORDS
            .get()
            .begun
            .lock()
            .unwrap()
            .entry(job.id)
            .or_default() += 1;
        match job.id % 10 {
            // Some jobs panic,
            7 if below(4) == 0 => std::panic::resume_unwind(Box::new("too much")),
            // and some are answered from a task.
            3 => {
                let done = async move {
                    time::sleep(Duration::from_millis(job.millis)).await;
                    from.reply(job.id);
                };
                erps::spawn(done).detach();
            }
            _ => {
                time::sleep(Duration::from_millis(job.millis)).await;
                from.reply(job.id);
            }
        }
        if job.id.is_multiple_of(5) {
            cx.push(job.id).await?;
        }
        Ok(())
    }

    async fn handle_cast(&mut self, _: u64, _: &mut Context<Self>) -> Result<(), BoxError> {
        Ok(())
    }
}

fn below(limit: usize) -> usize {
    (time::random() % limit as u64) as usize
}

fn one_of<T: Copy>(all: &[T]) -> T {
    all[below(all.len())]
}

/// Returns a random duration in this range of milliseconds.
fn millis(range: Range<u64>) -> Duration {
    Duration::from_millis(range.start + time::random() % (range.end - range.start))
}

/// Makes calls until it is stopped, and checks the outcome of each.
async fn work(name: usize, client: Client<Work>, stop: Arc<AtomicBool>) {
    let mut count = 0;
    while !stop.load(Relaxed) {
        time::sleep(millis(0..2000)).await;
        count += 1;
        let id = name as u64 * 1_000_000 + count;
        let job = Job {
            id,
            millis: time::random() % 100,
        };
        let limit = millis(20..5000);
        let start = time::now();
        let outcome = client.call_within(job, limit).await;
        let took = time::now() - start;
        log(format_args!(
            "client {name}: job {id}: {outcome:?} after {took:?}"
        ));
        let begun = RECORDS.get().begun.lock().unwrap().get(&id).copied();
        let begun = begun.unwrap_or(0);
        assert!(begun <= 1, "job {id} was started {begun} times");
        assert!(
            took <= limit,
            "job {id} has an outcome {:?} late",
            took - limit
        );
        match outcome {
            Ok(reply) => {
                assert_eq!(reply, id, "the reply to another job");
                assert_eq!(begun, 1);
            }
            Err(error) if !error.may_have_run() => assert_eq!(begun, 0, "{error}"),
            Err(
                CallError::TimedOut { .. }
                | CallError::Lost
                | CallError::Failed { .. }
                | CallError::Unanswered,
            ) => {}
            Err(other) => panic!("job {id}: {other}"),
        }
    }
}

/// Injects random faults and ends them, until `until`.
async fn inject_faults(until: Duration, daemons: async_channel::Receiver<Daemon<Worker>>) {
    let network = Network::current().unwrap();
    let clock = Universe::current().unwrap().clock().unwrap();
    let mut running = Vec::new();
    while clock.elapsed() < until {
        time::sleep(millis(0..4000)).await;
        while let Ok(daemon) = daemons.try_recv() {
            running.push(daemon);
        }
        running.retain(|daemon: &Daemon<Worker>| daemon.task().is_alive());
        let (daemon, client) = (one_of(&DAEMONS), format!("client {}", below(CLIENTS)));
        let pause = millis(10..20_000);
        let fault = below(9);
        log(format_args!(
            "fault {fault} for {pause:?}, at {daemon} or {client}"
        ));
        match fault {
            0 => {
                network.partition(daemon, &client);
                time::sleep(pause).await;
                network.heal(daemon, &client);
            }
            1 => network.reset(daemon, &client),
            2 => network.black_hole(daemon, &client),
            3 => {
                network.refuse(daemon, PORT);
                time::sleep(pause).await;
                network.stop_refusing(daemon, PORT);
            }
            4 => network.fail_accepts(daemon, PORT, 24, below(5)),
            5 => {
                let slow = Link::new()
                    .latency(millis(0..300))
                    .jitter(millis(1..100))
                    .pieces(1 + below(50));
                network.set_link(daemon, &client, slow);
            }
            6 => {
                if let Some(daemon) = running.get(below(running.len().max(1))) {
                    daemon.task().kill();
                }
            }
            7 => {
                // Servers fail right after the accept: the hardest case for a backoff.
                RECORDS.get().closed.store(true, Relaxed);
                for daemon in DAEMONS {
                    for client in 0..CLIENTS {
                        network.reset(daemon, format!("client {client}"));
                    }
                }
                time::sleep(pause).await;
                RECORDS.get().closed.store(false, Relaxed);
            }
            _ => {
                // A peer that sends nothing, or invalid bytes.
                let host = network.host("invalid peer");
                let address = network.host(daemon).address(PORT);
                let dial = host.scope(network.connect(address));
                if let Ok(Ok(mut stream)) = time::timeout(SECOND, dial).await {
                    use smol::io::AsyncWriteExt as _;
                    if below(2) == 0 {
                        let _ = stream.write_all(b"\x83 is no packet").await;
                    }
                    time::sleep(pause).await;
                }
            }
        }
    }
    network.set_default_link(Link::new());
}

/// Runs faults for this long, waits for recovery, and returns the trace.
async fn scenario(lasts: Duration) -> String {
    Universe::current().unwrap().allow_panics("too much");
    let network = Network::current().unwrap();
    let (handle, daemons) = async_channel::unbounded();
    let mut tree = Supervisor::builder().max_restarts(1000, SECOND);
    for name in DAEMONS {
        let handle = handle.clone();
        let host = network.host(name);
        let daemon = Daemon::<Worker>::builder(())
            .bind(host.ip())
            .port(PORT)
            .plaintext_anywhere()
            .max_connections(MAX_CONNECTIONS)
            .on_start(move |daemon| drop(handle.try_send(daemon.clone())));
        tree = tree.child(host.enter(|| daemon.child_spec(name)));
    }
    let tree = tree.start_link().await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    let mut workers = Vec::new();
    for name in 0..CLIENTS {
        let host = network.host(format!("client {name}"));
        let client = host.enter(|| Client::<Work>::builder((DAEMONS[name % 3], PORT)).start());
        let worker = work(name, client.clone(), Arc::clone(&stop));
        workers.push(erps::spawn(worker));
        clients.push(client);
    }
    inject_faults(lasts, daemons).await;

    // Every client is served again within the longest backoff plus the time to detect a lost peer.
    for (name, client) in clients.iter().enumerate() {
        let healed = async {
            loop {
                let job = Job {
                    id: u64::MAX - name as u64,
                    millis: 0,
                };
                match client.call_within(job, LIMIT).await {
                    Ok(_) => return,
                    Err(_) => time::sleep(SECOND).await,
                }
            }
        };
        let healed = time::timeout(600 * SECOND, healed).await;
        assert!(
            healed.is_ok(),
            "client {name} has not healed: {:?}",
            client.status()
        );
    }
    stop.store(true, Relaxed);
    for worker in workers {
        worker.await;
    }
    drop(clients);
    tree.shutdown().await;
    attempts_are_few(&network);

    let mut trace = std::mem::take(&mut *RECORDS.get().log.lock().unwrap());
    for event in network.events() {
        writeln!(trace, "{event}").unwrap();
    }
    trace
}

/// The backoff keeps clients from dialling often.
fn attempts_are_few(network: &Network) {
    let mut dials: BTreeMap<_, Vec<Duration>> = BTreeMap::new();
    for event in network.events() {
        if let EventKind::Connecting(from, _) = event.kind {
            dials.entry(from.ip()).or_default().push(event.at);
        }
    }
    for (address, times) in dials {
        for many in times.windows(40) {
            let lasted = many[39] - many[0];
            assert!(
                lasted > 20 * SECOND,
                "{address} has dialled 40 times in {lasted:?}"
            );
        }
    }
}

fn hash_of(seed: u64, lasts: Duration) -> u64 {
    let trace = Universe::simulated(seed).run(scenario(lasts));
    let mut hasher = DefaultHasher::new();
    trace.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn invariants_hold_under_random_faults() {
    let _cores = cores(copies());
    let name = concat!(module_path!(), "::invariants_hold_under_random_faults");
    let seeds = short_or_long(5, 100);
    let check = Check::new(name)
        .env_prefix("ERPS")
        .simulated()
        .seeds(0..seeds);
    check.run(async || drop(scenario(60 * SECOND).await));
}

/// Measures real time, so copies must not run at once.
#[test]
fn faults_for_many_minutes_take_less_than_a_minute() {
    let _core = cores(1);
    let start = std::time::Instant::now();
    let lasts = short_or_long(300, 3600) * SECOND;
    Universe::simulated(0).run(scenario(lasts));
    assert!(start.elapsed() < 60 * SECOND);
}

#[test]
fn each_seed_has_its_own_reproducible_trace() {
    const LASTS: Duration = Duration::from_secs(10);
    let all = short_or_long(10, 1000);
    let _cores = cores(2);
    let traces = |seeds: Range<u64>| seeds.map(|seed| hash_of(seed, LASTS)).collect::<Vec<_>>();
    // Each time on another thread, beside another seed.
    let (first, second) = std::thread::scope(|threads| {
        let first = threads.spawn(|| traces(0..all));
        let second = threads.spawn(|| traces(0..all));
        (first.join().unwrap(), second.join().unwrap())
    });
    for (seed, (first, second)) in first.iter().zip(&second).enumerate() {
        assert_eq!(first, second, "seed {seed}");
    }
    let different: std::collections::BTreeSet<_> = first.into_iter().collect();
    assert_eq!(different.len() as u64, all);
}
