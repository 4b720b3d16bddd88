//! A universe follows wherever one of the adapters carries it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use futures::StreamExt as _;
use smol::future;
use test_universe::{self as universe, CapturedContext, Sharded, Universe, time};

use crate::support::{current_universe, expected, run};

const HOUR: Duration = Duration::from_secs(3600);

static TOTAL: Sharded<AtomicU32> = Sharded::new(AtomicU32::default);

fn add(n: u32) {
    TOTAL.with(|total| total.fetch_add(n, Relaxed));
}

fn total() -> u32 {
    TOTAL.get().load(Relaxed)
}

/// A pool, such as rayon's, as far as it matters here: it takes closures and runs each on one of its
/// threads, which were there before.
struct Pool {
    jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Pool {
    fn new() -> Self {
        let (jobs, inbox) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let inbox = Arc::new(Mutex::new(inbox));
        for _ in 0..2 {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                while let Ok(job) = { inbox.lock().unwrap().recv() } {
                    job();
                }
            });
        }
        Self { jobs }
    }

    fn run(&self, job: impl FnOnce() + Send + 'static) {
        self.jobs.send(Box::new(job)).unwrap();
    }
}

#[test]
fn thread_pool_runs_each_inherited_closure_in_its_universe() {
    let pool = Pool::new();
    let universes: Vec<_> = (0..10).map(|_| Universe::new()).collect();
    let (say, hear) = mpsc::channel();
    for universe in &universes {
        let say = say.clone();
        let expected = universe.id();
        let job = move || say.send(current_universe() == Some(expected)).unwrap();
        pool.run(universe.enter(|| universe::inherit_fn(job)));
    }
    drop(say);
    assert_eq!(hear.iter().collect::<Vec<_>>(), [true; 10]);
}

#[test]
fn captured_context_runs_callbacks_in_its_universe_any_number_of_times() {
    let mut callbacks: Vec<Box<dyn FnMut(u32) -> u32 + Send>> = Vec::new();
    let universe = Universe::new();
    universe.enter(|| {
        let here = CapturedContext::capture();
        let mut calls = 0;
        callbacks.push(Box::new(move |n| {
            calls += 1;
            here.enter(|| add(n));
            calls
        }));
    });
    let called = thread::spawn(move || (1..4).map(|n| callbacks[0](n)).collect::<Vec<_>>());
    assert_eq!(called.join().unwrap(), [1, 2, 3]);
    assert_eq!((universe.enter(total), total()), (6, 0));
}

#[test]
fn captured_context_scopes_futures_in_its_universe() {
    let universe = Universe::new();
    let there = universe.enter(CapturedContext::capture);
    assert_eq!(there.universe(), Some(&universe));
    assert_eq!(
        smol::block_on(there.scope(async { current_universe() })),
        here_in(&universe)
    );
    let nowhere = CapturedContext::capture();
    assert_eq!(universe.enter(|| nowhere.enter(current_universe)), None);
}

fn here_in(universe: &Universe) -> Option<u64> {
    Some(universe.id())
}

#[test]
fn universe_can_be_entered_twice() {
    let universe = Universe::new();
    universe.enter(|| {
        add(1);
        universe.enter(|| add(1));
        smol::block_on(universe.scope(universe::inherit(async { add(1) })));
        assert_eq!(total(), 3);
    });
}

#[test]
fn future_woken_by_a_timer_or_stream_is_in_its_universe() {
    for universe in [Universe::new(), Universe::simulated(1)] {
        let seen = run(universe.scope(async {
            let mut seen = Vec::new();
            time::sleep(Duration::from_millis(1)).await;
            seen.push(current_universe());
            let _ = time::timeout(Duration::from_millis(1), future::pending::<()>()).await;
            seen.push(current_universe());
            let numbers = futures::stream::iter(0..2).then(|_| async {
                future::yield_now().await;
                current_universe()
            });
            seen.extend(numbers.collect::<Vec<_>>().await);
            seen
        }));
        assert_eq!(seen, [here_in(&universe); 4]);
    }
}

/// Tells, when it is dropped, which universe it is in.
struct Tells(mpsc::Sender<Option<u64>>);

impl Drop for Tells {
    fn drop(&mut self) {
        let _ = self.0.send(current_universe());
    }
}

#[test]
fn captures_of_an_inherited_closure_are_dropped_in_its_universe() {
    let universe = Universe::new();
    let (told, tells) = mpsc::channel();
    let owns = || {
        let owned = Tells(told.clone());
        universe.enter(|| universe::inherit_fn(move || drop(owned)))
    };
    let (run, not_run) = (owns(), owns());
    thread::spawn(run).join().unwrap();
    thread::spawn(move || drop(not_run)).join().unwrap();
    for _ in 0..2 {
        assert_eq!(tells.recv(), Ok(Some(universe.id())));
    }
}

#[test]
fn simulated_clock_stands_still_until_an_inherited_closure_returns() {
    let universe = Universe::simulated(1);
    universe.run(async {
        let start = time::now();
        let (say, hear) = smol::channel::bounded(1);
        let busy = universe::inherit_fn(move || {
            for _ in 0..1000 {
                thread::yield_now();
            }
            say.send_blocking(time::now()).unwrap();
        });
        let thread = thread::spawn(busy);
        assert_eq!(time::timeout(HOUR, hear.recv()).await, Ok(Ok(start)));
        thread.join().unwrap();
        // It has run: the clock may go on.
        time::sleep(HOUR).await;
        // So it may if one is dropped that never ran.
        drop(universe::inherit_fn(|| ()));
        time::sleep(HOUR).await;
    });
}

#[test]
fn simulated_clock_advances_after_an_inherited_closure_panics() {
    let universe = Universe::simulated(1);
    universe.run(expected(async {
        let there = CapturedContext::capture();
        let threads = [
            thread::spawn(universe::inherit_fn(|| panic!("as the test asks"))),
            thread::spawn(move || there.enter(|| panic!("as the test asks"))),
        ];
        for thread in threads {
            assert!(thread.join().is_err());
        }
        time::sleep(HOUR).await;
    }));
}

#[test]
fn simulated_clock_stands_still_only_while_a_callback_runs() {
    let universe = Universe::simulated(1);
    universe.run(async {
        let there = CapturedContext::capture();
        let start = time::now();
        time::sleep(HOUR).await;
        let (say, hear) = smol::channel::bounded(1);
        // From here on somebody is awake, until the callback is.
        let begins = universe::inherit_fn(|| ());
        let thread = thread::spawn(move || {
            there.enter(|| {
                drop(begins);
                for _ in 0..1000 {
                    thread::yield_now();
                }
                say.send_blocking(time::now()).unwrap();
            });
        });
        let called = time::timeout(HOUR, hear.recv()).await;
        assert_eq!(called, Ok(Ok(start + HOUR)));
        thread.join().unwrap();
    });
}

#[test]
fn thread_can_wait_for_the_simulated_clock_in_a_captured_scope() {
    let universe = Universe::simulated(1);
    let done = Arc::new(AtomicBool::new(false));
    universe.run(async {
        let there = CapturedContext::capture();
        let done = Arc::clone(&done);
        let nap = there.scope(async move {
            time::sleep(HOUR).await;
            done.store(true, Relaxed);
        });
        let thread = thread::spawn(move || smol::block_on(nap));
        smol::unblock(move || thread.join().unwrap()).await;
    });
    assert!(done.load(Relaxed));
    assert_eq!(universe.clock().unwrap().elapsed(), HOUR);
}
