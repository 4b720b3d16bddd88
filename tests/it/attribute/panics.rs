//! Panics of tasks: they fail the test in whose universe they are, unless it expects them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};

use erps::{ChildSpec, DynamicSupervisor, Restart, ServerRef, Universe, time, universe};
use smol::future;

use super::fails;
use crate::support::test_server::{self, Call, TestServer};

async fn a_moment() {
    time::sleep(Duration::from_millis(1)).await;
}

fn panics() {
    panic!("as the test asks, here");
}

const HERE: u32 = line!() - 3;

async fn spawned() {
    erps::spawn(async { panics() }).detach();
    a_moment().await;
}

async fn awaited() {
    let task = erps::spawn(async { panics() });
    while !task.is_finished() {
        a_moment().await;
    }
}

async fn child() {
    let supervisor = DynamicSupervisor::builder().start_link();
    let spec = ChildSpec::task("writer", |_| async {
        panics();
        future::pending().await
    });
    let spec = spec.restart(Restart::Temporary);
    let child = supervisor.start_child(spec).await.unwrap();
    child.exited().await;
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panics();
    }
}

async fn destructor() {
    drop(erps::spawn(async {
        let _bomb = Bomb;
        future::pending::<()>().await
    }));
    let task = erps::spawn(async {
        let _bomb = Bomb;
        future::pending::<()>().await
    });
    a_moment().await;
    drop(task);
    a_moment().await;
}

async fn inherited() {
    assert!(thread::spawn(universe::inherit_fn(panics)).join().is_err());
    let executor = smol::Executor::new();
    let task = executor.spawn(universe::inherit(async { panics() }));
    while executor.try_tick() {}
    assert!(task.is_finished());
}

async fn server() {
    let server = ServerRef::<TestServer>::builder(test_server::seed().0)
        .start()
        .await;
    assert!(server.unwrap().call(Call::Crash).await.is_err());
}

#[erps::test]
#[ignore = "it fails"]
async fn a_spawned_task_panics() {
    spawned().await;
}

#[erps::test(simulated)]
#[ignore = "it fails"]
async fn an_awaited_task_panics() {
    awaited().await;
}

#[erps::test(simulated)]
#[ignore = "it fails"]
async fn a_child_panics() {
    child().await;
}

#[erps::test(simulated)]
#[ignore = "it fails"]
async fn a_destructor_panics() {
    destructor().await;
}

#[erps::test]
#[ignore = "it fails"]
async fn inheritors_panic() {
    inherited().await;
}

#[erps::test]
#[ignore = "it fails"]
async fn a_server_panics() {
    server().await;
}

#[test]
fn panic_of_a_task_fails_the_test_with_task_message_and_line() {
    let file = file!();
    let rows = [
        ("a_spawned_task_panics", "a future created at"),
        ("an_awaited_task_panics", "a future created at"),
        ("a_child_panics", "the child `writer` created at"),
        ("a_destructor_panics", "a future created at"),
        ("inheritors_panic", "a closure created at"),
        ("inheritors_panic", "a future created at"),
    ];
    for (fixture, who) in rows {
        let text = fails(&format!("panics::{fixture}"), &[]);
        let whole = format!("panicked at {file}:{HERE}: as the test asks, here");
        let said = |line: &str| line.contains(who) && line.contains(&whole);
        assert!(text.lines().any(said), "{fixture}: {text}");
        assert!(
            text.contains("has unexpected panics in its tasks"),
            "{text}"
        );
    }
    let text = fails("panics::a_server_panics", &[]);
    assert!(
        text.contains("the server `it::support::test_server::TestServer` created at"),
        "{text}"
    );
}

#[erps::test(panics = "as the test asks")]
async fn expected_panic_of_a_task_passes_the_test() {
    spawned().await;
    child().await;
    destructor().await;
    inherited().await;
    server().await;
}

#[erps::test(simulated, seeds = 3, allow_panics)]
async fn allowed_panics_of_tasks_pass_the_test() {
    spawned().await;
}

#[erps::test(allow_panics = "as the test asks")]
async fn allowed_panic_is_not_required() {}

#[erps::test(simulated)]
async fn expect_panics_works_before_and_after_the_panic() {
    let here = Universe::current().unwrap();
    here.expect_panics("the test asks");
    spawned().await;
    erps::spawn(async { panic!("another one") }).detach();
    a_moment().await;
    here.expect_panics("another");
}

#[erps::test(panics = "another text")]
#[ignore = "it fails"]
async fn another_panic_is_expected() {
    spawned().await;
}

#[erps::test(panics = "another text")]
#[ignore = "it fails"]
async fn a_panic_is_expected_that_does_not_come() {}

#[test]
fn missing_expected_panic_fails_the_test() {
    for fixture in [
        "another_panic_is_expected",
        "a_panic_is_expected_that_does_not_come",
    ] {
        let text = fails(&format!("panics::{fixture}"), &[]);
        assert!(
            text.contains("no task has panicked with \"another text\""),
            "{text}"
        );
        let other = text.contains("panicked at") && text.contains(": as the test asks, here");
        assert_eq!(other, fixture == "another_panic_is_expected", "{text}");
    }
}

#[erps::test(simulated)]
#[ignore = "it fails"]
async fn a_task_and_the_test_panic() {
    spawned().await;
    panic!("the test itself");
}

#[erps::test(timeout = 1)]
#[ignore = "it never ends"]
async fn a_task_panics_and_the_test_hangs() {
    spawned().await;
    future::pending().await
}

#[test]
fn failing_test_reports_panics_of_its_tasks() {
    let text = fails("panics::a_task_and_the_test_panic", &[]);
    assert!(text.contains("the test itself"), "{text}");
    assert!(text.contains("a future created at"), "{text}");
    let text = fails("panics::a_task_panics_and_the_test_hangs", &[]);
    assert!(text.contains("the test timed out"), "{text}");
    assert!(
        text.contains("\npanics before that:\n  a future created at"),
        "{text}"
    );
}

#[erps::test(simulated, allow_panics)]
#[should_panic(expected = "the test itself")]
async fn allow_panics_does_not_cover_the_test_itself() {
    panic!("the test itself");
}

#[test]
fn panic_list_is_limited() {
    let universe = Universe::simulated(1);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        universe.run(async {
            for _ in 0..100 {
                spawned().await;
            }
        });
    }));
    let text = outcome.unwrap_err();
    let text: &String = text.downcast_ref().unwrap();
    assert_eq!(text.matches("a future created at").count(), 20, "{text}");
    assert!(text.contains("\n  and 80 more panics"), "{text}");
    // What was told of is not told of again.
    universe.run(async {});
}
