//! The tokio runtime that tasks are polled in, so that tokio's timers, sockets and `tokio::spawn` work there.
//!
//! Without the feature `tokio` there is none.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// A tokio runtime, or none. It is not kept alive.
#[derive(Clone, Default)]
pub(crate) struct Runtime {
    #[cfg(feature = "tokio")]
    handle: Option<tokio::runtime::Handle>,
}

#[cfg(feature = "tokio")]
impl Runtime {
    /// Returns the runtime that this is called in, if any.
    pub(crate) fn current() -> Self {
        Self {
            handle: tokio::runtime::Handle::try_current().ok(),
        }
    }

    pub(crate) fn of(handle: tokio::runtime::Handle) -> Self {
        Self {
            handle: Some(handle),
        }
    }

    fn enter(&self) -> impl Sized + '_ {
        self.handle.as_ref().map(|handle| handle.enter())
    }
}

#[cfg(not(feature = "tokio"))]
impl Runtime {
    pub(crate) fn current() -> Self {
        Self {}
    }

    #[expect(clippy::unused_self, reason = "with the feature it is used")]
    fn enter(&self) -> impl Sized + '_ {}
}

impl Runtime {
    /// Returns a future that is polled and dropped in this runtime.
    pub(crate) fn run<F>(&self, future: F) -> InRuntime<F> {
        InRuntime {
            future: Some(future),
            runtime: self.clone(),
        }
    }

    /// Returns a closure that runs in this runtime.
    pub(crate) fn run_fn<R>(self, f: impl FnOnce() -> R) -> impl FnOnce() -> R {
        move || {
            let _entered = self.enter();
            f()
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runtime")
    }
}

pin_project_lite::pin_project! {
    /// A future that is polled and dropped in a tokio runtime.
    pub(crate) struct InRuntime<F> {
        // `None` once it is dropped.
        #[pin]
        future: Option<F>,
        runtime: Runtime,
    }

    impl<F> PinnedDrop for InRuntime<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.runtime.enter();
            this.future.set(None);
        }
    }
}

impl<F: Future> Future for InRuntime<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.runtime.enter();
        let future = this.future.as_pin_mut();
        future.expect("only the destructor drops it").poll(cx)
    }
}
