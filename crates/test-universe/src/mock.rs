//! A static trait object that tests replace.

use std::{any, fmt, sync::Arc};

use crate::{sharded::Sharded, strict::NoUniverse};

/// A static with the production implementation of a trait, which a universe can replace for itself.
///
/// It is a [`Sharded`] of trait objects: a universe that replaces nothing has a default of its own.
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
    /// Creates a mock whose default is created by `default`, in the universe that first uses it.
    #[must_use]
    #[track_caller]
    pub const fn new(default: fn() -> Arc<T>) -> Self {
        let what = || format!("Mock<{}>", any::type_name::<T>());
        Self {
            object: Sharded::named(default, what),
        }
    }

    /// Makes the mock strict, as [`Sharded::strict`] does.
    ///
    /// A strict mock still has a default in universes. The default may panic there, so that a test has to set its own:
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
    ///     Some(_) => panic!("this test has set no mailer"),
    /// })
    /// .strict();
    /// Universe::new().enter(|| MAILER.get());
    /// ```
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.object.make_strict();
        self
    }

    /// Returns the object of the current universe, or else the default.
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

    /// Returns the object like [`get`](Self::get), or an error outside of all universes.
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

    /// Replaces the object in the current universe.
    ///
    /// Holders of the former object keep it.
    ///
    /// # Panics
    ///
    /// If it is [`strict`](Self::strict) and the caller is in no universe.
    #[track_caller]
    pub fn put(&self, object: Arc<T>) {
        self.object.set(object);
    }

    /// Restores the default, which is created again.
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
