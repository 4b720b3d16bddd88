//! Tests made by the attribute, and what the environment does to them.
//!
//! Some are fixtures: they fail, or ask the environment. They are ignored, and run by others in a
//! process of their own.

mod livelock;
mod panics;

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::Output,
    sync::{
        Barrier, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use erps::{BoxError, Universe, time, universe::Check};

use crate::support::subprocess;

#[erps::test]
async fn attribute_runs_a_test_in_a_universe_with_the_real_clock() {
    assert_eq!(Universe::current().unwrap().seed(), None);
}

#[erps::test(simulated, virtual_limit = "366d")]
async fn simulated_test_sleeps_a_year_at_once() {
    time::sleep(Duration::from_secs(365 * 24 * 3600)).await;
}

#[erps::test]
async fn test_can_return_a_result() -> Result<(), BoxError> {
    assert_eq!("17".parse::<u64>()?, 17);
    Ok(())
}

/// Documented.
#[erps::test]
#[should_panic(expected = "as the test asks")]
pub(crate) async fn a_test_may_be_expected_to_panic() {
    panic!("it panics as the test asks, and says so");
}

#[erps::test]
async fn test_runs_on_a_thread_with_its_name() {
    let name = "attribute::test_runs_on_a_thread_with_its_name";
    assert_eq!(thread::current().name(), Some(name));
}

#[test]
fn check_runs_with_all_its_seeds() {
    static SEEN: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
    let name = concat!(module_path!(), "::check_runs_with_all_its_seeds");
    Check::new(name)
        .env_prefix("ERPS")
        .simulated()
        .seeds(3..7)
        .run(|| async {
            let seed = Universe::current().unwrap().seed().unwrap();
            SEEN.lock().unwrap().insert(seed);
        });
    assert!(SEEN.lock().unwrap().iter().eq(&[3, 4, 5, 6]));
}

#[erps::test(simulated, seeds = 0x100..0x200, timeout = 30)]
#[ignore = "it fails with some seeds"]
async fn unlucky_with_seed_300() {
    let seed = Universe::current().unwrap().seed();
    assert_ne!(seed, Some(300), "as the test asks");
}

#[erps::test(simulated, seeds = 5)]
#[ignore = "it fails with some chance"]
async fn unlucky_by_chance() {
    assert_ne!(time::random() % 50, 7, "as the test asks");
}

#[erps::test]
#[ignore = "it fails"]
async fn returns_an_error() -> Result<(), BoxError> {
    Err("as the test asks".into())
}

#[erps::test]
#[ignore = "it waits for three copies of itself"]
async fn waits_for_three_copies() {
    static MEETING: Barrier = Barrier::new(3);
    static UNIVERSES: AtomicU32 = AtomicU32::new(0);
    assert!(Universe::current().is_some());
    UNIVERSES.fetch_add(1, Relaxed);
    MEETING.wait();
    assert_eq!(UNIVERSES.load(Relaxed), 3);
}

#[erps::test]
#[ignore = "one of its copies fails, the others wait for ever"]
async fn one_copy_fails() {
    static COPIES: AtomicU32 = AtomicU32::new(0);
    assert_ne!(COPIES.fetch_add(1, Relaxed), 1, "as the test asks");
    smol::future::pending().await
}

#[erps::test]
#[ignore = "it never ends"]
async fn waits_for_ever() {
    let _guard = Said("it was dropped");
    smol::future::pending().await
}

#[erps::test(simulated)]
#[ignore = "it never ends"]
async fn naps_for_ever() {
    let _guard = Said("it was dropped");
    loop {
        time::sleep(Duration::from_secs(1)).await;
    }
}

#[erps::test(timeout = 1)]
#[ignore = "it never ends"]
async fn blocks_for_ever() {
    Barrier::new(2).wait();
}

#[erps::test(simulated)]
#[ignore = "it says which seed it runs with"]
async fn says_its_seed() {
    println!("[{}]", Universe::current().unwrap().seed().unwrap());
}

#[erps::test(simulated)]
#[ignore = "it leaves somebody behind"]
async fn leaves_somebody_behind() {
    let _nobody_ends_it = erps::DynamicSupervisor::builder().name("orphan").start();
}

#[erps::test(simulated)]
#[ignore = "it fails, and leaves somebody behind"]
async fn fails_and_leaves_somebody_behind() -> Result<(), BoxError> {
    let _nobody_ends_it = erps::DynamicSupervisor::builder().start();
    Err("the cause".into())
}

#[erps::test(timeout = 1)]
#[ignore = "it never ends"]
async fn waits_beside_a_supervisor() {
    let _supervisor = erps::DynamicSupervisor::builder().name("idle").start_link();
    smol::future::pending().await
}

const LEFT_BEHIND: u32 = line!() - 17;

struct Said(&'static str);

impl Drop for Said {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

/// Runs one of the fixtures in a process of its own.
fn run(fixture: &str, variables: &[(&str, &str)]) -> Output {
    subprocess::run(&format!("attribute::{fixture}"), variables)
}

/// All that it says, if it passes.
fn passes(fixture: &str, variables: &[(&str, &str)]) -> String {
    let output = run(fixture, variables);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
    assert!(!text.contains("to reproduce"), "{text}");
    text
}

/// All that it says, if it fails.
fn fails(fixture: &str, variables: &[(&str, &str)]) -> String {
    let output = run(fixture, variables);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("1 failed"), "{text}");
    text
}

/// The one line that says how to run it again, without its beginning.
fn again(text: &str) -> &str {
    let mut lines = text
        .lines()
        .filter_map(|it| it.strip_prefix("to reproduce: "));
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("no such line: {text}"));
    assert_eq!(lines.next(), None, "{text}");
    line
}

#[test]
fn failing_seed_is_found_and_reproduced() {
    let text = fails("unlucky_with_seed_300", &[]);
    let line =
        "ERPS_SEED=300 cargo test -p erps attribute::unlucky_with_seed_300 -- --exact --ignored";
    assert_eq!(again(&text), line);
    let text = fails("unlucky_with_seed_300", &[("ERPS_SEED", "300")]);
    assert_eq!(again(&text), line);
    assert!(text.contains("as the test asks"), "{text}");
    passes("unlucky_with_seed_300", &[("ERPS_SEED", "301")]);
}

#[test]
fn seed_determines_random_numbers_of_a_failure() {
    let found = fails("unlucky_by_chance", &[("ERPS_SEEDS", "1000")]);
    let line = again(&found);
    let seed = line.strip_prefix("ERPS_SEED=").unwrap();
    let (seed, _) = seed.split_once(' ').unwrap();
    assert_eq!(
        again(&fails("unlucky_by_chance", &[("ERPS_SEED", seed)])),
        line
    );
    // It was the first that failed.
    passes("unlucky_by_chance", &[("ERPS_SEEDS", seed)]);
}

#[test]
fn panic_is_reported_at_its_own_line() {
    let source = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file!()));
    let source = source.unwrap();
    let mut lines = (1..).zip(source.lines());
    let (number, _) = lines
        .find(|(_, it)| it.contains("assert_ne!(seed"))
        .unwrap();
    let text = fails("unlucky_with_seed_300", &[("ERPS_SEED", "300")]);
    let place = format!("panicked at {}:{number}:5:", file!());
    assert_eq!(text.matches("panicked at").count(), 1, "{text}");
    assert!(text.contains(&place), "{place} is not in {text}");
    assert!(
        text.contains("thread 'attribute::unlucky_with_seed_300' "),
        "{text}"
    );
}

#[test]
fn returned_error_is_reported() {
    let text = fails("returns_an_error", &[]);
    assert!(
        text.contains("the test returned an error: as the test asks\n"),
        "{text}"
    );
    assert_eq!(
        again(&text),
        "cargo test -p erps attribute::returns_an_error -- --exact --ignored"
    );
}

#[test]
fn seed_variables_take_decimal_and_hexadecimal_numbers_and_ranges() {
    let seeds = |name, value| -> Vec<u64> {
        let text = passes("says_its_seed", &[(name, value)]);
        let lines = text
            .lines()
            .filter_map(|it| it.strip_prefix('[')?.strip_suffix(']'));
        lines.map(|it| it.parse().unwrap()).collect()
    };
    assert_eq!(seeds("UNRELATED", ""), [0]);
    assert_eq!(seeds("ERPS_SEED", "0x11"), [17]);
    assert_eq!(seeds("ERPS_SEEDS", "3"), [0, 1, 2]);
    assert_eq!(seeds("ERPS_SEEDS", "9..0xb"), [9, 10]);
}

#[test]
fn seed_variable_overrides_seeds_variable() {
    let both = [("ERPS_SEED", "5"), ("ERPS_SEEDS", "100")];
    let text = passes("says_its_seed", &both);
    assert_eq!(text.matches("\n[").count(), 1, "{text}");
    assert!(text.contains("\n[5]\n"), "{text}");
}

#[test]
fn copies_run_concurrently() {
    passes("waits_for_three_copies", &[("ERPS_REPLICATION", "3")]);
    let few = [("ERPS_REPLICATION", "2"), ("ERPS_TIMEOUT", "1")];
    fails("waits_for_three_copies", &few);
}

#[test]
fn failing_copy_stops_the_others() {
    let begun = Instant::now();
    let text = fails("one_copy_fails", &[("ERPS_REPLICATION", "20")]);
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(text.contains("as the test asks"), "{text}");
    let line =
        "ERPS_REPLICATION=20 cargo test -p erps attribute::one_copy_fails -- --exact --ignored";
    assert_eq!(again(&text), line);
}

#[test]
fn waiting_test_times_out_and_is_dropped() {
    for fixture in ["waits_for_ever", "naps_for_ever"] {
        let text = fails(fixture, &[("ERPS_TIMEOUT", "1")]);
        let hangs = "the test timed out after 1s of real time, and was dropped";
        assert!(text.contains(hangs), "{text}");
        assert!(text.contains("it was dropped"), "{text}");
        assert!(
            again(&text).contains("ERPS_TIMEOUT=1 cargo test -p erps "),
            "{text}"
        );
    }
}

#[test]
fn blocking_test_times_out_and_its_thread_is_left_running() {
    let text = fails("blocks_for_ever", &[]);
    let hangs = "the test timed out after 1s of real time, and 1 of its threads could not be stopped, since they compute or \
                 block, as in a `block_on` or at a lock that is held over an `.await`; the main future is being polled\n";
    assert!(text.contains(hangs), "{text}");
    assert_eq!(
        again(&text),
        "cargo test -p erps attribute::blocks_for_ever -- --exact --ignored"
    );
}

#[test]
fn malformed_variable_fails_every_test() {
    let malformed = [
        ("ERPS_SEED", "x"),
        ("ERPS_SEED", ""),
        ("ERPS_SEED", "-1"),
        ("ERPS_SEED", "0x"),
        ("ERPS_SEED", "18446744073709551616"),
        ("ERPS_SEEDS", "0"),
        ("ERPS_SEEDS", "7..7"),
        ("ERPS_SEEDS", "7.."),
        ("ERPS_SEEDS", "many"),
        ("ERPS_REPLICATION", "0"),
        ("ERPS_REPLICATION", "twice"),
        ("ERPS_TIMEOUT", "0"),
        ("ERPS_TIMEOUT", "1s"),
    ];
    for (name, value) in malformed {
        let text = fails("waits_for_three_copies", &[(name, value)]);
        let says = format!("{name} is {value:?}, but has to be ");
        assert!(text.contains(&says), "{says} is not in {text}");
    }
}

#[test]
fn leak_fails_the_test_with_the_line_that_created_it() {
    let text = fails("leaves_somebody_behind", &[]);
    let universe = "the universe `it::attribute::leaves_somebody_behind` (seed 0) has ended";
    assert!(text.contains(universe), "{text}");
    let orphan = format!("the supervisor `orphan` created at tests/it/attribute.rs:{LEFT_BEHIND}");
    assert!(text.contains(&orphan), "{text}");
    is_shown_at_the_test(&text);
    assert!(
        text.contains("\nits simulated clock was at 0ns\n"),
        "{text}"
    );
}

/// Not at a line of the library.
fn is_shown_at_the_test(text: &str) {
    let panics = text.lines().filter(|it| it.contains("panicked at"));
    for panic in panics {
        assert!(panic.contains(file!()), "{panic}");
    }
}

#[test]
fn returned_error_is_reported_instead_of_leaks() {
    let text = fails("fails_and_leaves_somebody_behind", &[]);
    assert!(
        text.contains("the test returned an error: the cause"),
        "{text}"
    );
    assert!(!text.contains("have not"), "{text}");
    is_shown_at_the_test(&text);
}

#[test]
fn timed_out_test_reports_live_resources() {
    let text = fails("waits_beside_a_supervisor", &[]);
    assert!(
        text.contains("the supervisor `idle` created at tests/it/attribute.rs"),
        "{text}"
    );
}
