//! Five hundred universes at once, twenty copies of each, over smol, tokio and threads; ten thousand one after
//! the other with `ERPS_TEST_ALL`.

use std::{
    sync::{Arc, Barrier},
    thread,
};

use erps::{
    BoxError, Client, Config, Context, Daemon, InitError, Mock, Never, Protocol, Registry, ReplyTo,
    Server, ServerRef, Universe, universe,
};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use smol::lock::{self, Semaphore, SemaphoreGuard};

use crate::support::{cores::cores, scale::short_or_long};

/// How many are there at once.
const AT_ONCE: usize = 500;
const COPIES: usize = 20;
const PORT: u16 = 4747;

static CONFIG: Config = Config::new();
static NAMES: Registry<&str, ServerRef<Census>> = Registry::unique();
static MAILER: Mock<dyn Mailer> = Mock::new(|| Arc::new(Post));

trait Mailer: Send + Sync {
    fn send(&self) -> u64;
}

struct Post;

impl Mailer for Post {
    fn send(&self) -> u64 {
        u64::MAX
    }
}

struct Fake(u64);

impl Mailer for Fake {
    fn send(&self) -> u64 {
        self.0
    }
}

struct Questions;

impl Protocol for Questions {
    type Call = ();
    type Reply = Answers;
    type Cast = Never;
    type Push = Never;
}

/// What a server finds in its universe.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Answers {
    universe: Option<u64>,
    config: u64,
    mailer: u64,
    seed: u64,
}

struct Census(u64);

impl Server for Census {
    type Protocol = Questions;
    type Seed = u64;
    type Info = ();

    async fn init(seed: u64, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(seed))
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<Answers>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(Answers {
            universe: Universe::current().map(|universe| universe.id()),
            config: *CONFIG.get("number").unwrap_or_default(),
            mailer: MAILER.get().send(),
            seed: self.0,
        });
        Ok(())
    }
}

/// What every universe does: all of them listen on one port, use one name, and change one value. Nobody
/// looks what it has become before all have done so; what they wait with for this is kept to the end.
async fn live<T>(number: u64, all_are_there: impl Future<Output = T>) {
    let here = Universe::current().map(|universe| universe.id());
    let expected = Answers {
        universe: here,
        config: number,
        mailer: number,
        seed: number,
    };
    CONFIG.put("number", number);
    MAILER.put(Arc::new(Fake(number)));
    let named = ServerRef::builder(number).name(&NAMES, "census");
    let _named = named.start_link().await.unwrap();
    let daemon = Daemon::<Census>::builder(number).port(PORT);
    let _daemon = daemon.start_link().await.unwrap();
    let _kept = all_are_there.await;
    for _ in 0..2 {
        let client = Client::<Questions>::builder(("localhost", PORT))
            .connect()
            .await
            .unwrap();
        assert_eq!(client.call(()).await.unwrap(), expected);
    }
    let found = NAMES.find("census").unwrap();
    assert_eq!(found.call(()).await.unwrap(), expected);
    assert_eq!(NAMES.count(), 1);
}

/// Who is there at once: five hundred, of each number all copies.
fn crowds() -> impl Iterator<Item = Vec<u64>> {
    let numbers: Vec<u64> = (0..short_or_long(25, 500)).collect();
    let crowds: Vec<_> = numbers
        .chunks(AT_ONCE / COPIES)
        .map(|some| some.repeat(COPIES))
        .collect();
    crowds.into_iter()
}

/// What is common to all of them stays as it was.
fn outside_is_untouched() {
    assert_eq!(CONFIG.get::<u64>("number"), None);
    assert_eq!(MAILER.get().send(), u64::MAX);
    assert_eq!(NAMES.count(), 0);
}

#[test]
fn over_smol() {
    let _cores = cores(2);
    for crowd in crowds() {
        let all = Arc::new(lock::Barrier::new(crowd.len()));
        let live = |number| {
            let all = Arc::clone(&all);
            let live = live(number, async move { all.wait().await });
            smol::spawn(Universe::simulated(number).scope(live))
        };
        smol::block_on(join_all(crowd.into_iter().map(live)));
    }
    outside_is_untouched();
}

#[test]
fn over_tokio() {
    let _cores = cores(2);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        for crowd in crowds() {
            let all = Arc::new(lock::Barrier::new(crowd.len()));
            let live = |number| {
                let all = Arc::clone(&all);
                let live = live(number, async move { all.wait().await });
                let universe = Universe::simulated(number);
                tokio::spawn(universe.enter(|| universe::inherit(live)))
            };
            for task in crowd.into_iter().map(live).collect::<Vec<_>>() {
                task.await.unwrap();
            }
        }
    });
    outside_is_untouched();
}

/// On one of many threads: may compute, and waits for all others before it is dropped. Whoever panics
/// before is not waited for.
struct Setup<'a> {
    turn: Option<SemaphoreGuard<'a>>,
    all: &'a Barrier,
}

impl Drop for Setup<'_> {
    fn drop(&mut self) {
        self.turn = None;
        self.all.wait();
    }
}

/// All threads are there at once, but only two compute: more would keep those of other tests waiting.
#[test]
fn over_threads() {
    let _cores = cores(2);
    let turns = Semaphore::new(2);
    for crowd in crowds() {
        let all = Barrier::new(crowd.len());
        thread::scope(|threads| {
            for number in crowd {
                let (all, turns) = (&all, &turns);
                threads.spawn(move || {
                    let turn = Some(turns.acquire_blocking());
                    let setup = Setup { turn, all };
                    let all_are_there = async move {
                        drop(setup);
                        turns.acquire_blocking()
                    };
                    Universe::simulated(number).run(live(number, all_are_there));
                });
            }
        });
    }
    outside_is_untouched();
}
