//! The settings of a supervisor of a list of children.

use std::{fmt, sync::Arc, time::Duration};

use futures_channel::oneshot;

use super::{
    child::{ChildKind, ChildSpec, Started},
    delay::RestartDelay,
    intensity::Intensity,
    ordered::{AutoShutdown, StartSupervisorError, Strategy, Supervisor},
    ordered_message::Settings,
    ordered_run,
};
use crate::{Linked, task::Spawner, universe::Here};

/// The settings of a [`Supervisor`] to be, and its children.
///
/// A clone is the same recipe.
#[derive(Clone)]
#[must_use = "a supervisor is started by `start` or `start_link`"]
pub struct SupervisorBuilder {
    settings: Settings,
    children: Vec<ChildSpec>,
    on_start: Option<Arc<OnStart>>,
}

type OnStart = dyn Fn(&Supervisor) + Send + Sync;

impl SupervisorBuilder {
    /// What the supervisor is called in logs. Default: `supervisor`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into().into();
        self
    }

    /// Adds a child behind those before.
    pub fn child(mut self, spec: impl Into<ChildSpec>) -> Self {
        self.children.push(spec.into());
        self
    }

    /// Who is restarted when one child has to be. Default: [`Strategy::OneForOne`].
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.settings.strategy = strategy;
        self
    }

    /// When the supervisor ends because its significant children have. Default:
    /// [`AutoShutdown::Never`].
    pub fn auto_shutdown(mut self, when: AutoShutdown) -> Self {
        self.settings.auto_shutdown = when;
        self
    }

    /// How many restarts of all children together are allowed in any stretch of time as long as
    /// `within`. Default: 3 within 5 seconds, as in Elixir. (Erlang's own
    /// supervisors allow 1.)
    ///
    /// Children that are restarted because another one is do not count. At one more the supervisor
    /// gives up and ends, with all of its children.
    pub fn max_restarts(mut self, count: usize, within: Duration) -> Self {
        self.settings.intensity = Intensity::new(count, within);
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

    /// Is called with a handle each time the supervisor is about to start its children: how others
    /// learn of one that runs as somebody's child.
    pub fn on_start(mut self, callback: impl Fn(&Supervisor) + Send + Sync + 'static) -> Self {
        self.on_start = Some(Arc::new(callback));
        self
    }

    /// Starts the supervisor, in the universe of whoever awaits this, and waits until all children
    /// have started. It lives until someone ends it, or it gives up.
    ///
    /// # Errors
    ///
    /// Nothing is left running after any of them.
    ///
    /// - [`Child`](StartSupervisorError::Child): a child did not start, or cannot be. Those before it
    ///   were ended again, in reverse.
    /// - [`Ended`](StartSupervisorError::Ended): it gave up, or somebody ended it, before all had
    ///   started.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is left running.
    pub async fn start(self) -> Result<Supervisor, StartSupervisorError> {
        let (started, ready) = oneshot::channel();
        let name = Arc::clone(&self.settings.name);
        let (task, queue) = ordered_run::start(self.settings, self.children, started);
        let supervisor = Linked::new(Supervisor { name, task, queue });
        if let Some(on_start) = self.on_start {
            on_start(&supervisor);
        }
        match ready.await {
            Ok(Ok(())) => Ok(supervisor.unlink()),
            failed => {
                let reason = supervisor.as_ref().exited().await;
                match failed {
                    Ok(Err((id, error))) => Err(StartSupervisorError::Child { id, error }),
                    _ => Err(StartSupervisorError::Ended(reason)),
                }
            }
        }
    }

    /// As [`start`](Self::start), with an owner: the supervisor is shut down when it is dropped.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// As [`start`](Self::start).
    pub async fn start_link(self) -> Result<Linked<Supervisor>, StartSupervisorError> {
        self.start().await.map(Linked::new)
    }

    /// The supervisor as a child of another. It keeps the universe current at this call through
    /// every restart.
    ///
    /// Its shutdown is [`Shutdown::Infinity`](crate::Shutdown::Infinity), as it waits for its children, who have their own time
    /// limits.
    #[track_caller]
    pub fn child_spec(self, id: impl Into<String>) -> ChildSpec {
        let here = Here::capture();
        let start = move || {
            let builder = self.clone();
            here.scope(async move {
                let supervisor = builder.start().await?;
                Ok(Started::Running(supervisor.task))
            })
        };
        ChildSpec::new(id, start).kind(ChildKind::Supervisor)
    }
}

impl Default for SupervisorBuilder {
    #[track_caller]
    fn default() -> Self {
        Self {
            settings: Settings {
                name: "supervisor".into(),
                strategy: Strategy::default(),
                auto_shutdown: AutoShutdown::default(),
                intensity: Intensity::default(),
                delay: RestartDelay::default(),
                spawner: Spawner::new(),
            },
            children: Vec::new(),
            on_start: None,
        }
    }
}

impl fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorBuilder")
            .field("settings", &self.settings)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}
