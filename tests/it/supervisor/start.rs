//! Starting children, and the limit on their number.

use super::*;

#[test]
fn start_function_that_returns_ignore_leaves_no_child() {
    run(async {
        let supervisor = supervisor();
        let spec = ChildSpec::new("nothing", || async { Ok(Started::Ignore) });
        let outcome = supervisor.start_child(spec).await;
        assert!(matches!(outcome, Err(StartChildError::Ignored)));
        assert_eq!(counts(&supervisor).await, (0, 0));
    });
}

#[test]
fn start_child_returns_the_error_of_its_start_function() {
    run(async {
        let supervisor = supervisor();
        let spec = ChildSpec::new("broken", || async {
            Err("a".parse::<u8>().unwrap_err().into())
        });
        match supervisor.start_child(spec).await {
            Err(StartChildError::Failed(ExitReason::Error(error))) => {
                assert!(error.is::<std::num::ParseIntError>());
            }
            outcome => panic!("{outcome:?}"),
        }
        assert_eq!(counts(&supervisor).await, (0, 0));
    });
}

#[test]
fn start_child_returns_the_panic_message_of_its_start_function() {
    fn at_once() -> future::Ready<Result<Started, erps::BoxError>> {
        panic!("as the test asks")
    }
    run(expected(async {
        let supervisor = supervisor();
        let later = || async { panic!("as the test asks") };
        for spec in [
            ChildSpec::new("later", later),
            ChildSpec::new("at once", at_once),
        ] {
            match supervisor.start_child(spec).await {
                Err(StartChildError::Failed(ExitReason::Panic(message))) => {
                    assert_eq!(&*message, "as the test asks");
                }
                outcome => panic!("{outcome:?}"),
            }
        }
        assert_eq!(counts(&supervisor).await, (0, 0));
    }));
}

#[test]
fn pending_start_function_blocks_only_its_caller() {
    run(async {
        let supervisor = supervisor();
        let (entered, enters) = channel::unbounded();
        let caller = erps::spawn({
            let (supervisor, spec) = (DynamicSupervisor::clone(&supervisor), endless(&entered));
            async move { supervisor.start_child(spec).await }
        });
        enters.recv().await.unwrap();
        supervisor.start_child(idle()).await.unwrap();
        assert_eq!(counts(&supervisor).await, (2, 1));
        let states = supervisor.which_children().await.unwrap();
        assert!(
            states
                .iter()
                .any(|child| &*child.id == "endless" && child.state == ChildState::Starting)
        );
        supervisor.as_ref().shutdown(Shutdown::Infinity).await;
        let outcome = caller.await;
        assert!(matches!(outcome, Err(StartChildError::SupervisorStopped)));
    });
}

#[test]
fn start_function_can_start_a_child_under_its_own_supervisor() {
    run(async {
        let supervisor = supervisor();
        let inner = DynamicSupervisor::clone(&supervisor);
        let spec = ChildSpec::new("outer", move || {
            let supervisor = inner.clone();
            async move {
                supervisor.start_child(idle()).await?;
                Ok(Started::Ignore)
            }
        });
        let outcome = supervisor.start_child(spec).await;
        assert!(matches!(outcome, Err(StartChildError::Ignored)));
        assert_eq!(counts(&supervisor).await, (1, 1));
    });
}

#[test]
fn child_can_start_a_child_under_its_own_supervisor() {
    run(async {
        let supervisor = supervisor();
        let (started, starts) = channel::unbounded();
        let inner = DynamicSupervisor::clone(&supervisor);
        let spec = ChildSpec::task("outer", move |me| {
            let (supervisor, started) = (inner.clone(), started.clone());
            async move {
                let child = supervisor.start_child(idle()).await;
                started.send(child).await.unwrap();
                me.shutdown_requested().await
            }
        });
        supervisor.start_child(spec).await.unwrap();
        starts.recv().await.unwrap().unwrap();
        assert_eq!(counts(&supervisor).await, (2, 2));
    });
}

#[test]
fn exit_before_start_child_returns_is_handled() {
    for (restart, starts) in [(Restart::Temporary, 1), (Restart::Permanent, 4)] {
        run(async {
            let supervisor = DynamicSupervisor::builder()
                .max_restarts(3, LONG)
                .start_link();
            let (other, count) = (self::supervisor(), Arc::new(AtomicUsize::new(0)));
            let counted = count.clone();
            let spec = ChildSpec::new("short", move || {
                counted.fetch_add(1, SeqCst);
                let other = DynamicSupervisor::clone(&other);
                async move {
                    let body = ChildSpec::task("short", |_| future::ready(ExitReason::Normal));
                    let body = body.restart(Restart::Temporary);
                    let task = other.start_child(body).await?;
                    task.exited().await;
                    Ok(task.into())
                }
            });
            let child = supervisor.start_child(spec.restart(restart)).await.unwrap();
            assert!(!child.is_alive());
            match restart {
                Restart::Temporary => assert_eq!(counts(&supervisor).await, (0, 0)),
                _ => drop(supervisor.as_ref().exited().await),
            }
            assert_eq!(count.load(SeqCst), starts);
        });
    }
}

#[test]
fn start_child_fails_at_max_children_until_one_has_exited() {
    run(async {
        let supervisor = DynamicSupervisor::builder().max_children(2).start_link();
        let spec = idle().restart(Restart::Temporary);
        for _ in 0..20 {
            let first = supervisor.start_child(spec.clone()).await.unwrap();
            let second = supervisor.start_child(spec.clone()).await.unwrap();
            let third = supervisor.start_child(spec.clone()).await;
            assert!(matches!(third, Err(StartChildError::MaxChildren(2))));
            first.request_shutdown();
            first.exited().await;
            let third = supervisor.start_child(spec.clone()).await.unwrap();
            supervisor.terminate_child(&second).await.unwrap();
            supervisor.terminate_child(&third).await.unwrap();
        }
    });
}

#[test]
fn pending_start_counts_towards_max_children() {
    run(async {
        let supervisor = DynamicSupervisor::builder().max_children(1).start_link();
        let (entered, enters) = channel::unbounded();
        let mut start = Box::pin(supervisor.start_child(endless(&entered)));
        assert!(future::poll_once(&mut start).await.is_none());
        enters.recv().await.unwrap();
        let outcome = supervisor.start_child(idle()).await;
        assert!(matches!(outcome, Err(StartChildError::MaxChildren(1))));
    });
}

#[test]
fn which_children_returns_ids_states_and_restart_types() {
    run(async {
        let supervisor = supervisor();
        let one = supervisor.start_child(idle().id("one")).await.unwrap();
        let spec = idle().id("two").restart(Restart::Temporary);
        let two = supervisor.start_child(spec).await.unwrap();
        let mut children = supervisor.which_children().await.unwrap();
        children.sort_by_key(|child| child.id.clone());
        let listed: Vec<_> = children
            .into_iter()
            .map(|child| (child.id.to_string(), child.state, child.restart))
            .collect();
        assert_eq!(
            listed,
            [
                ("one".into(), ChildState::Running(one), Restart::Permanent),
                ("two".into(), ChildState::Running(two), Restart::Temporary),
            ]
        );
    });
}

#[test]
fn child_runs_in_the_universe_of_its_supervisor() {
    run_on_real_clock(async {
        let universe = Universe::new();
        let supervisor = universe.enter(supervisor);
        let (seen, sees) = channel::unbounded();
        let from_recipe = seen.clone();
        let recipe = ChildSpec::new("recipe", move || {
            from_recipe.try_send(Universe::current()).unwrap();
            future::ready(Ok(Started::Ignore))
        });
        let body = ChildSpec::task("body", move |me| {
            seen.try_send(Universe::current()).unwrap();
            async move { me.shutdown_requested().await }
        });
        let elsewhere = Universe::new();
        let _ = elsewhere.scope(supervisor.start_child(recipe)).await;
        let _ = elsewhere.scope(supervisor.start_child(body)).await;
        for _ in 0..2 {
            assert_eq!(sees.recv().await.unwrap(), Some(universe.clone()));
        }
    });
}
