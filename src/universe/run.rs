//! A universe that is run to its end: its tasks on one thread, its clock, and what is left over.

use std::{
    pin::pin,
    sync::{Arc, MutexGuard, PoisonError, Weak},
};

use futures_lite::{FutureExt as _, future};
use smol::Executor;

use super::{Universe, sim::Sim};

/// How many tasks take a turn before `main` may.
const TURNS: u32 = 200;

impl Universe {
    /// Runs a future to its end in this universe, on this thread; what it starts runs here too.
    ///
    /// Tasks that this library spawns in the universe run on this thread as long as this call lasts,
    /// unless they were given an executor. So nothing of it may block while it waits for another.
    /// In a [simulated](Self::simulated) universe the tasks take turns in an order drawn from its
    /// seed: same seed, same program, same order.
    ///
    /// # Panics
    ///
    /// If the future panics, or a task that nobody supervises.
    pub fn run<F: Future>(&self, main: F) -> F::Output {
        let executor = Arc::new(Executor::new());
        let running = Running::new(self, &executor);
        let sim = self.world.sim.as_deref();
        let output = smol::block_on(async {
            let main = pin!(self.scope(main));
            match sim {
                Some(sim) => main.or(drive(&executor, sim)).await,
                None => executor.run(main).await,
            }
        });
        drop(running);
        output
    }

    /// Where tasks of this universe are spawned, if it is being run.
    pub(crate) fn executor(&self) -> Option<Arc<Executor<'static>>> {
        self.executor_slot().upgrade()
    }

    fn executor_slot(&self) -> MutexGuard<'_, Weak<Executor<'static>>> {
        let slot = &self.world.executor;
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the tasks of a simulated universe, and moves its clock when all wait.
async fn drive<T>(executor: &Executor<'static>, sim: &Sim) -> T {
    loop {
        for _ in 0..TURNS {
            if executor.try_tick() {
                continue;
            }
            let asleep = sim.asleep();
            if !sim.leap() {
                executor.tick().or(asleep).await;
            }
        }
        future::yield_now().await;
    }
}

/// The time in which a universe has an executor.
struct Running<'a>(&'a Universe);

impl<'a> Running<'a> {
    fn new(universe: &'a Universe, executor: &Arc<Executor<'static>>) -> Self {
        *universe.executor_slot() = Arc::downgrade(executor);
        if let Some(sim) = &universe.world.sim {
            sim.set_driven(true);
        }
        Self(universe)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.executor_slot() = Weak::new();
        if let Some(sim) = &self.0.world.sim {
            sim.set_driven(false);
        }
    }
}
