//! Recipes for children: how one is started, when it is started again, how it is ended.

use std::{fmt, panic::Location, sync::Arc, time::Duration};

use futures_channel::oneshot;
use futures_lite::future::Boxed;
use serde::Serialize;

use super::owned::Owned;
use crate::{
    BoxError, ExitReason, Shutdown, TaskRef,
    task::{self, Foreign, Spawner},
};

/// After which ends a child is started again. OTP's `restart` of a child specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum Restart {
    /// After every end. The default, as in OTP.
    #[default]
    Permanent,
    /// After an [abnormal](ExitReason::is_abnormal) end only.
    Transient,
    /// Never.
    Temporary,
}

impl Restart {
    pub(super) fn applies_after(self, reason: &ExitReason) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => reason.is_abnormal(),
            Self::Temporary => false,
        }
    }
}

/// What a child is, for those who look at a tree. OTP's `type` of a child specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum ChildKind {
    /// It does the work. The default, as in OTP.
    #[default]
    Worker,
    /// It looks after children of its own.
    Supervisor,
}

/// What came of running a recipe. OTP's `{:ok, pid}` and `:ignore`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Started {
    /// The child runs as this task.
    Running(TaskRef),
    /// There is nothing to run, and nothing went wrong.
    Ignore,
}

impl From<TaskRef> for Started {
    fn from(task: TaskRef) -> Self {
        Self::Running(task)
    }
}

/// The recipe for a child. OTP's child specification.
///
/// By default a child is [permanent](Restart::Permanent) and has five seconds to end. A clone is
/// the same recipe; it can be started any number of times.
///
/// A recipe is run in a task of its own and in the universe of the supervisor, whoever calls
/// `start_child`: the child lives under the supervisor. A recipe that wants another universe brings
/// it along, with [`Universe::scope`](crate::Universe::scope).
#[derive(Clone)]
pub struct ChildSpec {
    pub(super) id: Arc<str>,
    pub(super) restart: Restart,
    /// `None`: the usual of its kind.
    shutdown: Option<Shutdown>,
    pub(super) significant: bool,
    pub(super) kind: ChildKind,
    made: &'static Location<'static>,
    start: Arc<Foreign<Box<Start>>>,
}

/// Given where to spawn, and what the child is called.
type Start = dyn Fn(&Spawner, &str) -> Boxed<Result<Started, BoxError>> + Send + Sync;

impl ChildSpec {
    /// Makes a recipe from a function that starts a task and returns its handle.
    ///
    /// The supervisor owns the task from the moment the function returns it. The future may be
    /// dropped before, when the supervisor ends, and must then leave no task behind: hold what it
    /// starts as a [`Linked`](crate::Linked) until it is ready.
    #[track_caller]
    pub fn new<F>(id: impl Into<String>, start: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Started, BoxError>> + Send + 'static,
    {
        Self::from_start(id.into(), move |_, _| Box::pin(start()))
    }

    /// Makes a recipe from the body of a task, which runs on the supervisor's executor.
    ///
    /// The body is given the task's own handle. To be ended politely it must look at
    /// [`shutdown_requested`](TaskRef::shutdown_requested); a body that never does is killed when
    /// the time of its [`Shutdown`] is over.
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
            // The body is called inside the task, so that its panic is the task's.
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

    /// What the child is called in logs and in lists. It need not be unique.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into().into();
        self
    }

    /// After which ends the child is started again. Default: [`Restart::Permanent`].
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How the supervisor ends the child. Default: [`Shutdown::Within`] five seconds, or
    /// [`Shutdown::Infinity`] if it is a [supervisor](Self::kind), as in OTP.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = Some(shutdown);
        self
    }

    pub(super) fn how_to_end(&self) -> Shutdown {
        self.shutdown.unwrap_or(match self.kind {
            ChildKind::Worker => Shutdown::default(),
            // It waits for its children, who have their own time limits.
            ChildKind::Supervisor => Shutdown::Infinity,
        })
    }

    /// Whether the end of the child may end its [`Supervisor`](crate::Supervisor), as that one's
    /// [`AutoShutdown`](crate::AutoShutdown) says. Default: false.
    ///
    /// It counts when the child ends by itself and is not restarted. A permanent child cannot be
    /// significant, and a dynamic supervisor has no significant children.
    #[must_use]
    pub fn significant(mut self, significant: bool) -> Self {
        self.significant = significant;
        self
    }

    /// Whether the child is a supervisor. Default: [`ChildKind::Worker`].
    ///
    /// The `child_spec` of a supervisor says so itself.
    #[must_use]
    pub fn kind(mut self, kind: ChildKind) -> Self {
        self.kind = kind;
        self
    }

    /// Where it was made, if not where [`new`](Self::new) was called.
    pub(crate) fn made_at(mut self, made: &'static Location<'static>) -> Self {
        self.made = made;
        self
    }

    /// Runs the recipe here and now, under nobody's supervision.
    pub(crate) fn start(&self) -> Boxed<Result<Started, BoxError>> {
        (self.start)(&Spawner::new().made_at(self.made), &self.id)
    }

    /// Runs the recipe, after a pause, in a task of its own, the starter, which is returned. `report`
    /// is called once, when the starter is gone, with its id and what came of it.
    pub(super) fn launch(
        &self,
        spawner: &Spawner,
        pause: Duration,
        report: impl FnOnce(u64, Outcome) + Send + 'static,
    ) -> Owned {
        let (result, mut results) = oneshot::channel();
        let (start, shutdown) = (Arc::clone(&self.start), self.how_to_end());
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
            // Refused only if the report was dropped, and then the child ends with the result.
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
            .field("shutdown", &self.how_to_end())
            .field("significant", &self.significant)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// What a supervisor learns of a start.
#[derive(Debug)]
pub(super) enum Outcome {
    Running(Owned),
    Ignore,
    /// It returned an error, panicked, or was killed.
    Failed(ExitReason),
}
