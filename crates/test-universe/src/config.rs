//! Configuration with values per universe.

use std::{
    any::{self, Any},
    borrow::Cow,
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{context, sharded::Sharded, strict::NoUniverse};

/// A static of named values of any types, which each universe can change for itself.
///
/// A universe reads the values of code in no universe until it sets or deletes its own, as Multiverses does with Elixir's
/// application environment. Other universes do not see its changes.
///
/// # Example
///
/// ```
/// use test_universe::{Config, Universe};
///
/// static CONFIG: Config = Config::new();
///
/// CONFIG.put("attempts", 3_u32);
/// Universe::new().enter(|| {
///     assert_eq!(CONFIG.get("attempts"), Some(3_u32.into()));
///     CONFIG.put("attempts", 1_u32);
///     assert_eq!(*CONFIG.fetch::<u32>("attempts")?, 1);
///     Ok::<(), test_universe::ConfigError>(())
/// })?;
/// assert_eq!(*CONFIG.fetch::<u32>("attempts")?, 3);
/// # Ok::<(), test_universe::ConfigError>(())
/// ```
pub struct Config {
    values: Sharded<Values>,
}

/// `None` hides the value of code in no universe.
type Values = RwLock<HashMap<Cow<'static, str>, Option<Value>>>;

#[derive(Clone)]
struct Value {
    any: Arc<dyn Any + Send + Sync>,
    type_name: &'static str,
}

impl Config {
    /// Creates an empty configuration.
    #[must_use]
    #[track_caller]
    pub const fn new() -> Self {
        Self {
            values: Sharded::named(Values::default, || "Config".to_owned()),
        }
    }

    /// Makes the configuration strict, as [`Sharded::strict`] does: code in no universe can neither read nor change it, and
    /// a universe sees its own values only.
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.values.make_strict();
        self
    }

    /// Sets the value of a key in the current universe.
    ///
    /// The type of the value is the type it must be read with: `"text"` is a `&str`, and no
    /// `String`.
    ///
    /// # Panics
    ///
    /// If the configuration is [`strict`](Self::strict) and the caller is in no universe.
    #[track_caller]
    pub fn put<T: Send + Sync + 'static>(&self, key: impl Into<Cow<'static, str>>, value: T) {
        let value = Value {
            any: Arc::new(value),
            type_name: any::type_name::<T>(),
        };
        self.change(|values| values.insert(key.into(), Some(value)));
    }

    /// Returns the value of a key: the universe's own, or else that of code in no universe.
    ///
    /// `None` if there is no value of this type; [`fetch`](Self::fetch) returns the reason. Beware of `unwrap_or` behind
    /// this: `put("attempts", 3)` sets an `i32`, so that a `u32` is not found.
    ///
    /// # Panics
    ///
    /// If the configuration is [`strict`](Self::strict) and the caller is in no universe.
    #[must_use]
    #[track_caller]
    pub fn get<T: Send + Sync + 'static>(&self, key: &str) -> Option<Arc<T>> {
        match self.fetch(key) {
            Err(ConfigError::NoUniverse(error)) => error.raise(),
            fetched => fetched.ok(),
        }
    }

    /// Returns the value of a key like [`get`](Self::get), or the reason why there is none.
    ///
    /// # Errors
    ///
    /// - [`Missing`](ConfigError::Missing): the key has no value, or it was deleted.
    /// - [`OtherType`](ConfigError::OtherType): the value has another type.
    /// - [`NoUniverse`](ConfigError::NoUniverse): the configuration is [`strict`](Self::strict) and
    ///   the caller is in no universe.
    #[track_caller]
    pub fn fetch<T: Send + Sync + 'static>(&self, key: &str) -> Result<Arc<T>, ConfigError> {
        let own = own(&*self.values.try_get()?, key);
        let value = match own {
            Some(value) => value,
            None => self.global(key),
        };
        let Some(Value { any, type_name }) = value else {
            let key = key.to_owned();
            return Err(ConfigError::Missing { key });
        };
        any.downcast().map_err(|_| ConfigError::OtherType {
            key: key.to_owned(),
            found: type_name,
            expected: any::type_name::<T>(),
        })
    }

    /// Deletes the value of a key in the current universe.
    ///
    /// This hides the value of code in no universe too. ([`clear`](Self::clear) shows it again. In Multiverses deleting an
    /// own value does.)
    ///
    /// # Panics
    ///
    /// If the configuration is [`strict`](Self::strict) and the caller is in no universe.
    #[track_caller]
    pub fn delete(&self, key: &str) {
        let hides = context::universe_id().is_some();
        self.change(|values| match hides {
            true => values.insert(key.to_owned().into(), None),
            false => values.remove(key),
        });
    }

    /// Reverts all changes of the current universe.
    ///
    /// # Panics
    ///
    /// If the configuration is [`strict`](Self::strict) and the caller is in no universe.
    #[track_caller]
    pub fn clear(&self) {
        self.values.clear();
    }

    fn global(&self, key: &str) -> Option<Value> {
        own(&*self.values.global()?, key).flatten()
    }

    /// The former value is dropped after the change, and outside of the lock: its destructor may read the configuration.
    #[track_caller]
    fn change<R>(&self, f: impl FnOnce(&mut HashMap<Cow<'static, str>, Option<Value>>) -> R) {
        let values = self.values.get();
        let former = f(&mut values.write().unwrap_or_else(PoisonError::into_inner));
        drop(former);
    }
}

fn own(values: &Values, key: &str) -> Option<Option<Value>> {
    let values = values.read().unwrap_or_else(PoisonError::into_inner);
    values.get(key).cloned()
}

impl Default for Config {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").finish_non_exhaustive()
    }
}

/// Why there is no value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The key has no value, or it was deleted.
    Missing {
        /// The key.
        key: String,
    },
    /// The value has another type.
    OtherType {
        /// The key.
        key: String,
        /// The type of the value.
        found: &'static str,
        /// The type that it was to be read as.
        expected: &'static str,
    },
    /// The configuration is strict, and the caller is in no universe.
    NoUniverse(NoUniverse),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { key } => write!(f, "`{key}` is not configured"),
            Self::OtherType {
                key,
                found,
                expected,
            } => write!(
                f,
                "`{key}` is configured as a `{found}`, not as a `{expected}`"
            ),
            Self::NoUniverse(error) => error.fmt(f),
        }
    }
}

impl Error for ConfigError {}

impl From<NoUniverse> for ConfigError {
    fn from(error: NoUniverse) -> Self {
        Self::NoUniverse(error)
    }
}
