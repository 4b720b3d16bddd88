//! The builder of a supervisor of an ordered list of children.

use std::{fmt, sync::Arc, time::Duration};

use futures_channel::oneshot;

use super::{
    child::{ChildKind, ChildSpec, Started},
    delay::RestartDelay,
    error::StartSupervisorError,
    intensity::Intensity,
    ordered::Supervisor,
    ordered_message::Settings,
    ordered_run,
    strategy::{AutoShutdown, Strategy},
};
use crate::{Linked, task::Spawner, universe::CapturedContext};

/// Builds a [`Supervisor`] and its children. Made by [`Supervisor::builder`].
///
/// A clone has the same settings and starts the same children.
#[derive(Clone)]
#[must_use = "a supervisor is started by `start` or `start_link`"]
pub struct SupervisorBuilder {
    settings: Settings,
    children: Vec<ChildSpec>,
    on_start: Option<Arc<OnStart>>,
}

type OnStart = dyn Fn(&Supervisor) + Send + Sync;

impl Supervisor {
    /// Returns a builder with the default settings and no children.
    #[track_caller]
    pub fn builder() -> SupervisorBuilder {
        SupervisorBuilder::default()
    }
}

impl SupervisorBuilder {
    /// Sets the name of the supervisor in logs. Default: `supervisor`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into().into();
        self
    }

    /// Adds a child after those added before.
    pub fn child(mut self, spec: impl Into<ChildSpec>) -> Self {
        self.children.push(spec.into());
        self
    }

    /// Sets which children are restarted together with one that exits. Default: [`Strategy::OneForOne`].
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.settings.strategy = strategy;
        self
    }

    /// Sets when the supervisor shuts down because significant children have exited. Default:
    /// [`AutoShutdown::Never`].
    pub fn auto_shutdown(mut self, when: AutoShutdown) -> Self {
        self.settings.auto_shutdown = when;
        self
    }

    /// Sets how many restarts, of all children together, are allowed within any period of length
    /// `within`. Default: 3 within 5 seconds, as in Elixir. (Erlang's own supervisors allow 1.)
    ///
    /// A restart of several children, by the strategy, counts once. At one restart more the supervisor shuts all
    /// children down and exits.
    pub fn max_restarts(mut self, count: usize, within: Duration) -> Self {
        self.settings.intensity = Intensity::new(count, within);
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

    /// Sets a callback that receives a handle each time the supervisor is about to start its children. Use it to get
    /// the handle of a supervisor that is itself a child.
    pub fn on_start(mut self, callback: impl Fn(&Supervisor) + Send + Sync + 'static) -> Self {
        self.on_start = Some(Arc::new(callback));
        self
    }

    /// Starts the supervisor, in the universe of the task that awaits this, and waits until all children
    /// have started. It runs until it is shut down or exceeds [`max_restarts`](Self::max_restarts).
    ///
    /// # Errors
    ///
    /// Nothing is left running after any of them.
    ///
    /// - [`Child`](StartSupervisorError::Child): a child did not start, or its specification is invalid.
    ///   Those before it were shut down again, in reverse order.
    /// - [`Exited`](StartSupervisorError::Exited): it was shut down or exceeded
    ///   [`max_restarts`](Self::max_restarts) before all children had started.
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
                    _ => Err(StartSupervisorError::Exited(reason)),
                }
            }
        }
    }

    /// Starts the supervisor as [`start`](Self::start) does, and returns an owner, whose drop shuts it down.
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

    /// Returns a specification of the supervisor as a child of another. It keeps the universe current at
    /// this call through every restart.
    ///
    /// Its shutdown is [`Shutdown::Infinity`](crate::Shutdown::Infinity), as it waits for its children,
    /// which have their own time limits.
    #[track_caller]
    pub fn child_spec(self, id: impl Into<String>) -> ChildSpec {
        let here = CapturedContext::capture();
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
