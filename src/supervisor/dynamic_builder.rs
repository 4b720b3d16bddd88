//! The settings of a supervisor whose children are started on demand.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    child::{ChildKind, ChildSpec, Started},
    delay::RestartDelay,
    dynamic::DynamicSupervisor,
    dynamic_run::{self, Settings},
    intensity::Intensity,
};
use crate::{Linked, task::Spawner, universe::Here};

/// The settings of a [`DynamicSupervisor`] to be.
#[derive(Clone)]
#[must_use = "a supervisor is started by `start` or `start_link`"]
pub struct DynamicSupervisorBuilder {
    settings: Settings,
    on_start: Option<Arc<OnStart>>,
}

type OnStart = dyn Fn(&DynamicSupervisor) + Send + Sync;

impl fmt::Debug for DynamicSupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSupervisorBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl DynamicSupervisorBuilder {
    /// What the supervisor is called in logs. Default: `supervisor`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into().into();
        self
    }

    /// How many restarts of all children together are allowed in any stretch of time as long as
    /// `within`. Default: 3 within 5 seconds, as in Elixir. (Erlang's own
    /// supervisors allow 1.)
    ///
    /// At one more the supervisor gives up and ends, with all of its children.
    pub fn max_restarts(mut self, count: usize, within: Duration) -> Self {
        self.settings.intensity = Intensity::new(count, within);
        self
    }

    /// How many children there may be, with those that are starting or being restarted.
    /// Default: 1 048 576, as many as a BEAM has processes.
    ///
    /// At the limit a further child is refused with [`StartChildError::MaxChildren`](crate::StartChildError::MaxChildren).
    pub fn max_children(mut self, count: usize) -> Self {
        self.settings.max_children = count;
        self
    }

    /// How long a restart waits. Default: [`RestartDelay::None`], as in OTP.
    pub fn restart_delay(mut self, delay: RestartDelay) -> Self {
        self.settings.delay = delay;
        self
    }

    /// Where the supervisor and its starters run, and the children made by [`ChildSpec::task`].
    /// Default: smol's global executor.
    ///
    /// Nothing of them moves, nor ends, unless someone runs the executor.
    pub fn executor(mut self, executor: Arc<smol::Executor<'static>>) -> Self {
        self.settings.spawner = self.settings.spawner.on(&executor);
        self
    }

    /// Is called with a handle each time the supervisor has started: how others learn of one that runs
    /// as somebody's child.
    pub fn on_start(
        mut self,
        callback: impl Fn(&DynamicSupervisor) + Send + Sync + 'static,
    ) -> Self {
        self.on_start = Some(Arc::new(callback));
        self
    }

    pub(crate) fn spawner(mut self, spawner: Spawner) -> Self {
        self.settings.spawner = spawner;
        self
    }

    /// Starts the supervisor, which lives until someone ends it. It inherits the current universe.
    #[must_use = "nobody else can start children of it"]
    pub fn start(self) -> DynamicSupervisor {
        let name = Arc::clone(&self.settings.name);
        let (task, queue) = dynamic_run::start(self.settings);
        let supervisor = DynamicSupervisor { name, task, queue };
        if let Some(on_start) = self.on_start {
            on_start(&supervisor);
        }
        supervisor
    }

    /// The supervisor as a child of another. It keeps the universe current at this call through
    /// every restart; children that were started on demand are gone with the old one.
    ///
    /// Its shutdown is [`Shutdown::Infinity`](crate::Shutdown::Infinity), as it waits for its children, who have their own time
    /// limits.
    #[track_caller]
    pub fn child_spec(self, id: impl Into<String>) -> ChildSpec {
        let here = Here::capture();
        let start = move || {
            let builder = self.clone();
            here.scope(async move { Ok(Started::Running(builder.start().task)) })
        };
        ChildSpec::new(id, start).kind(ChildKind::Supervisor)
    }

    /// Starts the supervisor with an owner: it is shut down when the owner is dropped.
    pub fn start_link(self) -> Linked<DynamicSupervisor> {
        Linked::new(self.start())
    }
}

impl Default for DynamicSupervisorBuilder {
    #[track_caller]
    fn default() -> Self {
        Self {
            settings: Settings {
                name: "supervisor".into(),
                intensity: Intensity::default(),
                delay: RestartDelay::default(),
                max_children: 1 << 20,
                spawner: Spawner::new(),
            },
            on_start: None,
        }
    }
}
