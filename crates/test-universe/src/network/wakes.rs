//! Wake-ups that are collected under the network's lock and run after it is released.

use std::{sync::Arc, task::Waker};

use event_listener::Event;

/// Wake-ups to run without the lock: a waker may be the last owner of a task, and that task may own streams of this
/// network, whose destructors take the lock.
#[derive(Default)]
pub(super) struct Wakes {
    wakers: Vec<Waker>,
    former: Vec<Waker>,
    listeners: Vec<Arc<Event>>,
    dialling: bool,
}

impl Wakes {
    pub(super) fn wake(&mut self, waiting: &mut Option<Waker>) {
        self.wakers.extend(waiting.take());
    }

    /// Sets the waker of a pending operation.
    pub(super) fn wait(&mut self, waiting: &mut Option<Waker>, waker: &Waker) {
        match waiting {
            Some(former) if former.will_wake(waker) => {}
            _ => self.former.extend(waiting.replace(waker.clone())),
        }
    }

    pub(super) fn forget(&mut self, waiting: &mut Option<Waker>) {
        self.former.extend(waiting.take());
    }

    pub(super) fn listener(&mut self, event: &Arc<Event>) {
        self.listeners.push(Arc::clone(event));
    }

    pub(super) fn dialling(&mut self) {
        self.dialling = true;
    }

    /// Runs all wake-ups; `changed` is the event on which dialling tasks wait.
    pub(super) fn run(self, changed: &Event) {
        for listener in self.listeners {
            listener.notify(usize::MAX);
        }
        if self.dialling {
            changed.notify(usize::MAX);
        }
        self.wakers.into_iter().for_each(Waker::wake);
    }
}
