//! The builder of a supervisor whose children are started on demand.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    child::{ChildKind, ChildSpec, Started},
    delay::RestartDelay,
    dynamic::DynamicSupervisor,
    dynamic_message::Settings,
    dynamic_run,
    intensity::Intensity,
};
use crate::{Linked, task::Spawner, universe::CapturedContext};

/// Builds a [`DynamicSupervisor`]. Made by [`DynamicSupervisor::builder`].
#[derive(Clone)]
#[must_use = "a supervisor is started by `start` or `start_link`"]
pub struct DynamicSupervisorBuilder {
    settings: Settings,
    on_start: Option<Arc<OnStart>>,
}

type OnStart = dyn Fn(&DynamicSupervisor) + Send + Sync;

impl DynamicSupervisor {
    /// Returns a builder with the default settings.
    #[track_caller]
    pub fn builder() -> DynamicSupervisorBuilder {
        DynamicSupervisorBuilder::default()
    }
}

impl fmt::Debug for DynamicSupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSupervisorBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl DynamicSupervisorBuilder {
    /// Sets the name of the supervisor in logs. Default: `supervisor`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into().into();
        self
    }

    /// Sets how many restarts, of all children together, are allowed within any period of length
    /// `within`. Default: 3 within 5 seconds, as in Elixir. (Erlang's own supervisors allow 1.)
    ///
    /// At one restart more the supervisor shuts all children down and exits.
    pub fn max_restarts(mut self, count: usize, within: Duration) -> Self {
        self.settings.intensity = Intensity::new(count, within);
        self
    }

    /// Sets the maximum number of children, including those that are starting or restarting. Default:
    /// 1 048 576, the number of processes of a BEAM.
    ///
    /// At the limit a further child is rejected with [`StartChildError::MaxChildren`](crate::StartChildError::MaxChildren).
    pub fn max_children(mut self, count: usize) -> Self {
        self.settings.max_children = count;
        self
    }

    /// Sets the delay before a restart. Default: [`RestartDelay::None`], as in OTP.
    pub fn restart_delay(mut self, delay: RestartDelay) -> Self {
        self.settings.delay = delay;
        self
    }

    /// Sets the executor for the supervisor, its starters, and the children made by
    /// [`ChildSpec::task`]. Default: smol's global executor.
    ///
    /// The caller must run the executor: otherwise these tasks neither progress nor exit.
    pub fn executor(mut self, executor: Arc<smol::Executor<'static>>) -> Self {
        self.settings.spawner = self.settings.spawner.on(&executor);
        self
    }

    /// Sets a callback that receives a handle each time the supervisor has started. Use it to get the handle of a
    /// supervisor that is itself a child.
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

    /// Starts the supervisor, which runs until it is shut down. It inherits the current universe.
    #[must_use = "children are started through the handle"]
    pub fn start(self) -> DynamicSupervisor {
        let name = Arc::clone(&self.settings.name);
        let (task, queue) = dynamic_run::start(self.settings);
        let supervisor = DynamicSupervisor { name, task, queue };
        if let Some(on_start) = self.on_start {
            on_start(&supervisor);
        }
        supervisor
    }

    /// Returns a specification of the supervisor as a child of another. It keeps the universe current at
    /// this call through every restart; children that were started on demand are not restored.
    ///
    /// Its shutdown is [`Shutdown::Infinity`](crate::Shutdown::Infinity), as it waits for its children,
    /// which have their own time limits.
    #[track_caller]
    pub fn child_spec(self, id: impl Into<String>) -> ChildSpec {
        let here = CapturedContext::capture();
        let start = move || {
            let builder = self.clone();
            here.scope(async move { Ok(Started::Running(builder.start().task)) })
        };
        ChildSpec::new(id, start).kind(ChildKind::Supervisor)
    }

    /// Starts the supervisor and returns an owner, whose drop shuts it down.
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
