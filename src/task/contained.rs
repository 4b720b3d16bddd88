//! What panics when it is dropped, kept from doing harm.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use crate::ExitReason;

pin_project_lite::pin_project! {
    /// A future whose destructor panics for nobody but itself.
    ///
    /// An executor drops a task that is cancelled, and aborts the process if that panics. A server that
    /// is killed would take all others along.
    #[must_use = "futures do nothing unless polled"]
    pub(super) struct Contained<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Contained<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            contain(|| this.future.set(None));
        }
    }
}

impl<F> Contained<F> {
    pub(super) fn new(future: F) -> Self {
        let future = Some(future);
        Self { future }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.project().future.as_pin_mut();
        future.expect("only its drop takes it out").poll(cx)
    }
}

/// Drops something of the user's, where a panic would end who has nothing to do with it.
#[derive(Debug)]
pub(crate) struct Foreign<T: ?Sized>(Option<Box<T>>);

impl<T: ?Sized> Foreign<T> {
    pub(crate) fn new(value: Box<T>) -> Self {
        Self(Some(value))
    }

    pub(crate) fn get(&self) -> &T {
        self.0.as_deref().expect("only its drop takes it out")
    }
}

impl<T> Foreign<T> {
    pub(super) fn into_inner(mut self) -> T {
        *self.0.take().expect("only its drop takes it out")
    }
}

impl<T: ?Sized> Drop for Foreign<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        contain(|| drop(value));
    }
}

fn contain(destroy: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(destroy)) {
        let reason = ExitReason::panic(&*panic);
        tracing::error!(target: "erps", %reason, "a destructor has panicked");
    }
}
