//! The state that all handles to a universe share.

use std::{
    any::Any,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockWriteGuard, Weak},
    time::Duration,
};

use async_executor::Executor;

use crate::{panic_log::PanicLog, resources::ResourceList, shard::Shard, sim::Sim};

/// The state of a universe. Its `Drop` is in [`teardown`](crate::teardown).
pub(crate) struct Inner {
    pub(crate) id: u64,
    pub(crate) sim: Option<Arc<Sim>>,
    /// Alive as long as a handle exists that keeps the universe alive.
    pub(crate) life: Weak<()>,
    name: Mutex<Option<Arc<str>>>,
    limits: Mutex<RunLimits>,
    pub(crate) resources: Arc<ResourceList>,
    pub(crate) panics: Arc<PanicLog>,
    /// The simulated network, whose type is unknown here.
    pub(crate) extension: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Set while the universe is [run](crate::Universe::run). The executor's tasks own the universe, so it must not own
    /// the executor.
    pub(crate) executor: Mutex<Option<Weak<Executor<'static>>>>,
    /// The shard of every static that was used in this universe, by the static's key.
    pub(crate) shards: RwLock<Shards>,
    /// How often this universe was revived to drop values that destructors had created.
    pub(crate) revivals: u32,
}

/// Keys are small and dense: a vector finds a shard faster than a map.
pub(crate) type Shards = Vec<Option<Arc<dyn Any + Send + Sync>>>;

impl Inner {
    pub(crate) fn new(id: u64, sim: Option<Arc<Sim>>, life: Weak<()>) -> Self {
        Self {
            id,
            sim,
            life,
            name: Mutex::default(),
            limits: Mutex::default(),
            resources: Arc::default(),
            panics: Arc::default(),
            extension: OnceLock::new(),
            executor: Mutex::default(),
            shards: RwLock::default(),
            revivals: 0,
        }
    }

    pub(crate) fn name(&self) -> Option<Arc<str>> {
        self.name
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_name(&self, name: Option<Arc<str>>) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    pub(crate) fn limits(&self) -> RunLimits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_limits(&self, set: impl FnOnce(&mut RunLimits)) {
        set(&mut self.limits.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns the value of a static if it is initialized.
    pub(crate) fn value<T: Send + Sync + 'static>(&self, key: usize) -> Option<Arc<T>> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let shard: &Shard<T> = shards.get(key)?.as_ref()?.downcast_ref()?;
        shard.get()
    }

    /// Returns the shard of a static.
    pub(crate) fn shard<T: Send + Sync + 'static>(&self, key: usize) -> Arc<Shard<T>> {
        let mut shards = self.shards();
        if shards.len() <= key {
            shards.resize(key + 1, None);
        }
        let shard = shards[key].get_or_insert_with(|| Arc::new(Shard::<T>::new()));
        let shard = Arc::clone(shard);
        shard
            .downcast()
            .expect("a key belongs to one static, and a static has one type")
    }

    pub(crate) fn shards(&self) -> RwLockWriteGuard<'_, Shards> {
        self.shards.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a [run](crate::Universe::run) waits for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunLimits {
    /// For tasks to end after the main future has completed.
    pub(crate) shutdown: Duration,
    /// For an external event while nothing in a simulated universe can run, in real time.
    pub(crate) external: Duration,
    /// For the main future of a simulated universe, in simulated time.
    pub(crate) virtual_time: Duration,
}

impl RunLimits {
    pub(crate) const DEFAULT: Self = Self {
        // A task that is asked to shut down and killed after the usual five seconds ends before.
        shutdown: Duration::from_secs(6),
        external: Duration::from_secs(2),
        // Far more than a test simulates on purpose; a keepalive of 15 seconds gets there in 40 000 steps.
        virtual_time: Duration::from_secs(7 * 24 * 3600),
    };
}

impl Default for RunLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
