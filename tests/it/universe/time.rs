//! A clock and chance of a universe's own.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use erps::{Universe, time, universe};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn an_hour_of_waiting_takes_no_time() {
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
fn two_universes_have_two_clocks() {
    let (a, b) = (Universe::simulated(1), Universe::simulated(1));
    a.run(time::sleep(HOUR));
    assert_eq!(a.clock().unwrap().elapsed(), HOUR);
    assert_eq!(b.clock().unwrap().elapsed(), Duration::ZERO);
}

#[test]
fn the_clock_stands_still_while_a_task_runs_elsewhere() {
    let universe = Universe::simulated(1);
    universe.run(async {
        let (say, hear) = async_channel::bounded::<()>(1);
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
fn without_run_the_clock_leaps_too() {
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
fn the_seed_decides() {
    assert_eq!(order_of(7), order_of(7));
    assert_ne!(order_of(7), order_of(8));
}

#[test]
fn no_time_passes_between_the_end_of_a_foreign_task_and_the_waking_of_whoever_waits() {
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
fn the_clock_moves_on_after_a_run() {
    let universe = Universe::simulated(1);
    let nap = universe.enter(|| smol::spawn(universe::inherit(time::sleep(10 * HOUR))));
    universe.run(time::sleep(HOUR));
    smol::block_on(nap);
    assert_eq!(universe.clock().unwrap().elapsed(), 10 * HOUR);
}

#[test]
#[should_panic(expected = "is being run already")]
fn a_universe_is_run_once_at_a_time() {
    let universe = Universe::simulated(1);
    let same = universe.clone();
    universe.run(async move { same.run(async {}) });
}
