//! The wrapper that keeps a future in its universe.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use super::{Universe, place::Place, sim::Watch};

pin_project_lite::pin_project! {
    /// A future that runs in the universe it was made for, wherever it is polled.
    ///
    /// Made by [`Universe::scope`] and [`inherit`](super::inherit). Costs a few nanoseconds per
    /// poll in a universe and two tests of a pointer in a process that has none.
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct InUniverse<F> {
        place: Place,
        watch: Watch,
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for InUniverse<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // What the future owns is dropped in its universe too: destructors look up shards.
            if this.future.is_some() {
                this.place.enter(|| this.future.set(None));
            }
            this.watch.end();
        }
    }
}

impl<F> InUniverse<F> {
    pub(super) fn new(place: Place, future: F) -> Self {
        Self {
            place,
            watch: Watch::default(),
            future: Some(future),
        }
    }

    /// One that is about to be spawned: it counts as awake from now on.
    pub(super) fn to_spawn(place: Place, future: F) -> Self {
        Self {
            watch: Watch::begin(place.sim()),
            place,
            future: Some(future),
        }
    }

    /// The universe the future runs in; `None` if it was made outside of all.
    #[must_use]
    pub fn universe(&self) -> Option<&Universe> {
        self.place.universe.as_ref()
    }
}

impl<F: Future> Future for InUniverse<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let outcome = this.watch.poll(this.place.sim(), cx, |cx| {
            this.place.enter(|| {
                let output = this
                    .future
                    .as_mut()
                    .as_pin_mut()
                    .expect("a future is not polled after it has completed")
                    .poll(cx);
                if output.is_ready() {
                    this.future.set(None);
                }
                output
            })
        });
        if outcome.is_ready() {
            this.watch.end();
        }
        outcome
    }
}
