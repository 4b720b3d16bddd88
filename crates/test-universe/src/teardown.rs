//! How the values of a universe's statics are dropped.

use std::{
    mem,
    sync::{Arc, RwLock, Weak},
};

use crate::{context::TaskContext, inner::Inner, panics::contain, universe::Universe};

/// How often a universe is revived to drop values that destructors have created.
const MAX_REVIVALS: u32 = 8;

impl Universe {
    /// Drops the values of the universe's statics, which are initialized again when used. Returns whether there were
    /// any.
    pub(crate) fn drop_values(&self) -> bool {
        let context = TaskContext::part_in(Some(self.clone()));
        self.inner.drop_values(&context)
    }
}

impl Inner {
    /// Drops the values in `context`: the newest static first and one at a time, so that destructors find the values
    /// of older statics.
    fn drop_values(&self, context: &TaskContext) -> bool {
        let mut any = false;
        let count = self.shards().len();
        for key in (0..count).rev() {
            let shard = self.shards()[key].take();
            any |= shard.is_some();
            // A panic must not reach the owner of the last handle, which may be an executor.
            context.enter(|| contain("a destructor panicked", || drop(shard)));
        }
        any
    }
}

/// Drops the values in their universe, because destructors use statics too. The universe is revived under the same
/// number until no destructor has created a value, at most [`MAX_REVIVALS`] times: two destructors may create each
/// other's value for ever.
impl Drop for Inner {
    fn drop(&mut self) {
        // Only allowed tasks are left to wait for this clock, and nothing else advances it.
        if let Some(sim) = &self.sim {
            while sim.times.advance_to_next(None) {}
        }
        let shards = mem::take(&mut *self.shards());
        if shards.is_empty() || self.revivals == MAX_REVIVALS {
            return;
        }
        let mut revived = Self::new(self.id, self.sim.take(), Weak::new());
        revived.set_name(self.name());
        revived.resources = Arc::clone(&self.resources);
        revived.panics = Arc::clone(&self.panics);
        revived.extension = mem::take(&mut self.extension);
        revived.shards = RwLock::new(shards);
        revived.revivals = self.revivals + 1;
        let inner = Arc::new(revived);
        let universe = Universe::guest(Arc::clone(&inner));
        let context = TaskContext {
            universe: Some(universe),
            ..TaskContext::default()
        };
        inner.drop_values(&context);
        // A vector of empty shards is no reason for another revival.
        let mut left = inner.shards();
        if left.iter().all(Option::is_none) {
            left.clear();
        }
    }
}
