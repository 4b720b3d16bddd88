//! Terminating children and supervisors.

use super::*;
use crate::support::{
    cores::cores,
    time::{STEP, at_once, ms, timed},
};

#[test]
fn terminate_child_requests_shutdown_and_waits_for_the_exit() {
    for how in [Shutdown::Within(LONG), Shutdown::Infinity] {
        run(async {
            let supervisor = supervisor();
            let ((asked, is_asked), (leave, left)) = (channel::unbounded(), channel::bounded(1));
            let spec = polite(&asked, &left).shutdown(how);
            let child = supervisor.start_child(spec).await.unwrap();
            let terminate = async {
                supervisor.terminate_child(&child).await.unwrap();
                assert!(!child.is_alive());
            };
            let meanwhile = async {
                is_asked.recv().await.unwrap();
                assert_eq!(counts(&supervisor).await, (1, 1));
                drop(leave);
            };
            future::zip(terminate, meanwhile).await;
            let reason = child.exited().await;
            assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
            assert_eq!(counts(&supervisor).await, (0, 0));
        });
    }
}

/// A child that takes this long to exit after a shutdown request.
fn slow(takes: Duration) -> ChildSpec {
    ChildSpec::task("slow", move |me| async move {
        let reason = me.shutdown_requested().await;
        time::sleep(takes).await;
        reason
    })
}

#[erps::test(simulated)]
async fn terminate_child_kills_a_child_after_its_shutdown_time() {
    for (takes, in_time) in [(ms(10) - STEP, true), (ms(10) + STEP, false)] {
        let supervisor = DynamicSupervisor::builder().start_link();
        let spec = slow(takes).shutdown(Shutdown::Within(ms(10)));
        let child = supervisor.start_child(spec).await.unwrap();
        let (outcome, took) = timed(supervisor.terminate_child(&child)).await;
        outcome.unwrap();
        assert_eq!(took, takes.min(ms(10)));
        match child.exit_reason() {
            Some(ExitReason::Shutdown) => assert!(in_time),
            Some(ExitReason::Killed) => assert!(!in_time),
            reason => panic!("{reason:?}"),
        }
        assert_eq!(counts(&supervisor).await, (0, 0));
    }
}

#[erps::test(simulated)]
async fn shutdown_time_is_five_seconds_by_default() {
    let supervisor = DynamicSupervisor::builder().start_link();
    let child = supervisor.start_child(stubborn()).await.unwrap();
    let (outcome, took) = timed(supervisor.terminate_child(&child)).await;
    outcome.unwrap();
    assert_eq!(took, Duration::from_secs(5));
    let patient = slow(LONG).shutdown(Shutdown::Infinity);
    let child = supervisor.start_child(patient).await.unwrap();
    let (outcome, took) = timed(supervisor.terminate_child(&child)).await;
    outcome.unwrap();
    assert_eq!(took, LONG);
    assert!(matches!(child.exit_reason(), Some(ExitReason::Shutdown)));
}

#[erps::test(simulated)]
async fn brutal_kill_sends_no_shutdown_request() {
    let supervisor = DynamicSupervisor::builder().start_link();
    let ((asked, is_asked), (_leave, left)) = (channel::unbounded(), channel::bounded(1));
    let spec = polite(&asked, &left).shutdown(Shutdown::BrutalKill);
    let child = supervisor.start_child(spec).await.unwrap();
    at_once(supervisor.terminate_child(&child)).await.unwrap();
    let reason = child.exit_reason();
    assert!(matches!(reason, Some(ExitReason::Killed)), "{reason:?}");
    assert!(is_asked.is_empty());
}

#[test]
fn concurrent_terminate_child_succeeds_twice_and_then_fails_with_not_found() {
    run(async {
        let supervisor = supervisor();
        let ((asked, is_asked), (leave, left)) = (channel::unbounded(), channel::bounded(1));
        let child = supervisor.start_child(polite(&asked, &left)).await.unwrap();
        let twice = future::zip(
            supervisor.terminate_child(&child),
            supervisor.terminate_child(&child),
        );
        let meanwhile = async {
            is_asked.recv().await.unwrap();
            drop(leave);
        };
        let (twice, ()) = future::zip(twice, meanwhile).await;
        assert_eq!(twice, (Ok(()), Ok(())));
        let again = supervisor.terminate_child(&child).await;
        assert_eq!(again, Err(TerminateChildError::NotFound));
    });
}

#[test]
fn terminate_child_fails_with_not_found_for_a_child_of_another_supervisor() {
    run(async {
        let (own, another) = (supervisor(), supervisor());
        let child = own.start_child(idle()).await.unwrap();
        let outcome = another.terminate_child(&child).await;
        assert_eq!(outcome, Err(TerminateChildError::NotFound));
        assert!(child.is_alive());
    });
}

#[test]
fn child_can_be_terminated_while_it_restarts() {
    run(async {
        let supervisor = supervisor();
        let (entered, enters) = channel::unbounded();
        let other = self::supervisor();
        let first = other
            .start_child(idle().restart(Restart::Temporary))
            .await
            .unwrap();
        let task = first.clone();
        let spec = ChildSpec::new("once", move || {
            let (task, entered) = (task.clone(), entered.clone());
            async move {
                if task.is_alive() {
                    return Ok(task.into());
                }
                entered.send(()).await?;
                future::pending().await
            }
        });
        let child = supervisor.start_child(spec).await.unwrap();
        child.kill();
        enters.recv().await.unwrap();
        let children = supervisor.which_children().await.unwrap();
        assert_eq!(children[0].state, ChildState::Restarting);
        assert_eq!(counts(&supervisor).await, (1, 0));
        supervisor.terminate_child(&child).await.unwrap();
        assert_eq!(counts(&supervisor).await, (0, 0));
        assert!(supervisor.as_ref().is_alive());
    });
}

#[test]
fn exit_of_a_child_is_visible_to_its_supervisor_first() {
    let _cores = cores(4);
    run_on_real_clock(async {
        let threads = Threads::new();
        let supervisor = DynamicSupervisor::builder()
            .max_children(1)
            .executor(threads.executor.clone())
            .start();
        let spec = idle().restart(Restart::Temporary);
        for _ in 0..2_000 {
            let child = supervisor.start_child(spec.clone()).await.unwrap();
            child.request_shutdown();
            // Polls in a loop at first, to hit the moment of the exit; then waits, so that the task gets a
            // core if there are few.
            for _ in 0..1000 {
                if future::poll_once(child.exited()).await.is_some() {
                    break;
                }
            }
            child.exited().await;
        }
    });
}

#[erps::test(simulated)]
async fn dynamic_supervisor_shuts_its_children_down_concurrently() {
    let supervisor = DynamicSupervisor::builder().start_link();
    let ((asked, is_asked), (leave, left)) = (channel::unbounded(), channel::bounded(1));
    let mut children = Vec::new();
    for _ in 0..10 {
        let spec = polite(&asked, &left).shutdown(Shutdown::Infinity);
        children.push(supervisor.start_child(spec).await.unwrap());
    }
    let spec = stubborn().shutdown(Shutdown::BrutalKill);
    children.push(supervisor.start_child(spec).await.unwrap());
    let spec = stubborn().shutdown(Shutdown::Within(ms(10)));
    children.push(supervisor.start_child(spec).await.unwrap());

    let start = time::now();
    supervisor.as_ref().request_shutdown();
    at_once(async {
        for _ in 0..10 {
            is_asked.recv().await.unwrap();
        }
    })
    .await;
    drop(leave);
    let reason = supervisor.as_ref().exited().await;
    assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
    assert_eq!(time::now() - start, ms(10));
    assert!(!children.iter().any(TaskRef::is_alive));
}

#[test]
fn supervisor_that_is_shutting_down_starts_no_child() {
    run(async {
        let supervisor = supervisor();
        let ((asked, is_asked), (_leave, left)) = (channel::unbounded(), channel::bounded(1));
        supervisor.start_child(polite(&asked, &left)).await.unwrap();
        supervisor.as_ref().request_shutdown();
        is_asked.recv().await.unwrap();
        let outcome = supervisor.start_child(idle()).await;
        assert!(matches!(outcome, Err(StartChildError::SupervisorStopped)));
        assert_eq!(counts(&supervisor).await, (1, 1));
    });
}

#[erps::test(simulated)]
async fn children_of_a_killed_supervisor_are_shut_down() {
    let supervisor = DynamicSupervisor::builder().start_link();
    let polite = supervisor.start_child(idle()).await.unwrap();
    let spec = stubborn().shutdown(Shutdown::Within(ms(10)));
    let stubborn = supervisor.start_child(spec).await.unwrap();
    supervisor.as_ref().kill();
    let reason = at_once(polite.exited()).await;
    assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
    let (reason, took) = timed(stubborn.exited()).await;
    assert_eq!(took, ms(10));
    assert!(matches!(reason, ExitReason::Killed), "{reason}");
}

#[test]
fn dropping_the_linked_handle_shuts_the_supervisor_down() {
    run(async {
        let owner = DynamicSupervisor::builder().start_link();
        let handle = owner.clone();
        let child = handle.start_child(idle()).await.unwrap();
        drop(owner);
        handle.as_ref().exited().await;
        assert!(!child.is_alive());
    });
}

#[test]
fn pending_start_child_fails_when_the_supervisor_is_killed() {
    run(async {
        let supervisor = supervisor();
        let (entered, enters) = channel::unbounded();
        let kill = async {
            enters.recv().await.unwrap();
            supervisor.as_ref().kill();
        };
        let (outcome, ()) = future::zip(supervisor.start_child(endless(&entered)), kill).await;
        assert!(matches!(outcome, Err(StartChildError::SupervisorStopped)));
    });
}

#[test]
fn unread_command_fails_when_the_supervisor_is_killed() {
    run(async {
        let executor = Arc::new(Executor::new());
        let supervisor = DynamicSupervisor::builder()
            .executor(executor.clone())
            .start();
        let mut start = Box::pin(supervisor.start_child(idle()));
        assert!(future::poll_once(&mut start).await.is_none());
        supervisor.as_ref().kill();
        let outcome = executor.run(start).await;
        assert!(matches!(outcome, Err(StartChildError::SupervisorStopped)));
    });
}

#[test]
fn commands_fail_after_the_supervisor_has_exited() {
    run(async {
        let supervisor = supervisor();
        let child = supervisor.start_child(idle()).await.unwrap();
        supervisor.as_ref().shutdown(Shutdown::Infinity).await;
        let outcome = supervisor.start_child(idle()).await;
        assert!(matches!(outcome, Err(StartChildError::SupervisorStopped)));
        assert_eq!(
            supervisor.terminate_child(&child).await,
            Err(TerminateChildError::SupervisorStopped)
        );
        let listed = supervisor.which_children().await;
        assert!(matches!(listed, Err(SupervisorStopped)));
        assert_eq!(supervisor.count_children().await, Err(SupervisorStopped));
    });
}

/// Shuts a supervisor down while a start function is running, and then lets the function return a task.
async fn yield_too_late(other: &DynamicSupervisor, end: impl FnOnce(&TaskRef)) -> TaskRef {
    let threads = Threads::new();
    let supervisor = DynamicSupervisor::builder()
        .executor(threads.executor.clone())
        .start();
    let late = other
        .start_child(idle().restart(Restart::Temporary))
        .await
        .unwrap();
    let ((entered, enters), (go, gone)) = (channel::unbounded(), mpsc::channel::<()>());
    let gone = Mutex::new(gone);
    let task = late.clone();
    let spec = ChildSpec::new("late", move || {
        entered.try_send(()).unwrap();
        let _ = gone.lock().unwrap().recv();
        future::ready(Ok(task.clone().into()))
    });
    let start = supervisor.start_child(spec);
    let meanwhile = async {
        enters.recv().await.unwrap();
        end(supervisor.as_ref());
        while supervisor.start_child(idle()).await.is_ok() {}
        drop(go);
    };
    let (outcome, ()) = future::zip(start, meanwhile).await;
    assert!(matches!(outcome, Err(StartChildError::SupervisorStopped)));
    supervisor.as_ref().exited().await;
    late
}

#[test]
fn task_started_during_shutdown_is_stopped_before_the_supervisor_exits() {
    run_on_real_clock(async {
        let other = supervisor();
        let late = yield_too_late(&other, TaskRef::request_shutdown).await;
        assert!(!late.is_alive());
    });
}

#[test]
fn task_started_for_a_killed_supervisor_is_shut_down() {
    run_on_real_clock(async {
        let other = supervisor();
        let late = yield_too_late(&other, TaskRef::kill).await;
        let reason = late.exited().await;
        assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
    });
}
