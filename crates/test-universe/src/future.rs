//! The wrapper that keeps a future in its universe.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::unwind;
use crate::{Universe, allow::Resident, census::Entry, panics, place::Place, sim::Watch};

pin_project_lite::pin_project! {
    /// A future that runs in the universe it was made for, wherever it is polled.
    ///
    /// Made by [`Universe::scope`] and [`inherit`](crate::inherit). Costs a few nanoseconds per
    /// poll in a universe and two tests of a pointer in a process that has none.
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct InUniverse<F> {
        place: Place,
        watch: Watch,
        // Whoever polled it last, if it can be moved: the resident's copy is under a lock.
        waker: Option<Waker>,
        entry: Entry,
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
            if let Some(resident) = &this.place.resident {
                resident.end();
            }
            drop(mem::take(this.entry));
        }
    }
}

impl<F> InUniverse<F> {
    pub(crate) fn new(place: Place, future: F) -> Self {
        Self {
            place,
            watch: Watch::default(),
            waker: None,
            entry: Entry::default(),
            future: Some(future),
        }
    }

    /// One that is about to be spawned: it counts as awake from now on, and as living.
    pub(crate) fn to_spawn(spawned: (Place, Entry), future: F) -> Self {
        let watch = Watch::begin(spawned.0.sim());
        Self::spawned(spawned, watch, future)
    }

    /// As [`to_spawn`](Self::to_spawn), by others.
    pub(crate) fn to_hand_out(spawned: (Place, Entry), future: F) -> Self {
        let watch = Watch::begin_abroad(spawned.0.sim());
        Self::spawned(spawned, watch, future)
    }

    fn spawned((place, entry): (Place, Entry), watch: Watch, future: F) -> Self {
        Self {
            watch,
            place,
            waker: None,
            entry,
            future: Some(future),
        }
    }

    /// Lets it be moved by a handle that was there before.
    pub fn residing(mut self, resident: &Resident) -> Self {
        resident.settle(self.universe());
        self.place.resident = Some(resident.clone());
        self
    }

    /// A handle by which the future can be [allowed](Universe::allow) into another universe, after it
    /// has been spawned.
    ///
    /// It is to be asked for before the future is pinned. A future without one costs less per poll.
    pub fn resident(&mut self) -> Resident {
        if let Some(resident) = &self.place.resident {
            return resident.clone();
        }
        let resident = Resident::default();
        resident.settle(self.universe());
        self.place.resident = Some(resident.clone());
        resident
    }

    /// The universe the future was made to run in; `None` if it was made outside of all.
    #[must_use]
    pub fn universe(&self) -> Option<&Universe> {
        self.place.universe.as_ref()
    }
}

impl<F: Future> Future for InUniverse<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let mut away = None;
        if let Some(resident) = &this.place.resident {
            if this
                .waker
                .as_ref()
                .is_none_or(|it| !it.will_wake(cx.waker()))
            {
                resident.woken_by(cx.waker());
                *this.waker = Some(cx.waker().clone());
            }
            if let Some(resident) = this.place.moved().cloned() {
                away = resident.follow(this.place, this.watch, cx);
            }
        }
        let place = away.as_ref().unwrap_or(this.place);
        let is_task = away.is_some() || this.entry.is_listed();
        let outcome = this.watch.poll(place, cx, |cx| {
            let _running = place.running();
            place.enter(|| {
                let future = this.future.as_mut().as_pin_mut();
                let future = future.expect("a future is not polled after it has completed");
                let output = match is_task {
                    // Whoever runs it may keep its panic to itself.
                    true => unwind::catch(|| future.poll(cx)).unwrap_or_else(|panic| {
                        panics::note(&panic);
                        panic.resume()
                    }),
                    false => future.poll(cx),
                };
                if output.is_ready() {
                    this.future.set(None);
                }
                output
            })
        });
        if outcome.is_ready() {
            this.watch.end();
            if let Some(resident) = &this.place.resident {
                resident.end();
            }
            drop(mem::take(this.entry));
        }
        outcome
    }
}
