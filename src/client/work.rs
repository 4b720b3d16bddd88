//! The tasks and timers of a client's handler.

use std::{
    future::poll_fn,
    panic::Location,
    task::{Poll, ready},
};

use crate::{
    ExitReason, TaskHandle, TaskRef,
    task::{Alarm, Children, Spawner},
    timers::Timers,
};

/// What a handler has begun and that ends with it.
pub(super) struct Work<T> {
    owner: TaskRef,
    spawner: Spawner,
    pub(super) children: Children,
    pub(super) timers: Timers<T>,
}

impl<T: Send + 'static> Work<T> {
    pub(super) fn new(owner: TaskRef, spawner: Spawner) -> Self {
        Self {
            owner,
            spawner,
            children: Children::default(),
            timers: Timers::new(),
        }
    }

    pub(super) fn start(
        &self,
        at: &'static Location<'static>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> TaskHandle {
        self.children.start(&self.owner, &self.spawner, at, work)
    }

    /// Waits for the next message of a timer.
    pub(super) async fn tick(&self) -> Result<T, ExitReason> {
        let mut alarm = Alarm::default();
        poll_fn(|cx| {
            loop {
                if let Some(tick) = self.timers.take_due() {
                    return Poll::Ready(tick);
                }
                ready!(alarm.poll(cx, self.timers.next()));
            }
        })
        .await
    }
}
