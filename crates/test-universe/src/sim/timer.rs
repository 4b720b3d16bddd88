//! A timer of a simulated clock.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use super::Sim;

/// Waits for a time of a simulated clock.
pub(crate) struct Timer {
    sim: Arc<Sim>,
    at: Instant,
    /// Set while it is among the timers of the clock.
    id: Option<u64>,
}

impl Timer {
    pub(crate) const fn new(sim: Arc<Sim>, at: Instant) -> Self {
        let id = None;
        Self { sim, at, id }
    }

    pub(crate) fn sim(&self) -> &Arc<Sim> {
        &self.sim
    }

    pub(crate) fn set_at(&mut self, at: Instant) {
        self.remove();
        self.at = at;
    }

    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.sim.times.state();
        if self.at <= state.now {
            drop(state);
            self.remove();
            return Poll::Ready(());
        }
        let id = *self.id.get_or_insert_with(|| state.new_id());
        let former = state.timers.insert((self.at, id), cx.waker().clone());
        drop(state);
        drop(former);
        Poll::Pending
    }

    fn remove(&mut self) {
        if let Some(id) = self.id.take() {
            let former = self.sim.times.state().timers.remove(&(self.at, id));
            drop(former);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.remove();
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}
