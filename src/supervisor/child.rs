//! Child specifications: how a child is started, restarted and shut down.

use std::{fmt, panic::Location, sync::Arc, time::Duration};

use futures_channel::oneshot;
use futures_lite::future::Boxed;
use serde::Serialize;

use super::owned::Owned;
use crate::{
    BoxError, ExitReason, Shutdown, TaskRef,
    task::{self, Foreign, Spawner},
};

/// The exits after which a child is restarted. OTP's `restart` of a child specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum Restart {
    /// After every exit. The default, as in OTP.
    #[default]
    Permanent,
    /// Only after an [abnormal](ExitReason::is_abnormal) exit.
    Transient,
    /// Never.
    Temporary,
}

impl Restart {
    /// Returns whether a child is restarted after this exit of its task.
    pub(super) fn applies_after(self, task: &TaskRef, reason: &ExitReason) -> bool {
        match self {
            _ if task.is_last_run() && !reason.is_abnormal() => false,
            Self::Permanent => true,
            Self::Transient => reason.is_abnormal(),
            Self::Temporary => false,
        }
    }
}

/// Whether a child is a worker or a supervisor. OTP's `type` of a child specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum ChildKind {
    /// A task without children. The default, as in OTP.
    #[default]
    Worker,
    /// A supervisor with children of its own.
    Supervisor,
}

/// The result of a start function. OTP's `{:ok, pid}` and `:ignore`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Started {
    /// The child runs as this task.
    Running(TaskRef),
    /// The child had nothing to run. Not a failure.
    Ignore,
}

impl From<TaskRef> for Started {
    fn from(task: TaskRef) -> Self {
        Self::Running(task)
    }
}

/// How a child is started, restarted and shut down. OTP's child specification.
///
/// By default a child is [permanent](Restart::Permanent) and has five seconds to shut down. It can be
/// started any number of times; clones share the start function.
///
/// The start function runs in a task of its own and in the universe of the supervisor, not of the
/// caller of `start_child`. For another universe, use [`Universe::scope`](crate::Universe::scope) in
/// it.
#[derive(Clone)]
pub struct ChildSpec {
    pub(super) id: Arc<str>,
    pub(super) restart: Restart,
    /// `None`: the default of its kind.
    shutdown: Option<Shutdown>,
    pub(super) significant: bool,
    pub(super) kind: ChildKind,
    made: &'static Location<'static>,
    start: Arc<Foreign<Box<Start>>>,
}

/// Receives the spawner and the id of the child.
type Start = dyn Fn(&Spawner, &str) -> Boxed<Result<Started, BoxError>> + Send + Sync;

impl ChildSpec {
    /// Creates a specification from a start function, which starts a task and returns its handle.
    ///
    /// The supervisor owns the task once the function has returned it. If the supervisor exits earlier,
    /// the future is dropped and must leave no task behind: hold the task as a
    /// [`Linked`](crate::Linked) until the future is ready.
    #[track_caller]
    pub fn new<F>(id: impl Into<String>, start: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Started, BoxError>> + Send + 'static,
    {
        Self::from_start(id.into(), move |_, _| Box::pin(start()))
    }

    /// Creates a specification from the body of a task, which runs on the supervisor's executor.
    ///
    /// The body receives the task's own handle. For an orderly exit it must watch
    /// [`shutdown_requested`](TaskRef::shutdown_requested); a body that never does is killed when its
    /// [`Shutdown`] times out.
    #[track_caller]
    pub fn task<F>(
        id: impl Into<String>,
        body: impl Fn(TaskRef) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        let body = Arc::new(body);
        Self::from_start(id.into(), move |spawner, id| {
            let body = Arc::clone(&body);
            // The body is called inside the task, so that its panic becomes the task's exit reason.
            let task = spawner.start(format_args!("the child `{id}`"), |me| async move {
                body(me).await
            });
            Box::pin(async { Ok(task.into()) })
        })
    }

    #[track_caller]
    fn from_start(
        id: String,
        start: impl Fn(&Spawner, &str) -> Boxed<Result<Started, BoxError>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            id: id.into(),
            restart: Restart::default(),
            shutdown: None,
            significant: false,
            kind: ChildKind::default(),
            made: Location::caller(),
            start: Arc::new(Foreign::new(Box::new(start))),
        }
    }

    /// Sets the id of the child in logs and lists. A [`DynamicSupervisor`](crate::DynamicSupervisor)
    /// does not require it to be unique.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into().into();
        self
    }

    /// Sets after which exits the child is restarted. Default: [`Restart::Permanent`].
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets how the supervisor shuts the child down. Default: [`Shutdown::Within`] five seconds, or
    /// [`Shutdown::Infinity`] if it is a [supervisor](Self::kind), as in OTP.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = Some(shutdown);
        self
    }

    pub(super) fn effective_shutdown(&self) -> Shutdown {
        self.shutdown.unwrap_or(match self.kind {
            ChildKind::Worker => Shutdown::default(),
            // It waits for its children, which have their own time limits.
            ChildKind::Supervisor => Shutdown::Infinity,
        })
    }

    /// Sets whether the exit of the child may shut its [`Supervisor`](crate::Supervisor) down, depending
    /// on its [`AutoShutdown`](crate::AutoShutdown). Default: false.
    ///
    /// An exit counts if the child exits by itself and is not restarted. A permanent child cannot be
    /// significant, and a dynamic supervisor has no significant children.
    #[must_use]
    pub fn significant(mut self, significant: bool) -> Self {
        self.significant = significant;
        self
    }

    /// Sets whether the child is a worker or a supervisor. Default: [`ChildKind::Worker`].
    ///
    /// The `child_spec` of a supervisor sets it.
    #[must_use]
    pub fn kind(mut self, kind: ChildKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the line that its tasks are labelled with, instead of that of the constructor's call.
    pub(crate) fn made_at(mut self, made: &'static Location<'static>) -> Self {
        self.made = made;
        self
    }

    /// Runs the start function without a supervisor.
    pub(crate) fn start(&self) -> Boxed<Result<Started, BoxError>> {
        (self.start)(&Spawner::new().made_at(self.made), &self.id)
    }

    /// Runs the start function, after a pause, in a task of its own, the starter, which is returned.
    /// `report` is called once, when the starter has exited, with its id and the outcome.
    pub(super) fn launch(
        &self,
        spawner: &Spawner,
        pause: Duration,
        report: impl FnOnce(u64, Outcome) + Send + 'static,
    ) -> Owned {
        let (result, mut results) = oneshot::channel();
        let (start, shutdown) = (Arc::clone(&self.start), self.effective_shutdown());
        let (id, spawner) = (Arc::clone(&self.id), spawner.made_at(self.made));
        let inner = spawner.clone();
        let starter = spawner.start(format_args!("the start of `{}`", self.id), |_| async move {
            if !pause.is_zero() {
                task::sleep(pause).await;
            }
            let outcome = match (start)(&inner, &id).await {
                Ok(Started::Running(task)) => Outcome::Running(Owned::new(task, shutdown)),
                Ok(Started::Ignore) => Outcome::Ignore,
                Err(error) => Outcome::Failed(ExitReason::error(error)),
            };
            // Fails only if the report was dropped; the drop of the result shuts the child down.
            let _ = result.send(outcome);
            ExitReason::Normal
        });
        let id = starter.id();
        starter.on_exit(move |reason| {
            let outcome = match results.try_recv() {
                Ok(Some(outcome)) => outcome,
                _ => Outcome::Failed(reason.clone()),
            };
            report(id, outcome);
        });
        Owned::new(starter, Shutdown::BrutalKill)
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("restart", &self.restart)
            .field("shutdown", &self.effective_shutdown())
            .field("significant", &self.significant)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// The outcome of a start, as reported to the supervisor.
#[derive(Debug)]
pub(super) enum Outcome {
    Running(Owned),
    Ignore,
    /// The start function returned an error, panicked, or was killed.
    Failed(ExitReason),
}
