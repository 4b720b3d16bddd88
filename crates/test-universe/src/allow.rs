//! Allowing tasks into a universe after they were spawned.

use crate::{
    context,
    registry::{Key, Registry},
    resident::{AllowError, Resides},
    universe::{Universe, WeakUniverse},
};

impl Universe {
    /// Moves a task into this universe that was not spawned in it.
    ///
    /// This is for tasks that exist before the test, such as a server that all tests share. From now on, what the task
    /// looks up, spawns and drops is in this universe, even if it is being polled at the moment. The same holds for what
    /// it starts from then on, as the servers of a daemon or the children of a supervisor. What it has spawned before
    /// stays where it is.
    ///
    /// - *Callers.* A task in no universe may be allowed by any code, into one universe at a time. A task in a universe
    ///   may be moved on by code in the same universe.
    /// - *Duration.* Until this universe ends; the task does not keep it alive. Then the task returns to where it was
    ///   spawned. It is woken when it is allowed, and timers of a universe that has ended are due.
    /// - *Time.* In a [simulated](Self::simulated) universe the clock waits for the task too. A
    ///   [`sleep`](crate::time::sleep) that has begun keeps the clock it began with, and a time-out that was running may
    ///   fire early or late, since its deadline belongs to another clock. The task stays on the thread it was spawned on,
    ///   so that the same seed may not give the same order.
    ///
    /// The model is `allow` of Elixir's Multiverses and Mox, which works on processes.
    ///
    /// # Errors
    ///
    /// - [`Elsewhere`](AllowError::Elsewhere): it is in another universe, and the caller is not.
    /// - [`Ended`](AllowError::Ended): the task has ended.
    ///
    /// # Example
    ///
    /// ```
    /// use test_universe::{self as universe, Sharded, Universe};
    ///
    /// static LIMIT: Sharded<u32> = Sharded::new(|| 10);
    ///
    /// // A worker in no universe, as production has it.
    /// let (ask, asked) = smol::channel::unbounded::<()>();
    /// let (answer, answered) = smol::channel::unbounded();
    /// let mut worker = universe::inherit(async move {
    ///     while asked.recv().await.is_ok() {
    ///         answer.send(*LIMIT.get()).await.unwrap();
    ///     }
    /// });
    /// let resident = worker.resident();
    /// smol::spawn(worker).detach();
    ///
    /// // A test that wants to see it at work.
    /// smol::block_on(Universe::new().scope(async {
    ///     LIMIT.set(1);
    ///     let here = Universe::current().unwrap();
    ///     here.allow(&resident)?;
    ///     ask.send(()).await.unwrap();
    ///     assert_eq!(answered.recv().await, Ok(1));
    ///     Ok::<(), universe::AllowError>(())
    /// }))?;
    /// # Ok::<(), universe::AllowError>(())
    /// ```
    pub fn allow(&self, task: &impl Resides) -> Result<(), AllowError> {
        task.resident().allow(self, context::universe_id())
    }

    /// Allows the task that has registered `key` outside of all universes, now and whenever a task registers it while
    /// this universe lasts.
    ///
    /// This is for a task that starts after the test has begun, or is restarted. The name stays where it was registered.
    /// Where a key has several values, all tasks that registered one are allowed.
    ///
    /// # Errors
    ///
    /// - [`Elsewhere`](AllowError::Elsewhere): another universe that has not ended has allowed this name, or a task that
    ///   has the name is in another universe. Nothing is noted for later.
    /// - [`Immovable`](AllowError::Immovable): the name was registered by a thread, or by a task without a
    ///   [`Resident`](crate::Resident), such as one that was [spawned](crate::spawn). Where that happens later, a warning
    ///   is logged.
    /// - [`Strict`](AllowError::Strict): the registry is strict and so has no names outside of universes.
    pub fn allow_name<K: Key, V: Send + Sync + 'static>(
        &self,
        registry: &Registry<K, V>,
        key: K,
    ) -> Result<(), AllowError> {
        let universe = WeakUniverse::new(self);
        for resident in registry.allow_key(key.clone(), universe)? {
            let allowed = match &resident {
                Some(resident) => resident.allow(self, context::universe_id()),
                None => Err(AllowError::Immovable),
            };
            // A task that has just ended is about to release its name.
            if let Err(error) = allowed
                && !matches!(error, AllowError::Ended)
            {
                registry.disallow_key(&key, self);
                return Err(error);
            }
        }
        Ok(())
    }
}
