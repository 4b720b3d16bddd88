//! Universes: the current one, scopes, statics.

mod config;
mod inherit;
mod registry;
mod shards;
mod strict;
mod time;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
};

use smol::future::{self, FutureExt as _};
use test_universe::{self as universe, Sharded, Universe};

#[test]
fn current_is_none_outside_of_universes() {
    assert_eq!(Universe::current(), None);
}

#[test]
fn enter_sets_the_current_universe_until_the_closure_returns() {
    let universe = Universe::new();
    universe.enter(|| assert_eq!(Universe::current().as_ref(), Some(&universe)));
    assert_eq!(Universe::current(), None);
}

#[test]
fn nested_enter_replaces_the_current_universe() {
    let (outer, inner) = (Universe::new(), Universe::new());
    outer.enter(|| {
        inner.enter(|| assert_eq!(Universe::current().as_ref(), Some(&inner)));
        assert_eq!(Universe::current().as_ref(), Some(&outer));
    });
}

#[test]
fn scoped_future_is_in_its_universe_at_every_poll() {
    let universe = Universe::new();
    let future = universe.scope(async {
        for _ in 0..3 {
            assert!(Universe::current().is_some());
            future::yield_now().await;
        }
    });
    smol::block_on(future);
    assert_eq!(Universe::current(), None);
}

#[test]
fn interleaved_futures_each_see_their_own_universe() {
    let (left, right) = (Universe::new(), Universe::new());
    let watch = |universe: &Universe| {
        let expected = universe.clone();
        universe.scope(async move {
            for _ in 0..10 {
                assert_eq!(Universe::current().as_ref(), Some(&expected));
                future::yield_now().await;
            }
        })
    };
    smol::block_on(future::zip(watch(&left), watch(&right)));
}

#[test]
fn inherit_captures_the_universe_at_the_call() {
    let universe = Universe::new();
    let future = universe.enter(|| universe::inherit(async { Universe::current() }));
    let elsewhere = Universe::new();
    assert_eq!(
        smol::block_on(elsewhere.scope(future)),
        Some(universe.clone())
    );
}

#[test]
fn future_inherited_outside_of_universes_stays_outside() {
    let future = universe::inherit(async { Universe::current() });
    let closure = universe::inherit_fn(Universe::current);
    let seen = Universe::new().enter(|| (smol::block_on(future), closure()));
    assert_eq!(seen, (None, None));
}

#[test]
fn future_is_dropped_in_its_universe_whether_or_not_it_completed() {
    struct Reports(Arc<AtomicU32>);
    impl Drop for Reports {
        fn drop(&mut self) {
            if Universe::current().is_some() {
                self.0.fetch_add(1, Relaxed);
            }
        }
    }
    let inside = Arc::new(AtomicU32::new(0));
    let universe = Universe::new();
    let hold = |reports: Reports, forever: bool| async move {
        let _reports = reports;
        if forever {
            future::pending::<()>().await;
        }
    };
    drop(universe.scope(hold(Reports(inside.clone()), true)));
    smol::block_on(universe.scope(hold(Reports(inside.clone()), false)));
    let mut started = Box::pin(universe.scope(hold(Reports(inside.clone()), true)));
    smol::block_on(async { assert!(future::poll_once(&mut started).await.is_none()) });
    drop(started);
    assert_eq!(inside.load(Relaxed), 3);
}

#[test]
fn tasks_and_threads_of_other_runtimes_inherit_through_the_wrappers() {
    let universe = Universe::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    universe.enter(|| {
        let on_tokio = runtime.spawn(universe::inherit(async {
            tokio::task::yield_now().await;
            Universe::current()
        }));
        let on_smol = smol::spawn(universe::inherit(async { Universe::current() }));
        let on_a_thread = thread::spawn(universe::inherit_fn(Universe::current));
        let in_a_pool = smol::unblock(universe::inherit_fn(Universe::current));
        let expected = Some(universe.clone());
        assert_eq!(runtime.block_on(on_tokio).unwrap(), expected);
        assert_eq!(smol::block_on(on_smol), expected);
        assert_eq!(on_a_thread.join().unwrap(), expected);
        assert_eq!(smol::block_on(in_a_pool), expected);
    });
}

#[test]
fn panic_inside_enter_restores_the_former_universe() {
    let future = Universe::new().scope(async { panic!("as the test asks") });
    let outcome = smol::block_on(std::panic::AssertUnwindSafe(future).catch_unwind());
    assert!(outcome.is_err());
    assert_eq!(Universe::current(), None);
}

#[test]
fn sharded_static_has_one_value_per_universe_and_one_outside() {
    static COUNTER: Sharded<AtomicU32> = Sharded::new(|| AtomicU32::new(7));
    let (left, right) = (Universe::new(), Universe::new());
    left.enter(|| COUNTER.with(|counter| counter.store(1, Relaxed)));
    COUNTER.with(|counter| counter.store(2, Relaxed));
    assert_eq!(left.enter(|| COUNTER.get().load(Relaxed)), 1);
    assert_eq!(right.enter(|| COUNTER.get().load(Relaxed)), 7);
    assert_eq!(COUNTER.get().load(Relaxed), 2);
}

#[test]
fn two_statics_of_one_type_have_separate_values() {
    static ONE: Sharded<AtomicU32> = Sharded::new(AtomicU32::default);
    static TWO: Sharded<AtomicU32> = Sharded::new(AtomicU32::default);
    Universe::new().enter(|| {
        ONE.get().store(1, Relaxed);
        assert_eq!(TWO.get().load(Relaxed), 0);
    });
}

#[test]
fn initializer_may_use_another_sharded_static() {
    static BASE: Sharded<AtomicU32> = Sharded::new(|| AtomicU32::new(20));
    static TWICE: Sharded<AtomicU32> =
        Sharded::new(|| AtomicU32::new(2 * BASE.get().load(Relaxed)));
    assert_eq!(
        Universe::new().enter(|| TWICE.with(|value| value.load(Relaxed))),
        40
    );
}

#[test]
fn values_are_dropped_with_their_universe() {
    static HELD: Sharded<Arc<()>> = Sharded::new(|| Arc::new(()));
    let universe = Universe::new();
    let value = universe.enter(|| Arc::clone(&HELD.get()));
    assert_eq!(Arc::strong_count(&value), 2);
    let handle = universe.clone();
    drop(universe);
    assert_eq!(Arc::strong_count(&value), 2, "a handle is left");
    drop(handle);
    assert_eq!(Arc::strong_count(&value), 1);
}
