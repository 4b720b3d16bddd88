//! Tests that spin: their clock stands still, since somebody is always at work.

use std::{
    hint,
    time::{Duration, Instant},
};

use erps::{Universe, time};
use smol::{channel, future};

use super::fails;
use crate::support::scale::short_or_long;

const HOUR: Duration = Duration::from_secs(3600);

#[erps::test(simulated)]
#[ignore = "it spins"]
async fn yields() {
    loop {
        future::yield_now().await;
    }
}

#[erps::test(simulated)]
#[ignore = "it spins"]
async fn yields_until_its_clock_says_so() {
    time::sleep(Duration::from_secs(3)).await;
    let until = time::now() + HOUR;
    while time::now() < until {
        future::yield_now().await;
    }
}

#[erps::test(simulated)]
#[ignore = "it spins"]
async fn yields_until_the_real_clock_says_so() {
    let until = Instant::now() + HOUR;
    while Instant::now() < until {
        future::yield_now().await;
    }
}

#[erps::test(simulated)]
#[ignore = "it spins"]
async fn reads_its_clock_and_never_awaits() {
    let until = time::now() + HOUR;
    while time::now() < until {
        hint::spin_loop();
    }
}

#[erps::test(simulated)]
#[ignore = "it spins"]
async fn sleeps_for_no_time() {
    let until = time::now() + HOUR;
    while time::now() < until {
        time::sleep(Duration::ZERO).await;
    }
}

#[erps::test(simulated)]
#[ignore = "it spins"]
async fn waits_beside_a_task_that_yields() {
    let _spins = erps::spawn(async {
        loop {
            future::yield_now().await;
        }
    });
    time::sleep(HOUR).await;
}

#[erps::test(simulated)]
#[ignore = "it spins"]
async fn waits_beside_a_task_that_reads_its_clock() {
    let _spins = erps::spawn(async {
        let until = time::now() + HOUR;
        while time::now() < until {}
    });
    time::sleep(HOUR).await;
}

#[erps::test(simulated)]
#[ignore = "it spins"]
async fn leaves_a_task_that_yields() {
    let spins = erps::spawn(async {
        loop {
            future::yield_now().await;
        }
    });
    spins.detach();
}

#[erps::test(simulated)]
#[ignore = "it spins"]
async fn waits_beside_two_that_wake_each_other() {
    let (to_one, of_one) = channel::bounded(1);
    let (to_two, of_two) = channel::bounded(1);
    to_one.send(()).await.unwrap();
    let pass = async |from: channel::Receiver<()>, to: channel::Sender<()>| {
        while from.recv().await.is_ok() {
            to.send(()).await.unwrap();
        }
    };
    let _one = erps::spawn(pass(of_one, to_two));
    let _two = erps::spawn(pass(of_two, to_one));
    time::sleep(HOUR).await;
}

#[test]
fn livelock_fails_the_test_with_the_name_of_the_task() {
    // Each computes for a second or more. The first ones show all that is reported.
    let rows = [
        (
            "yields_until_its_clock_says_so",
            "the main future was polled",
        ),
        (
            "reads_its_clock_and_never_awaits",
            "the main future has read the clock",
        ),
        (
            "waits_beside_a_task_that_yields",
            "a future created at tests/it/attribute/livelock.rs:",
        ),
        (
            "leaves_a_task_that_yields",
            "a future created at tests/it/attribute/livelock.rs:",
        ),
        ("yields", "the main future was polled"),
        (
            "yields_until_the_real_clock_says_so",
            "the main future was polled",
        ),
        ("sleeps_for_no_time", "the main future was polled"),
        (
            "waits_beside_a_task_that_reads_its_clock",
            "a future created at tests/it/attribute/livelock.rs:",
        ),
        (
            "waits_beside_two_that_wake_each_other",
            "a future created at tests/it/attribute/livelock.rs:",
        ),
    ];
    let rows = &rows[..short_or_long(4, rows.len())];
    for (fixture, who) in rows {
        let text = fails(&format!("livelock::{fixture}"), &[]);
        assert!(
            text.contains(&format!("` (seed 0) is in a livelock: {who}")),
            "{fixture}: {text}"
        );
        let stands = match *fixture {
            "yields_until_its_clock_says_so" => "still at 3s: ",
            _ => "still at 0ns: ",
        };
        assert!(text.contains(stands), "{text}");
        // Not by the limit of real time.
        assert!(!text.contains("the test timed out"), "{text}");
    }
}

#[erps::test(simulated)]
async fn frequent_yields_with_advancing_clock_are_no_livelock() {
    for _ in 0..4 {
        for _ in 0..100_000 {
            future::yield_now().await;
        }
        time::sleep(Duration::from_nanos(1)).await;
    }
    assert_eq!(
        Universe::current().unwrap().clock().unwrap().elapsed(),
        Duration::from_nanos(4)
    );
}

#[erps::test(timeout = 1)]
#[ignore = "it never ends"]
async fn computes() {
    let computes = erps::spawn(async {
        loop {
            hint::spin_loop();
        }
    });
    computes.await
}

#[test]
fn computing_test_times_out_with_the_name_of_the_task() {
    let text = fails("livelock::computes", &[]);
    let says = "; a future created at tests/it/attribute/livelock.rs:";
    let line = text.lines().find(|line| line.contains(says));
    assert!(
        line.is_some_and(|line| line.contains(" is being polled")),
        "{text}"
    );
}
