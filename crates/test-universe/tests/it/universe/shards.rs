//! Sharded statics: put in, replaced, cleared, dropped.

use std::{
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use test_universe::{self as universe, Config, Mock, Registry, Sharded, Universe};

#[test]
fn set_changes_the_value_of_the_current_universe_only() {
    static LIMIT: Sharded<u32> = Sharded::new(|| 10);
    let (left, right) = (Universe::new(), Universe::new());
    left.enter(|| LIMIT.set(1));
    right.enter(|| LIMIT.set(2));
    assert_eq!(left.enter(|| *LIMIT.get()), 1);
    assert_eq!(right.enter(|| *LIMIT.get()), 2);
    assert_eq!(*LIMIT.get(), 10);
    LIMIT.set(3);
    assert_eq!(*LIMIT.get(), 3);
    assert_eq!(left.enter(|| *LIMIT.get()), 1);
    assert_eq!(Universe::new().enter(|| *LIMIT.get()), 10);
}

#[test]
fn nested_universe_has_a_value_of_its_own() {
    static LIMIT: Sharded<u32> = Sharded::new(|| 10);
    Universe::new().enter(|| {
        LIMIT.set(1);
        Universe::new().enter(|| {
            assert_eq!(*LIMIT.get(), 10);
            LIMIT.set(2);
        });
        assert_eq!(*LIMIT.get(), 1);
    });
}

#[test]
fn replace_returns_the_former_value_which_holders_keep() {
    static LIMIT: Sharded<u32> = Sharded::new(|| 10);
    Universe::new().enter(|| {
        assert_eq!(*LIMIT.replace(1), 10);
        let held = LIMIT.get();
        assert_eq!(*LIMIT.replace(2), 1);
        assert_eq!((*held, *LIMIT.get()), (1, 2));
    });
    assert_eq!(*LIMIT.replace(4), 10);
    assert_eq!(*LIMIT.replace(5), 4);
}

#[test]
fn clear_drops_the_value_and_the_next_use_initializes_it() {
    static MADE: AtomicU32 = AtomicU32::new(0);
    static TICKET: Sharded<Arc<u32>> = Sharded::new(|| Arc::new(MADE.fetch_add(1, Relaxed)));
    for universe in [None, Some(Universe::new())] {
        let check = || {
            let first = Arc::clone(&TICKET.get());
            TICKET.clear();
            assert_eq!(Arc::strong_count(&first), 1, "{universe:?}");
            assert_eq!(**TICKET.get(), 1 + **first);
        };
        match &universe {
            Some(universe) => universe.enter(check),
            None => check(),
        }
    }
}

#[test]
fn clear_does_not_affect_other_universes() {
    static LIMIT: Sharded<u32> = Sharded::new(|| 10);
    let (left, right) = (Universe::new(), Universe::new());
    left.enter(|| LIMIT.set(1));
    right.enter(|| LIMIT.set(2));
    LIMIT.set(3);
    left.enter(|| LIMIT.clear());
    assert_eq!(left.enter(|| *LIMIT.get()), 10);
    assert_eq!(right.enter(|| *LIMIT.get()), 2);
    assert_eq!(*LIMIT.get(), 3);
}

#[test]
fn set_before_the_first_use_skips_the_initializer() {
    static NEVER: Sharded<u32> = Sharded::new(|| panic!("it is set before it is asked for"));
    NEVER.set(1);
    assert_eq!(*NEVER.get(), 1);
    Universe::new().enter(|| {
        NEVER.set(2);
        assert_eq!(*NEVER.get(), 2);
    });
}

#[test]
fn concurrent_first_uses_initialize_once() {
    static MADE: AtomicU32 = AtomicU32::new(0);
    static SLOW: Sharded<u32> = Sharded::new(|| {
        thread::yield_now();
        MADE.fetch_add(1, Relaxed)
    });
    let universe = Universe::new();
    let together = Barrier::new(8);
    thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                together.wait();
                assert_eq!(universe.enter(|| *SLOW.get()), 0);
            });
        }
    });
    assert_eq!(MADE.load(Relaxed), 1);
}

#[test]
fn set_during_initialization_neither_waits_nor_is_lost() {
    static MAKING: Barrier = Barrier::new(2);
    static SLOW: Sharded<u32> = Sharded::new(|| {
        MAKING.wait();
        MAKING.wait();
        0
    });
    let uses: [(fn() -> u32, _, _); 2] = [(|| *SLOW.get(), 0, 1), (|| *SLOW.replace(2), 1, 2)];
    for (makes, returned, left) in uses {
        let universe = Universe::new();
        thread::scope(|threads| {
            let maker = threads.spawn(|| universe.enter(makes));
            MAKING.wait();
            universe.enter(|| SLOW.set(1));
            MAKING.wait();
            assert_eq!(maker.join().unwrap(), returned);
        });
        assert_eq!(universe.enter(|| *SLOW.get()), left);
    }
}

#[test]
fn concurrent_replaces_return_every_value_but_the_last() {
    static TOKEN: Sharded<u32> = Sharded::new(|| 0);
    let universe = Universe::new();
    let returned = thread::scope(|threads| {
        let put = |from: u32| {
            let universe = &universe;
            move || universe.enter(|| Vec::from_iter((from..from + 100).map(|n| *TOKEN.replace(n))))
        };
        let threads = [1, 101, 201, 301].map(|from| threads.spawn(put(from)));
        threads.map(|thread| thread.join().unwrap()).concat()
    });
    let mut all = returned;
    all.push(universe.enter(|| *TOKEN.get()));
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..=400));
}

#[test]
fn get_during_set_returns_the_old_or_the_new_value() {
    static PAIR: Sharded<(u32, u32)> = Sharded::new(|| (0, 0));
    let universe = Universe::new();
    thread::scope(|threads| {
        for writer in 1..=2 {
            let set = move || PAIR.set((writer, writer));
            let universe = &universe;
            threads.spawn(move || universe.enter(|| (0..1000).for_each(|_| set())));
        }
        threads.spawn(|| universe.enter(|| (0..100).for_each(|_| PAIR.clear())));
        for _ in 0..2 {
            threads.spawn(|| {
                universe.enter(|| (0..1000).for_each(|_| PAIR.with(|(a, b)| assert_eq!(a, b))));
            });
        }
    });
}

/// A value that calls a function when it is dropped.
struct OnDrop(fn());

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn values_are_dropped_in_their_universe() {
    static SEEN: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    static VALUE: Sharded<OnDrop> = Sharded::new(|| {
        OnDrop(|| {
            SEEN.lock()
                .unwrap()
                .push(Universe::current().map_or(0, |it| it.id()))
        })
    });
    let universe = Universe::new();
    let id = universe.id();
    universe.enter(|| drop(VALUE.get()));
    Universe::new().enter(|| drop(universe));
    assert_eq!(*SEEN.lock().unwrap(), [id]);
}

#[test]
fn destructor_can_use_other_values_of_its_universe() {
    static SEEN: Mutex<Vec<u32>> = Mutex::new(Vec::new());
    static NAME: Sharded<u32> = Sharded::new(|| 0);
    static EARLY: Sharded<OnDrop> =
        Sharded::new(|| OnDrop(|| SEEN.lock().unwrap().push(*NAME.get())));
    static LATE: Sharded<OnDrop> =
        Sharded::new(|| OnDrop(|| SEEN.lock().unwrap().push(*NAME.get())));
    Universe::new().enter(|| {
        drop(EARLY.get());
        NAME.set(7);
        drop(LATE.get());
    });
    let seen = SEEN.lock().unwrap();
    assert!(seen.contains(&7) && seen.len() == 2, "{seen:?}");
    assert_eq!(*NAME.get(), 0);
}

#[test]
fn destructors_that_create_each_others_values_terminate() {
    static CHICKEN: Sharded<OnDrop> = Sharded::new(|| OnDrop(|| drop(EGG.get())));
    static EGG: Sharded<OnDrop> = Sharded::new(|| OnDrop(|| drop(CHICKEN.get())));
    Universe::new().enter(|| drop(EGG.get()));
}

#[test]
fn destructor_may_keep_a_handle_to_its_universe() {
    static KEPT: Mutex<Option<Universe>> = Mutex::new(None);
    static VALUE: Sharded<OnDrop> =
        Sharded::new(|| OnDrop(|| *KEPT.lock().unwrap() = Universe::current()));
    static LIMIT: Sharded<Arc<()>> = Sharded::new(|| Arc::new(()));
    let universe = Universe::new();
    universe.enter(|| drop(VALUE.get()));
    drop(universe);
    let kept = KEPT.lock().unwrap().take().unwrap();
    let value = kept.enter(|| Arc::clone(&LIMIT.get()));
    drop(kept);
    assert_eq!(Arc::strong_count(&value), 1);
}

/// Making or dropping a value under a lock that its neighbour needs would stop here for ever.
#[test]
fn initializers_and_destructors_may_use_other_statics() {
    static BASE: Sharded<Arc<u32>> = Sharded::new(|| Arc::new(20));
    struct Uses(u32);
    impl Drop for Uses {
        fn drop(&mut self) {
            USER.with(|_| ());
            BASE.set(Arc::new(**BASE.get() + self.0));
        }
    }
    static USER: Sharded<Option<Uses>> = Sharded::new(|| (**BASE.get() > 1000).then(|| Uses(1)));
    let (done, ended) = mpsc::channel();
    for universe in [Universe::new(), Universe::new()] {
        let done = done.clone();
        thread::spawn(move || {
            universe.enter(|| {
                USER.set(Some(Uses(1)));
                USER.set(Some(Uses(2)));
                drop(USER.replace(Some(Uses(4))));
                USER.clear();
                assert_eq!(**BASE.get(), 27);
                USER.set(Some(Uses(8)));
            });
            drop(universe);
            done.send(()).unwrap();
        });
    }
    for _ in 0..2 {
        let minute = std::time::Duration::from_secs(60);
        ended.recv_timeout(minute).expect("nobody waits for ever");
    }
}

static COUNT: Sharded<AtomicU32> = Sharded::new(AtomicU32::default);
static CONFIG: Config = Config::new();
static NAMES: Registry<String, u64> = Registry::unique();
static SPEAKER: Mock<dyn Speaker> = Mock::new(|| Arc::new(0));

trait Speaker: Send + Sync {
    fn say(&self) -> u64;
}

impl Speaker for u64 {
    fn say(&self) -> u64 {
        *self
    }
}

/// Uses everything that is sharded, and finds only what it has put there itself.
async fn live(id: u64) {
    assert_eq!((NAMES.count(), CONFIG.get::<u64>("id")), (0, None));
    let _name = NAMES.register("me".to_owned(), id).unwrap();
    CONFIG.put("id", id);
    SPEAKER.put(Arc::new(id));
    for round in 0..20 {
        let count = smol::spawn(universe::inherit(async {
            COUNT.get().fetch_add(1, Relaxed)
        }));
        assert_eq!(count.await, round);
        assert_eq!(NAMES.lookup("me"), [Arc::new(id)]);
        assert_eq!(*CONFIG.fetch::<u64>("id").unwrap(), id);
        assert_eq!(SPEAKER.get().say(), id);
    }
}

#[test]
fn twenty_universes_on_each_of_64_threads_are_isolated() {
    let together = Barrier::new(64);
    thread::scope(|threads| {
        for _ in 0..64 {
            threads.spawn(|| {
                together.wait();
                let lives = (0..20).map(|_| {
                    let universe = Universe::new();
                    universe.scope(live(universe.id()))
                });
                let lives = Vec::from_iter(lives);
                smol::block_on(futures::future::join_all(lives));
            });
        }
    });
}
