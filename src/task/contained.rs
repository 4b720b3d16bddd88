//! A user's code and values, whose panics end nobody but their own task.

use std::{
    ops::{Deref, DerefMut},
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    ExitReason,
    universe::{self, contain},
    unwind::{self, Panic},
};

pin_project_lite::pin_project! {
    /// A future whose destructor panics for nobody but itself.
    ///
    /// An executor drops a task that is cancelled, and aborts the process if that panics. A server that
    /// is killed would take all others along. A panic of the future itself is passed on.
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Contained<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Contained<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            contain(DESTRUCTOR, || this.future.set(None));
        }
    }
}

const DESTRUCTOR: &str = "a destructor panicked";

impl<F> Contained<F> {
    pub(crate) fn new(future: F) -> Self {
        let future = Some(future);
        Self { future }
    }
}

impl<F: Future> Contained<F> {
    fn poll_caught(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<F::Output, Panic>> {
        let future = self.project().future.as_pin_mut();
        let future = future.expect("only its drop takes it out");
        match unwind::catch(|| future.poll(cx)) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.poll_caught(cx)
            .map(|output| output.unwrap_or_else(|panic| panic.resume_guarded()))
    }
}

pin_project_lite::pin_project! {
    /// A future whose panics, also those of its destructor, end nobody but itself.
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

/// Calls a function of a user's. A panic in it becomes a reason to end, and is noted in the universe.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, ExitReason> {
    unwind::catch(f).map_err(panicked)
}

/// Makes a panic that was caught a reason to end, and notes it in the universe.
pub(crate) fn panicked(panic: Panic) -> ExitReason {
    universe::note_panic(&panic);
    ExitReason::Panic(panic.text().into())
}

/// Something of a user's. Dropped, it panics for nobody else.
#[derive(Debug)]
pub(crate) struct Foreign<T>(Option<T>);

impl<T> Foreign<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    pub(crate) fn into_inner(mut self) -> T {
        self.0.take().expect(TAKEN)
    }
}

const TAKEN: &str = "only its end takes it out";

impl<T> Deref for Foreign<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect(TAKEN)
    }
}

impl<T> DerefMut for Foreign<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect(TAKEN)
    }
}

impl<T> Drop for Foreign<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            contain(DESTRUCTOR, || drop(value));
        }
    }
}
