//! The wrapper that keeps a future in its universe.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::{
    context::{self, TaskContext},
    panics,
    resident::Resident,
    resources::{Entry, task_name},
    sim::watch::Watch,
    universe::Universe,
    unwind,
};

pin_project_lite::pin_project! {
    /// A future that is polled and dropped in its own universe, on any executor.
    ///
    /// Returned by [`Universe::scope`] and [`inherit`](crate::inherit). It costs a few nanoseconds per poll in a universe,
    /// and two comparisons of pointers in a process without universes.
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct InUniverse<F> {
        context: TaskContext,
        watch: Watch,
        // The waker of the last poll, if there is a resident, whose own copy is under a lock.
        waker: Option<Waker>,
        entry: Entry,
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for InUniverse<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // Destructors of the future use statics of its universe.
            if this.future.is_some() {
                this.context.enter(|| this.future.set(None));
            }
            this.watch.end();
            if let Some(resident) = &this.context.resident {
                resident.end();
            }
            drop(mem::take(this.entry));
        }
    }
}

impl<F> InUniverse<F> {
    pub(crate) fn new(context: TaskContext, future: F) -> Self {
        Self::with((context, Entry::default()), Watch::default(), future)
    }

    /// A future that is about to be spawned: it counts as awake and is listed from now on.
    pub(crate) fn to_spawn(spawned: (TaskContext, Entry), future: F) -> Self {
        let watch = Watch::begin(spawned.0.sim());
        Self::with(spawned, watch, future)
    }

    /// A future that another executor is about to run.
    pub(crate) fn to_spawn_elsewhere(spawned: (TaskContext, Entry), future: F) -> Self {
        let watch = Watch::begin_foreign(spawned.0.sim());
        Self::with(spawned, watch, future)
    }

    fn with((context, entry): (TaskContext, Entry), watch: Watch, future: F) -> Self {
        Self {
            context,
            watch,
            waker: None,
            entry,
            future: Some(future),
        }
    }

    /// Sets the handle by which the future can be [allowed](Universe::allow) into another universe.
    pub fn residing(mut self, resident: &Resident) -> Self {
        resident.set_home(self.universe());
        self.context.resident = Some(resident.clone());
        self
    }

    /// Returns a handle by which the future can be [allowed](Universe::allow) into another universe after it has been
    /// spawned.
    ///
    /// Call it before the future is pinned. A future without a handle costs less per poll.
    pub fn resident(&mut self) -> Resident {
        if let Some(resident) = &self.context.resident {
            return resident.clone();
        }
        let resident = Resident::default();
        resident.set_home(self.universe());
        self.context.resident = Some(resident.clone());
        resident
    }

    /// Returns the universe that the future runs in; `None` if it was made outside of all.
    #[must_use]
    pub fn universe(&self) -> Option<&Universe> {
        self.context.universe.as_ref()
    }
}

impl<F: Future> Future for InUniverse<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let mut moved = None;
        if let Some(resident) = &this.context.resident {
            let is_same = |waker: &Waker| waker.will_wake(cx.waker());
            if !this.waker.as_ref().is_some_and(is_same) {
                resident.set_waker(cx.waker());
                *this.waker = Some(cx.waker().clone());
            }
            if let Some(resident) = this.context.moved().cloned() {
                moved = follow(&resident, this.context, this.watch, cx);
            }
        }
        let context = moved.as_ref().unwrap_or(this.context);
        let is_task = moved.is_some() || this.entry.is_listed();
        let outcome = watched(context, this.watch, cx, |cx| {
            let _polled = context.polls();
            context.enter(|| {
                let future = this.future.as_mut().as_pin_mut();
                let future = future.expect("a future is not polled after it has completed");
                let output = match is_task {
                    // The executor may not report the panic.
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
            if let Some(resident) = &this.context.resident {
                resident.end();
            }
            drop(mem::take(this.entry));
        }
        outcome
    }
}

/// The context of a future that was allowed into another universe; `None` if it is, or is again, in its own.
#[cold]
fn follow(
    resident: &Resident,
    own: &mut TaskContext,
    watch: &mut Watch,
    cx: &Context<'_>,
) -> Option<TaskContext> {
    let to = resident.take_move();
    if to.universe.is_none() {
        own.version = to.version;
    }
    if to.watch.is_some() || to.universe.is_none() {
        watch.leave(cx.waker());
        *watch = to.watch.unwrap_or_default();
    }
    Some(TaskContext {
        universe: Some(to.universe?),
        trace: own.trace.clone(),
        host: None,
        resident: Some(resident.clone()),
        version: to.version,
    })
}

/// Polls a future of `context`, and counts it as awake or asleep if its universe is simulated.
///
/// A future that is nested in another one of the same universe is not counted: it is awake when the outer one is.
fn watched<R>(
    context: &TaskContext,
    watch: &mut Watch,
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<R>,
) -> Poll<R> {
    let Some(sim) = context.sim() else {
        return poll(cx);
    };
    if context::with_sim(|current| current.is_some_and(|it| Arc::ptr_eq(it, sim))) {
        watch.leave(cx.waker());
        return poll(cx);
    }
    watch.poll(sim, || task_name(context.task()), cx, poll)
}
