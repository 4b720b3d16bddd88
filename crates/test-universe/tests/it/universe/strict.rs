//! Strict statics, and the exact texts of what they say.

use std::{panic, sync::Arc, thread};

use test_universe::{self as universe, Config, ConfigError, Mock, Registry, Sharded, Universe};

/// `here!()` is this line of this file, as it stands in the texts.
macro_rules! here {
    () => {
        format!("{}:{}", file!(), line!())
    };
}

#[rustfmt::skip]
static LIMIT: (Sharded<u32>, u32) = (Sharded::new(|| 10).strict(), line!());

const FIX: &str = "  to fix it, wrap what was spawned in `universe::inherit(..)`, a closure in \
    `universe::inherit_fn(..)`, or use the test attribute";

fn limit_was_asked_for() -> String {
    let at = format!("{}:{}", file!(), LIMIT.1);
    format!("the strict `Sharded<u32>` created at {at} was used outside of all universes")
}

/// Runs `f` on a thread of a known name.
fn on_a_thread<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    let thread = thread::Builder::new().name("worker".to_owned());
    let outcome = thread.spawn(f).unwrap().join();
    outcome.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

#[test]
fn strict_static_has_a_value_in_a_universe() {
    Universe::new().enter(|| {
        assert_eq!(*LIMIT.0.get(), 10);
        LIMIT.0.set(1);
        assert_eq!(*LIMIT.0.try_get().unwrap(), 1);
    });
}

#[test]
fn lenient_static_has_a_value_outside_of_universes() {
    static LENIENT: Sharded<u32> = Sharded::new(|| 10);
    assert_eq!(*LENIENT.try_get().unwrap(), 10);
}

#[test]
fn strict_static_used_outside_names_the_line_and_the_fix() {
    let asks = || (LIMIT.0.try_get().unwrap_err(), here!());
    let (error, asked) = Universe::new().enter(|| on_a_thread(asks));
    let expected = [
        &*limit_was_asked_for(),
        &*format!("  at {asked}, on thread `worker`"),
        "  in code of unknown origin",
        FIX,
    ];
    assert_eq!(error.to_string(), expected.join("\n"));
}

#[test]
fn strict_static_used_outside_names_the_known_spawns() {
    let _trails_are_kept_from_here_on = Universe::new();
    let (error, inner, outer) = on_a_thread(|| {
        let task = async {
            let task = async { LIMIT.0.try_get().unwrap_err() };
            let (task, at) = (universe::inherit(task), here!());
            (smol::spawn(task).await, at)
        };
        let (task, outer) = (universe::inherit(task), here!());
        let (error, inner) = smol::block_on(task);
        (error, inner, outer)
    });
    let error = error.to_string();
    // The thread is one of smol's, which has its own idea of names.
    let (_, rest) = error.split_once("`\n").unwrap();
    let expected = [
        &*format!("  in a future created at {inner}"),
        &*format!("  by a future created at {outer}"),
        "  by code of unknown origin",
        FIX,
    ];
    assert_eq!(rest, expected.join("\n"));
    assert!(error.starts_with(&limit_was_asked_for()), "{error}");
}

#[test]
fn strict_static_used_outside_names_the_inherited_closure() {
    let _trails_are_kept_from_here_on = Universe::new();
    let (closure, at) = (universe::inherit_fn(|| LIMIT.0.try_get()), here!());
    let error = on_a_thread(closure).unwrap_err();
    let by = format!("\n  in a closure created at {at}\n  by code of unknown origin\n");
    assert!(error.to_string().contains(&by), "{error}");
}

#[test]
fn spawn_trace_keeps_eight_spawns() {
    fn nest(depth: u32) -> String {
        match depth {
            0 => LIMIT.0.try_get().unwrap_err().to_string(),
            _ => universe::inherit_fn(move || nest(depth - 1))(),
        }
    }
    let _trails_are_kept_from_here_on = Universe::new();
    let hops = |text: &str| text.matches("a closure created at").count();
    let (seven, eight, hundred) = (nest(7), nest(8), nest(100));
    assert_eq!((hops(&seven), hops(&eight), hops(&hundred)), (7, 8, 8));
    for whole in [seven, eight] {
        assert!(whole.contains("\n  by code of unknown origin\n"), "{whole}");
    }
    assert!(
        hundred.contains("\n  by more tasks than are kept\n"),
        "{hundred}"
    );
}

#[test]
fn all_methods_of_a_strict_static_panic_with_the_same_text() {
    let above = line!();
    let uses: [fn(); 5] = [
        || drop(LIMIT.0.get()),
        || LIMIT.0.with(|_| ()),
        || LIMIT.0.set(1),
        || drop(LIMIT.0.replace(1)),
        || LIMIT.0.clear(),
    ];
    for (line, one) in (above + 2..).zip(uses) {
        let panic = on_a_thread(move || panic::catch_unwind(one)).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        let asked = format!("  at {}:{line}, on thread `worker`", file!());
        let begins = format!("{}\n{asked}\n", limit_was_asked_for());
        assert!(text.starts_with(&begins), "{text}");
    }
}

#[test]
fn strict_config_registry_and_mock_name_their_type() {
    static CONFIG: Config = Config::new().strict();
    static NAMES: Registry<u8, u16> = Registry::duplicate().strict();
    static MOCK: Mock<u64> = Mock::new(|| Arc::new(1)).strict();
    let registry = on_a_thread(|| panic::catch_unwind(|| NAMES.count())).unwrap_err();
    let registry = registry.downcast_ref::<String>().unwrap();
    let config = CONFIG.fetch::<u32>("limit").unwrap_err();
    assert!(matches!(config, ConfigError::NoUniverse(_)), "{config}");
    let mock = MOCK.try_get().unwrap_err().to_string();
    let says = |text: &str, what: &str| {
        let begins = format!("the strict `{what}` created at {}:", file!());
        assert!(text.starts_with(&begins), "{text}");
        let asked = format!("\n  at {}:", file!());
        assert!(text.contains(&asked), "{text}");
    };
    says(registry, "Registry<u8, u16>");
    says(&config.to_string(), "Config");
    says(&mock, "Mock<u64>");
    Universe::new().enter(|| {
        assert_eq!(NAMES.count(), 0);
        assert!(CONFIG.get::<u32>("limit").is_none());
        CONFIG.put("limit", 1_u32);
        assert_eq!(*CONFIG.fetch::<u32>("limit").unwrap(), 1);
        assert_eq!(*MOCK.get(), 1);
    });
}
