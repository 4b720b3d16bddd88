//! A clock and chance of a universe's own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use test_universe::{self as universe, Clock, Universe, time};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn sleep_of_an_hour_takes_no_real_time() {
    let real = Instant::now();
    let universe = Universe::simulated(1);
    universe.run(async {
        let start = time::now();
        time::sleep(HOUR).await;
        assert_eq!(time::now() - start, HOUR);
    });
    assert_eq!(universe.clock().unwrap().elapsed(), HOUR);
    assert!(real.elapsed() < HOUR / 60);
}

#[test]
fn clocks_of_two_universes_are_independent() {
    let (a, b) = (Universe::simulated(1), Universe::simulated(1));
    a.run(time::sleep(HOUR));
    assert_eq!(a.clock().unwrap().elapsed(), HOUR);
    assert_eq!(b.clock().unwrap().elapsed(), Duration::ZERO);
}

#[test]
fn clock_stands_still_while_a_task_runs_on_another_thread() {
    let universe = Universe::simulated(1);
    universe.run(async {
        let (say, hear) = smol::channel::bounded::<()>(1);
        let start = time::now();
        let alarm = async {
            time::sleep(HOUR).await;
            "the hour is over"
        };
        let busy = smol::spawn(universe::inherit(async move {
            for _ in 0..1000 {
                smol::future::yield_now().await;
            }
            let _ = say.send(()).await;
            time::now()
        }));
        let heard = async {
            hear.recv().await.unwrap();
            "the other task is done"
        };
        assert_eq!(
            smol::future::or(alarm, heard).await,
            "the other task is done"
        );
        assert_eq!(busy.await, start);
    });
}

#[test]
fn clock_advances_without_run_too() {
    let universe = Universe::simulated(1);
    smol::block_on(universe.scope(async {
        let nap = smol::spawn(universe::inherit(time::sleep(HOUR)));
        time::sleep(2 * HOUR).await;
        nap.await;
    }));
    assert_eq!(universe.clock().unwrap().elapsed(), 2 * HOUR);
}

fn order_of(seed: u64) -> Vec<u32> {
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    Universe::simulated(seed).run(async move {
        let tasks = (0..20).map(|n| {
            let seen = Arc::clone(&seen);
            Box::pin(universe::inherit(async move {
                for _ in 0..3 {
                    time::sleep(Duration::from_millis(time::random() % 5)).await;
                    seen.lock().unwrap().push(n);
                }
            }))
        });
        futures::future::join_all(tasks).await;
    });
    Arc::try_unwrap(order).unwrap().into_inner().unwrap()
}

#[test]
fn same_seed_gives_the_same_order_and_random_numbers() {
    assert_eq!(order_of(7), order_of(7));
    assert_ne!(order_of(7), order_of(8));
}

/// How often each of the outcomes of a race comes about, of a thousand seeds.
fn outcomes<T: Ord, F: Future<Output = T>>(race: impl Fn() -> F) -> BTreeMap<T, u32> {
    let mut outcomes = BTreeMap::new();
    for seed in 0..1000 {
        let outcome = Universe::simulated(seed).run(race());
        *outcomes.entry(outcome).or_default() += 1;
    }
    outcomes
}

/// The order in which those come who are due at the same time; the last one is the test itself.
async fn race() -> Vec<u32> {
    let (come, comers) = smol::channel::unbounded();
    let runs = |n| {
        let come = come.clone();
        async move {
            time::sleep(HOUR).await;
            come.send(n).await.unwrap();
        }
    };
    let tasks = [0, 1, 2].map(|n| test_universe::spawn(runs(n)));
    runs(3).await;
    for task in tasks {
        task.await;
    }
    std::iter::from_fn(|| comers.try_recv().ok()).collect()
}

#[test]
fn seed_decides_the_order_of_timers_that_are_due_at_once() {
    let orders = outcomes(race);
    assert_eq!(orders.len(), 24, "{orders:?}");
    assert!(orders.values().all(|it| *it > 10), "{orders:?}");
}

#[test]
fn seed_decides_the_order_of_the_main_future_and_its_tasks() {
    let lost_updates = outcomes(async || {
        let value = Arc::new(AtomicU32::new(0));
        let adds = |value: Arc<AtomicU32>| async move {
            for _ in 0..3 {
                let read = value.load(Relaxed);
                smol::future::yield_now().await;
                value.store(read + 1, Relaxed);
            }
        };
        let task = test_universe::spawn(adds(Arc::clone(&value)));
        adds(Arc::clone(&value)).await;
        task.await;
        value.load(Relaxed)
    });
    let all = lost_updates.keys().copied().collect::<Vec<_>>();
    assert_eq!(all, [3, 4, 5, 6], "{lost_updates:?}");
}

#[test]
fn clock_stands_still_between_the_end_of_an_external_task_and_its_waiter() {
    for _ in 0..50 {
        Universe::simulated(1).run(async {
            let busy = async {
                smol::future::yield_now().await;
                5
            };
            let task = smol::spawn(universe::inherit(busy));
            assert_eq!(time::timeout(HOUR, task).await, Ok(5));
            let blocking = smol::unblock(universe::inherit_fn(|| 6));
            assert_eq!(time::timeout(HOUR, blocking).await, Ok(6));
        });
        smol::block_on(Universe::simulated(1).scope(async {
            let task = smol::spawn(universe::inherit(async { 7 }));
            assert_eq!(time::timeout(HOUR, task).await, Ok(7));
        }));
    }
}

#[test]
fn clock_advances_after_a_run() {
    let universe = Universe::simulated(1);
    let (go, gone) = smol::channel::bounded::<()>(1);
    let nap = async move {
        gone.recv().await.unwrap();
        time::sleep(10 * HOUR).await;
    };
    let nap = universe.enter(|| smol::spawn(universe::inherit(nap)));
    universe.run(async move {
        go.send(()).await.unwrap();
        time::sleep(HOUR).await;
    });
    smol::block_on(nap);
    assert_eq!(universe.clock().unwrap().elapsed(), 10 * HOUR);
}

/// Sleepers of a universe, and what time each finds by its clock when it wakes.
fn sleepers(clock: &Clock, sleep: [Duration; 3]) -> [smol::Task<Duration>; 3] {
    sleep.map(|sleep| {
        let clock = clock.clone();
        test_universe::spawn(async move {
            time::sleep(sleep).await;
            clock.elapsed()
        })
    })
}

#[test]
fn advance_wakes_due_timers_of_its_universe_only() {
    let (universe, other) = (Universe::simulated(1), Universe::simulated(1));
    let (clock, others) = (universe.clock().unwrap(), other.clock().unwrap());
    universe.run(async {
        let due = sleepers(&clock, [HOUR, 2 * HOUR, 3 * HOUR]);
        let later = test_universe::spawn(time::sleep(9 * HOUR));
        // Until all of them sleep.
        time::sleep(HOUR / 2).await;
        clock.advance(4 * HOUR);
        assert_eq!(clock.elapsed(), 4 * HOUR + HOUR / 2);
        assert_eq!(time::now(), clock.now());
        for task in due {
            // As after a machine was asleep, all find the same time.
            assert_eq!(task.await, 4 * HOUR + HOUR / 2);
        }
        later.await;
        assert_eq!(clock.elapsed(), 9 * HOUR);
    });
    assert_eq!(others.elapsed(), Duration::ZERO);
}

#[test]
fn advance_works_from_other_threads_and_without_run() {
    let universe = Universe::simulated(1);
    let clock = universe.clock().unwrap();
    std::thread::spawn(move || clock.advance(HOUR))
        .join()
        .unwrap();
    let start = universe.clock().unwrap().now();
    let woken = universe.scope(async {
        time::sleep(HOUR).await;
        time::now()
    });
    assert_eq!(smol::block_on(woken) - start, HOUR);
    assert_eq!(universe.clock().unwrap().elapsed(), 2 * HOUR);
}

#[test]
#[should_panic(expected = "is being run already")]
fn concurrent_run_of_one_universe_panics() {
    let universe = Universe::simulated(1);
    let same = universe.clone();
    universe.run(async move { same.run(async {}) });
}
