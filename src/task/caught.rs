//! Panics of user code, converted to exit reasons.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    ExitReason,
    universe::integration::{Contained, Panic, catch_panic, note_panic},
};

pin_project_lite::pin_project! {
    /// A future whose panics, including those of its destructor, affect no other task.
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Caught<F> {
        #[pin]
        future: Contained<F>,
    }
}

impl<F> Caught<F> {
    pub(crate) fn new(future: F) -> Self {
        let future = Contained::new(future);
        Self { future }
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, ExitReason>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let output = self.project().future.poll_caught(cx);
        output.map(|output| output.map_err(panicked))
    }
}

/// Calls a user's function. A panic becomes an exit reason, and is recorded in the universe.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, ExitReason> {
    catch_panic(f).map_err(panicked)
}

/// Part of the message with which tokio panics outside of a runtime.
const NO_RUNTIME: &str = "there is no reactor running";

/// What to do about that.
const RUNTIME_HINT: &str = " (start it in a tokio runtime, or name one with the builder's `tokio`; both need the feature \
     `tokio` of erps)";

/// Converts a caught panic to an exit reason, and records it in the universe.
pub(crate) fn panicked(panic: Panic) -> ExitReason {
    note_panic(&panic);
    let text = panic.text();
    if text.contains(NO_RUNTIME) {
        return ExitReason::Panic(format!("{text}{RUNTIME_HINT}").into());
    }
    ExitReason::Panic(text.into())
}
