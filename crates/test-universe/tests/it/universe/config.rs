//! Configuration and mocks: what a universe has of its own, and what it falls back to.

use std::sync::Arc;

use test_universe::{Config, ConfigError, Mock, Universe};

#[test]
fn universe_reads_the_global_value_by_default() {
    static CONFIG: Config = Config::new();
    let universe = Universe::new();
    let port = || CONFIG.get::<u16>("port").map(|port| *port);
    assert_eq!(universe.enter(port), None);
    CONFIG.put("port", 4747_u16);
    assert_eq!(universe.enter(port), Some(4747));
    CONFIG.put("port", 4748_u16);
    assert_eq!(
        universe.enter(port),
        Some(4748),
        "it is read when it is asked for"
    );
}

#[test]
fn put_changes_the_value_of_the_current_universe_only() {
    static CONFIG: Config = Config::new();
    let (left, right) = (Universe::new(), Universe::new());
    let port = || CONFIG.get::<u16>("port").map(|port| *port);
    CONFIG.put("port", 1_u16);
    left.enter(|| CONFIG.put("port", 2_u16));
    assert_eq!(
        (left.enter(port), right.enter(port), port()),
        (Some(2), Some(1), Some(1))
    );
    left.enter(|| CONFIG.put("host".to_owned(), "here"));
    assert!(CONFIG.get::<&str>("host").is_none());
}

#[test]
fn delete_hides_the_global_value_from_the_current_universe_only() {
    static CONFIG: Config = Config::new();
    let universe = Universe::new();
    let port = || CONFIG.get::<u16>("port").map(|port| *port);
    CONFIG.put("port", 1_u16);
    universe.enter(|| {
        CONFIG.delete("port");
        assert_eq!(port(), None);
        CONFIG.put("port", 2_u16);
        CONFIG.delete("port");
        assert_eq!(port(), None, "its own one does not uncover the global one");
        CONFIG.put("port", 3_u16);
        assert_eq!(port(), Some(3));
    });
    assert_eq!(port(), Some(1));
    CONFIG.delete("port");
    assert_eq!((port(), universe.enter(port)), (None, Some(3)));
}

#[test]
fn clear_restores_the_global_values() {
    static CONFIG: Config = Config::new();
    CONFIG.put("port", 1_u16);
    CONFIG.put("host", "here");
    Universe::new().enter(|| {
        CONFIG.put("port", 2_u16);
        CONFIG.delete("host");
        CONFIG.clear();
        assert_eq!(*CONFIG.fetch::<u16>("port").unwrap(), 1);
        assert_eq!(*CONFIG.fetch::<&str>("host").unwrap(), "here");
    });
}

#[test]
fn fetch_fails_with_missing_without_a_value() {
    static CONFIG: Config = Config::new();
    let error = CONFIG.fetch::<u16>("port").unwrap_err();
    assert!(matches!(&error, ConfigError::Missing { key } if key == "port"));
    assert_eq!(error.to_string(), "`port` is not configured");
}

#[test]
fn fetch_fails_with_other_type_and_names_both_types() {
    static CONFIG: Config = Config::new();
    CONFIG.put("port", 4747_u16);
    for universe in [Universe::new(), Universe::new()] {
        let error = universe.enter(|| CONFIG.fetch::<u32>("port").unwrap_err());
        let text = "`port` is configured as a `u16`, not as a `u32`";
        assert_eq!(error.to_string(), text);
        assert!(universe.enter(|| CONFIG.get::<u32>("port").is_none()));
    }
}

#[test]
fn destructor_of_a_replaced_value_reads_the_new_one() {
    struct Reads;
    impl Drop for Reads {
        fn drop(&mut self) {
            CONFIG.put("seen", CONFIG.get::<u16>("it").map(|it| *it));
        }
    }
    static CONFIG: Config = Config::new();
    Universe::new().enter(|| {
        CONFIG.put("it", Reads);
        CONFIG.put("it", 1_u16);
        assert_eq!(*CONFIG.fetch::<Option<u16>>("seen").unwrap(), Some(1));
        CONFIG.put("it", Reads);
        CONFIG.delete("it");
        assert_eq!(*CONFIG.fetch::<Option<u16>>("seen").unwrap(), None);
    });
}

trait Mailer: Send + Sync {
    fn send(&self, text: &str) -> String;
}

struct To(&'static str);

impl Mailer for To {
    fn send(&self, text: &str) -> String {
        format!("{text} to {}", self.0)
    }
}

#[test]
fn mock_returns_the_default_until_it_is_replaced() {
    static MAILER: Mock<dyn Mailer> = Mock::new(|| Arc::new(To("the world")));
    let greet = || MAILER.get().send("hello");
    let (left, right) = (Universe::new(), Universe::new());
    left.enter(|| MAILER.put(Arc::new(To("nobody"))));
    assert_eq!(left.enter(greet), "hello to nobody");
    assert_eq!(right.enter(greet), "hello to the world");
    assert_eq!(greet(), "hello to the world");
    left.enter(|| MAILER.clear());
    assert_eq!(left.enter(greet), "hello to the world");
}

#[test]
fn holder_of_a_mock_keeps_it_when_it_is_replaced() {
    static MAILER: Mock<dyn Mailer> = Mock::new(|| Arc::new(To("the world")));
    Universe::new().enter(|| {
        let held = MAILER.get();
        MAILER.put(Arc::new(To("nobody")));
        assert_eq!(held.send("hello"), "hello to the world");
        assert_eq!(MAILER.get().send("hello"), "hello to nobody");
    });
}
