//! Environment variables, limits of a run, and what a hanging test reports.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use smol::future;
use test_universe::{Check, Network, Universe, time};

use crate::support::{run_fixture, secs};

#[test_universe::test(simulated)]
#[ignore = "it prints its seed and fails"]
async fn fails_with_its_seed() {
    panic!("seed {}", Universe::current().unwrap().seed().unwrap());
}

#[test]
#[ignore = "it prints its seed and fails"]
fn of_a_library_fails_with_its_seed() {
    let name = concat!(module_path!(), "::of_a_library_fails_with_its_seed");
    Check::new(name)
        .simulated()
        .env_prefix("SHOP")
        .run(async || {
            let seed = Universe::current().unwrap().seed().unwrap();
            assert_eq!(seed, u64::MAX, "seed {seed}");
        });
}

fn fails(fixture: &str, variables: &[(&str, &str)]) -> String {
    let output = run_fixture(&format!("settings::{fixture}"), variables);
    assert!(!output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn universe_seed_sets_the_seed_and_is_named_to_reproduce_a_failure() {
    let text = fails("fails_with_its_seed", &[("UNIVERSE_SEED", "17")]);
    assert!(text.contains("seed 17"), "{text}");
    let line = "to reproduce: UNIVERSE_SEED=17 cargo test -p test-universe settings::fails_with_its_seed -- --exact";
    assert!(text.contains(line), "{text}");
}

#[test]
fn variable_of_another_library_is_ignored() {
    let text = fails("fails_with_its_seed", &[("SHOP_SEED", "17")]);
    assert!(text.contains("seed 0"), "{text}");
}

#[test]
fn variable_with_the_prefix_of_a_library_overrides_universe_seed() {
    let fixture = "of_a_library_fails_with_its_seed";
    let text = fails(fixture, &[("UNIVERSE_SEED", "17")]);
    assert!(text.contains("seed 17"), "{text}");
    assert!(text.contains("to reproduce: SHOP_SEED=17 "), "{text}");
    let both = [("UNIVERSE_SEED", "17"), ("SHOP_SEED", "18")];
    let text = fails(fixture, &both);
    assert!(text.contains("seed 18"), "{text}");
    let malformed = [("UNIVERSE_SEED", "x"), ("SHOP_SEED", "18")];
    let text = fails(fixture, &malformed);
    assert!(text.contains("UNIVERSE_SEED is \"x\""), "{text}");
}

/// What a run panics with.
fn failure<T>(universe: &Universe, main: impl Future<Output = T>) -> String {
    let run = catch_unwind(AssertUnwindSafe(|| universe.run(main)));
    let panic = run.err().expect("the run fails");
    *panic.downcast::<String>().unwrap()
}

async fn keepalive() {
    loop {
        time::sleep(secs(15)).await;
    }
}

#[test]
fn run_fails_at_its_virtual_limit_when_other_timers_keep_the_clock_going() {
    let began = Instant::now();
    let universe = Universe::simulated(1);
    let text = failure(&universe, async {
        let _keepalive = test_universe::spawn(keepalive());
        future::pending::<()>().await;
    });
    assert!(
        text.contains("has reached its limit of 604800s of virtual time"),
        "{text}"
    );
    assert!(began.elapsed() < secs(30));
    assert_eq!(universe.clock().unwrap().elapsed(), secs(604_800));
}

#[test]
fn timer_at_the_virtual_limit_fires_and_one_beyond_it_fails() {
    let limited = || Universe::simulated(1).virtual_limit(secs(10));
    limited().run(time::sleep(secs(10)));
    let text = failure(&limited(), time::sleep(secs(10) + Duration::from_nanos(1)));
    assert!(
        text.contains("the next timer is due at 10.000000001s"),
        "{text}"
    );
}

#[test]
fn advancing_the_clock_by_hand_does_not_count_towards_the_virtual_limit() {
    let universe = Universe::simulated(1).virtual_limit(secs(10));
    let clock = universe.clock().unwrap();
    universe.run(async {
        time::sleep(secs(4)).await;
        clock.advance(secs(100));
        time::sleep(secs(6)).await;
    });
    assert_eq!(universe.clock().unwrap().elapsed(), secs(110));
}

#[test_universe::test(simulated, virtual_limit = "8d")]
async fn attribute_sets_the_virtual_limit() {
    time::sleep(secs(8 * 24 * 3600)).await;
}

#[test]
fn deadlock_report_names_what_the_main_future_waits_for() {
    let universe = || Universe::simulated(1).external_timeout(Duration::from_millis(10));
    let mut line = 0;
    let text = failure(&universe(), async {
        let network = Network::current().unwrap();
        let listener = network.listen(([127, 0, 0, 1], 4747).into()).unwrap();
        line = line!() + 1;
        drop(listener.accept().await);
    });
    let waits = format!(
        "a pending accept created at {}:{line}, which the main future waits for",
        file!()
    );
    assert!(text.contains(&waits), "{text}");
    assert!(text.contains("through `unblock`"), "{text}");
}

#[test_universe::test(timeout = "100ms")]
#[ignore = "it hangs"]
async fn hangs_in_a_sleep() {
    time::sleep(secs(3600)).await;
}

#[test]
fn timed_out_test_reports_where_it_waits() {
    let text = fails("hangs_in_a_sleep", &[]);
    let report = "the test timed out after 100ms of real time, and was dropped; the main future waits for a running timer";
    assert!(text.contains(report), "{text}");
}

#[test]
fn task_ends_within_the_shutdown_timeout_of_its_universe() {
    let slow = async {
        test_universe::spawn(time::sleep(secs(5))).detach();
    };
    Universe::simulated(1).shutdown_timeout(secs(5)).run(slow);
    let slow = async {
        test_universe::spawn(time::sleep(secs(5))).detach();
    };
    let text = failure(&Universe::simulated(1).shutdown_timeout(secs(4)), slow);
    assert!(text.contains("has ended, and these have not"), "{text}");
}
