//! A place for a trait object that tests put their own into.

use std::{any, fmt, sync::Arc};

use crate::{sharded::Sharded, strict::NoUniverse};

/// A static that holds the production implementation of a trait, and another one in universes
/// that put one in.
///
/// It is a [`Sharded`] of trait objects: a universe that puts nothing in has a default of its own.
///
/// # Example
///
/// ```
/// use std::sync::Arc;
/// use test_universe::{Mock, Universe};
///
/// trait Mailer: Send + Sync {
///     fn send(&self, text: &str) -> bool;
/// }
/// struct Smtp;
/// impl Mailer for Smtp {
///     fn send(&self, _: &str) -> bool {
///         panic!("this example sends no mail")
///     }
/// }
/// static MAILER: Mock<dyn Mailer> = Mock::new(|| Arc::new(Smtp));
///
/// fn greet() -> bool {
///     MAILER.get().send("hello")
/// }
///
/// struct Full;
/// impl Mailer for Full {
///     fn send(&self, _: &str) -> bool {
///         false
///     }
/// }
/// Universe::new().enter(|| {
///     MAILER.put(Arc::new(Full));
///     assert!(!greet());
/// });
/// ```
pub struct Mock<T: ?Sized + 'static> {
    object: Sharded<Arc<T>>,
}

impl<T: ?Sized + Send + Sync + 'static> Mock<T> {
    /// Makes one whose default is made by `default`, in the universe that asks.
    #[must_use]
    #[track_caller]
    pub const fn new(default: fn() -> Arc<T>) -> Self {
        let what = || format!("Mock<{}>", any::type_name::<T>());
        Self {
            object: Sharded::named(default, what),
        }
    }

    /// Makes it strict, as [`Sharded::strict`] does.
    ///
    /// A strict one has a default all the same. It may refuse to be one in tests, so that a test has to put
    /// its own in:
    ///
    /// ```should_panic
    /// use std::sync::Arc;
    /// use test_universe::{Mock, Universe};
    /// # trait Mailer: Send + Sync {}
    /// # struct Smtp;
    /// # impl Mailer for Smtp {}
    ///
    /// static MAILER: Mock<dyn Mailer> = Mock::<dyn Mailer>::new(|| match Universe::current() {
    ///     None => Arc::new(Smtp),
    ///     Some(_) => panic!("this test has put no mailer in"),
    /// })
    /// .strict();
    /// Universe::new().enter(|| MAILER.get());
    /// ```
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.object.make_strict();
        self
    }

    /// What was put into the current universe, or else the default.
    ///
    /// # Panics
    ///
    /// If it is [`strict`](Self::strict) and the caller is in no universe, or if the function given
    /// to [`new`](Self::new) panics.
    #[must_use]
    #[track_caller]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.object.get())
    }

    /// As [`get`](Self::get), for those who want to know.
    ///
    /// # Errors
    ///
    /// If it is [`strict`](Self::strict) and the caller is in no universe.
    ///
    /// # Panics
    ///
    /// If the function given to [`new`](Self::new) panics.
    #[track_caller]
    pub fn try_get(&self) -> Result<Arc<T>, NoUniverse> {
        Ok(Arc::clone(&*self.object.try_get()?))
    }

    /// Puts another one into the current universe.
    ///
    /// Who holds the former one keeps it.
    ///
    /// # Panics
    ///
    /// If it is [`strict`](Self::strict) and the caller is in no universe.
    #[track_caller]
    pub fn put(&self, object: Arc<T>) {
        self.object.set(object);
    }

    /// Goes back to the default, made anew.
    ///
    /// # Panics
    ///
    /// If it is [`strict`](Self::strict) and the caller is in no universe.
    #[track_caller]
    pub fn clear(&self) {
        self.object.clear();
    }
}

impl<T: ?Sized> fmt::Debug for Mock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mock").finish_non_exhaustive()
    }
}
