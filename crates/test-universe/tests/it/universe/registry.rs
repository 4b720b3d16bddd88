//! Names: Elixir's registry, and one per universe.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
};

use test_universe::{Registry, Universe};

fn values<V: Copy>(values: &[Arc<V>]) -> Vec<V> {
    values.iter().map(|value| **value).collect()
}

#[test]
fn register_fails_for_a_taken_unique_key_and_names_the_line() {
    static NAMES: Registry<&str, u32> = Registry::unique();
    let (first, line) = (NAMES.register("a", 1).unwrap(), line!());
    let error = NAMES.register("a", 2).unwrap_err();
    let text = format!("\"a\" is already registered, at {}:{line}", file!());
    assert_eq!(error.to_string(), text);
    assert_eq!(error.at().line(), line);
    assert_eq!(values(&NAMES.lookup("a")), [1]);
    drop(first);
    assert!(NAMES.lookup("a").is_empty());
    let _third = NAMES.register("a", 3).unwrap();
    assert_eq!(values(&NAMES.lookup("a")), [3]);
}

#[test]
fn duplicate_key_has_its_values_in_the_order_of_registration() {
    static TOPICS: Registry<&str, u32> = Registry::duplicate();
    let guards = [1, 2, 3].map(|value| TOPICS.register("news", value).unwrap());
    let _other = TOPICS.register("sports", 4).unwrap();
    assert_eq!(values(&TOPICS.lookup("news")), [1, 2, 3]);
    assert_eq!(TOPICS.count(), 4);
    let [_one, two, _three] = guards;
    drop(two);
    assert_eq!(values(&TOPICS.lookup("news")), [1, 3]);
    assert_eq!(TOPICS.keys(), ["news", "sports"]);
}

#[test]
fn unique_key_can_be_registered_once_per_universe() {
    static NAMES: Registry<&str, u32> = Registry::unique();
    let (left, right) = (Universe::new(), Universe::new());
    let in_left = left.enter(|| NAMES.register("a", 1).unwrap());
    let _in_right = right.enter(|| NAMES.register("a", 2).unwrap());
    let _b = right.enter(|| NAMES.register("b", 3).unwrap());
    assert_eq!(NAMES.count(), 0);
    let _outside = NAMES.register("a", 0).unwrap();
    assert_eq!(left.enter(|| values(&NAMES.lookup("a"))), [1]);
    assert_eq!(right.enter(|| values(&NAMES.lookup("a"))), [2]);
    assert_eq!(left.enter(|| NAMES.keys()), ["a"]);
    assert_eq!(right.enter(|| NAMES.keys()), ["a", "b"]);
    drop(in_left);
    assert_eq!(left.enter(|| NAMES.count()), 0);
    assert_eq!(right.enter(|| NAMES.count()), 2);
    assert_eq!(NAMES.count(), 1);
}

#[test]
fn registration_dropped_in_another_universe_unregisters_in_its_own() {
    static NAMES: Registry<&str, u32> = Registry::unique();
    let (left, right) = (Universe::new(), Universe::new());
    let in_left = left.enter(|| NAMES.register("a", 1).unwrap());
    let _in_right = right.enter(|| NAMES.register("a", 2).unwrap());
    let _outside = NAMES.register("a", 3).unwrap();
    right.enter(|| drop(in_left));
    assert!(left.enter(|| NAMES.lookup("a").is_empty()));
    assert_eq!(right.enter(|| values(&NAMES.lookup("a"))), [2]);
    assert_eq!(values(&NAMES.lookup("a")), [3]);
}

#[test]
fn registration_does_not_keep_its_universe_alive() {
    static NAMES: Registry<&str, Arc<()>> = Registry::unique();
    let (universe, value) = (Universe::new(), Arc::new(()));
    let guard = universe.enter(|| NAMES.register("a", Arc::clone(&value)).unwrap());
    assert_eq!(Arc::strong_count(&value), 2);
    drop(universe);
    assert_eq!(Arc::strong_count(&value), 1);
    drop(guard);
}

#[test]
fn name_is_unregistered_when_its_owner_panics() {
    static NAMES: Registry<&str, u32> = Registry::unique();
    let owner = thread::spawn(|| {
        let _name = NAMES.register("a", 1).unwrap();
        panic!("as the test asks");
    });
    owner.join().unwrap_err();
    let _again = NAMES.register("a", 2).unwrap();
}

#[test]
fn dispatch_calls_with_the_values_of_the_universe_or_not_at_all() {
    static TOPICS: Registry<String, AtomicU32> = Registry::duplicate();
    let universe = Universe::new();
    let subscribe = || {
        TOPICS
            .register("news".to_owned(), AtomicU32::new(0))
            .unwrap()
    };
    let _outside = subscribe();
    let _guards = universe.enter(|| [subscribe(), subscribe()]);
    let publish = |values: &[Arc<AtomicU32>]| {
        for value in values {
            value.fetch_add(1, Relaxed);
        }
        values.len()
    };
    assert_eq!(universe.enter(|| TOPICS.dispatch("news", publish)), Some(2));
    assert_eq!(TOPICS.lookup("news")[0].load(Relaxed), 0);
    let nobody = |_: &[Arc<AtomicU32>]| unreachable!("nobody listens");
    assert_eq!(TOPICS.dispatch("sports", nobody), None);
    assert_eq!(
        Universe::new().enter(|| TOPICS.dispatch("news", nobody)),
        None
    );
}

#[test]
fn select_visits_the_universe_in_the_order_of_registration() {
    static NAMES: Registry<u32, u32> = Registry::duplicate();
    let universe = Universe::new();
    let _outside = NAMES.register(9, 9).unwrap();
    let pairs = [(3, 1), (1, 2), (3, 3), (2, 4)];
    let _guards = universe.enter(|| pairs.map(|(key, value)| NAMES.register(key, value).unwrap()));
    let odd = |key: &u32, value: &u32| (key % 2 == 1).then_some((*key, *value));
    assert_eq!(
        universe.enter(|| NAMES.select(odd)),
        [(3, 1), (1, 2), (3, 3)]
    );
    assert_eq!(NAMES.select(odd), [(9, 9)]);
    assert_eq!(
        universe.enter(|| (NAMES.count(), NAMES.keys())),
        (4, vec![3, 1, 2])
    );
}

#[test]
fn closures_of_dispatch_and_select_may_use_the_registry() {
    static NAMES: Registry<&str, u32> = Registry::duplicate();
    let held = Mutex::new(vec![NAMES.register("a", 1).unwrap()]);
    let more = |value| {
        held.lock()
            .unwrap()
            .push(NAMES.register("a", value).unwrap())
    };
    NAMES.dispatch("a", |values| {
        values.iter().for_each(|value| more(**value + 1))
    });
    let selected = NAMES.select(|_, value| {
        more(value + 10);
        Some(*value)
    });
    assert_eq!(selected, [1, 2]);
    assert_eq!(values(&NAMES.lookup("a")), [1, 2, 11, 12]);
}

#[test]
fn destructor_of_a_value_may_use_the_registry() {
    struct Leaves;
    impl Drop for Leaves {
        fn drop(&mut self) {
            assert_eq!(NAMES.count(), 0);
        }
    }
    static NAMES: Registry<&str, Leaves> = Registry::unique();
    drop(NAMES.register("a", Leaves).unwrap());
    let universe = Universe::new();
    let _guard = universe.enter(|| NAMES.register("a", Leaves).unwrap());
    drop(universe);
}

#[test]
fn concurrent_registrations_of_a_unique_key_succeed_once() {
    static NAMES: Registry<&str, u32> = Registry::unique();
    let universe = Universe::new();
    let got = thread::scope(|threads| {
        let universe = &universe;
        let race = |n| threads.spawn(move || universe.enter(|| NAMES.register("a", n).ok()));
        let threads = Vec::from_iter((0..16).map(race));
        Vec::from_iter(
            threads
                .into_iter()
                .filter_map(|thread| thread.join().unwrap()),
        )
    });
    assert_eq!(got.len(), 1);
}
