//! Wrappers of user futures and values whose panics must not reach the executor or the library.

use std::{
    ops::{Deref, DerefMut},
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    panics::contain,
    unwind::{self, Panic},
};

pin_project_lite::pin_project! {
    /// A future whose destructor's panic is caught.
    ///
    /// An executor that drops a cancelled task aborts the process if that panics. A panic of the future itself is passed
    /// on.
    #[must_use = "futures do nothing unless polled"]
    pub struct Contained<F> {
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
    /// Wraps a future.
    pub fn new(future: F) -> Self {
        let future = Some(future);
        Self { future }
    }
}

impl<F: Future> Contained<F> {
    /// Polls the future and returns its output or its panic.
    ///
    /// # Panics
    ///
    /// If it is polled again after it has completed.
    pub fn poll_caught(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<F::Output, Panic>> {
        let future = self.project().future.as_pin_mut();
        let future = future.expect("only the destructor takes it out");
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

/// A user's value whose destructor's panic is caught.
#[derive(Debug)]
pub struct Foreign<T>(Option<T>);

impl<T> Foreign<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Returns the value, which is then dropped like any other.
    ///
    /// # Panics
    ///
    /// Never.
    pub fn into_inner(mut self) -> T {
        self.0.take().expect(TAKEN)
    }
}

const TAKEN: &str = "only `into_inner` and the destructor take it out";

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
