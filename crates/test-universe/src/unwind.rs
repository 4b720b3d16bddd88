//! Panics of user code: catching them, reading their messages, and dropping their payloads safely.
//!
//! Nothing is logged or counted here. A payload may have a destructor, which may panic in turn. Dropped by an executor, or
//! while another panic unwinds, it would abort the process. Therefore only this module calls `std::panic::catch_unwind`.

use std::{
    any::Any,
    cell::RefCell,
    collections::VecDeque,
    fmt, mem,
    panic::{self, AssertUnwindSafe},
    sync::Once,
    thread,
};

/// How many payloads are dropped whose destructors panic with another payload. After that the payload is leaked.
const CHAIN: usize = 8;

/// A panic that was caught. Dropping it never panics.
pub struct Panic {
    payload: Option<Box<dyn Any + Send>>,
    at: Option<String>,
}

impl Panic {
    fn new(payload: Box<dyn Any + Send>) -> Self {
        let at = text(&*payload).and_then(location_of);
        Self {
            payload: Some(payload),
            at,
        }
    }

    /// Returns the panic's message.
    pub fn text(&self) -> &str {
        let payload = self.payload.as_deref();
        payload.and_then(text).unwrap_or(UNKNOWN)
    }

    /// Returns the line that panicked, if a run has started before.
    pub fn at(&self) -> Option<&str> {
        self.at.as_deref()
    }

    /// Continues to unwind with the same payload.
    ///
    /// # Panics
    ///
    /// Always, with the payload that was caught.
    pub fn resume(mut self) -> ! {
        panic::resume_unwind(
            self.payload
                .take()
                .expect("only the destructor takes it out"),
        )
    }

    /// Continues to unwind like [`resume`](Self::resume), for an executor that may drop the payload itself: a payload that
    /// may have a destructor is wrapped.
    ///
    /// # Panics
    ///
    /// Always.
    pub fn resume_guarded(self) -> ! {
        match self.payload.as_deref().and_then(text) {
            Some(_) => self.resume(),
            None => panic::resume_unwind(Box::new(self)),
        }
    }

    /// Returns the payload if it is of this type.
    ///
    /// # Errors
    ///
    /// The panic itself, if its payload is of another type.
    pub fn downcast<T: 'static>(mut self) -> Result<Box<T>, Self> {
        match self.payload.take().map(<Box<dyn Any + Send>>::downcast) {
            Some(Ok(payload)) => Ok(payload),
            other => {
                self.payload = other.and_then(Result::err);
                Err(self)
            }
        }
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        let mut payload = self.payload.take();
        for _ in 0..CHAIN {
            let Some(next) = payload else { return };
            payload = panic::catch_unwind(AssertUnwindSafe(|| drop(next))).err();
        }
        leak(payload);
    }
}

#[expect(clippy::mem_forget, reason = "its destructor panics without end")]
fn leak(payload: Option<Box<dyn Any + Send>>) {
    mem::forget(payload);
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.text()).finish()
    }
}

const UNKNOWN: &str = "a panic with a payload of unknown type";

fn text(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    // Wrapped by `resume_guarded`.
    text.or_else(|| payload.downcast_ref::<Panic>().map(Panic::text))
}

/// Calls a function and catches its panic.
///
/// # Errors
///
/// The panic.
pub fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(Panic::new)
}

/// A user's value whose `Display` and `Debug` may panic. Those of this wrapper do not.
pub struct Shown<T>(pub T);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match catch(|| fmt::Display::fmt(&self.0, f)) {
            Ok(outcome) => outcome,
            Err(panic) => write!(f, "(its `Display` panicked: {})", panic.text()),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match catch(|| fmt::Debug::fmt(&self.0, f)) {
            Ok(outcome) => outcome,
            Err(panic) => write!(f, "(its `Debug` panicked: {})", panic.text()),
        }
    }
}

thread_local! {
    /// The newest panics of this thread, with their lines: a destructor may have panicked since the one that is looked up.
    static LOCATIONS: RefCell<VecDeque<(String, String)>> = const { RefCell::new(VecDeque::new()) };
}

/// Notes the locations of panics from now on, by a hook that calls the former one.
pub(crate) fn keep_locations() {
    static ONCE: Once = Once::new();
    if thread::panicking() {
        // The hook cannot be set by a thread that unwinds.
        return;
    }
    ONCE.call_once(|| {
        let former = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if let Some(text) = text(info.payload())
                && let Some(at) = info.location()
            {
                let at = format!("{}:{}", at.file(), at.line());
                // A thread that exits has no thread-locals any more.
                let _ = LOCATIONS.try_with(|locations| {
                    if let Ok(mut locations) = locations.try_borrow_mut() {
                        locations.push_front((text.to_owned(), at));
                        locations.truncate(CHAIN);
                    }
                });
            }
            former(info);
        }));
    });
}

fn location_of(text: &str) -> Option<String> {
    let found = LOCATIONS.try_with(|locations| {
        let locations = locations.try_borrow().ok()?;
        let found = locations.iter().find(|(of, _)| of == text)?;
        Some(found.1.clone())
    });
    found.ok()?
}

#[cfg(test)]
#[expect(clippy::panic, clippy::unwrap_used, reason = "it is what is tested")]
mod tests {
    use super::*;

    /// Its destructor panics with another one, as often as this says.
    struct Bomb(usize);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic::panic_any(Self(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_panic_is_dropped_however_many_destructors_panic() {
        for depth in [0, 1, CHAIN - 1, CHAIN, usize::MAX] {
            let panic = catch(|| panic::panic_any(Bomb(depth))).unwrap_err();
            assert_eq!(panic.text(), UNKNOWN);
            drop(panic);
        }
    }

    #[test]
    fn a_panic_is_dropped_while_another_one_unwinds() {
        struct Late(Option<Panic>);
        impl Drop for Late {
            fn drop(&mut self) {
                drop(self.0.take());
            }
        }
        let late = Late(catch(|| panic::panic_any(Bomb(2))).err());
        let outer = catch(move || {
            let _late = late;
            panic!("outer");
        });
        assert_eq!(outer.unwrap_err().text(), "outer");
    }

    #[test]
    fn a_payload_of_text_is_the_text_and_others_are_of_unknown_type() {
        let text = |f: fn()| catch(f).unwrap_err().text().to_owned();
        assert_eq!(text(|| panic!("one")), "one");
        assert_eq!(text(|| panic!("{}", 2)), "2");
        assert_eq!(text(|| panic::panic_any("three".to_owned())), "three");
        let error = || panic::panic_any(Box::<dyn std::error::Error + Send + Sync>::from("four"));
        assert_eq!(text(error), UNKNOWN);
        assert_eq!(text(|| panic::panic_any(5)), UNKNOWN);
    }

    #[test]
    fn a_display_that_panics_is_text_all_the_same() {
        struct Silent;
        impl fmt::Display for Silent {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("nothing to say")
            }
        }
        let text = Shown(Silent).to_string();
        assert_eq!(text, "(its `Display` panicked: nothing to say)");
    }
}
