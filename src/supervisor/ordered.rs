//! A supervisor of a list of children: its handle and its answers.

use std::{fmt, sync::Arc, time::Duration};

use async_channel::Sender;
use futures_channel::oneshot;

use super::{
    child::{ChildSpec, Started},
    info::{ChildInfo, Counts, StartChildError, SupervisorGone},
    ordered_builder::SupervisorBuilder,
    ordered_message::Message,
    tree::{Tree, UntilError, View},
};
use crate::{
    ExitReason, TaskRef,
    universe::{Resident, Resides},
};

/// Who is restarted when one child has to be. OTP's supervision strategies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// That child alone. The default, as in OTP.
    #[default]
    OneForOne,
    /// All of them: the others are ended first, the last of them first.
    OneForAll,
    /// That child and those after it, which are ended first, the last of them first.
    RestForOne,
}

/// When a supervisor ends because its [significant](ChildSpec::significant) children have. OTP's
/// `auto_shutdown`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AutoShutdown {
    /// Never. A significant child is refused. The default, as in OTP.
    #[default]
    Never,
    /// When any of them has ended by itself and is not restarted.
    AnySignificant,
    /// When the last of them has.
    AllSignificant,
}

/// A supervisor of a list of children, in their order. A handle; clones are handles to the same
/// supervisor.
///
/// OTP's `Supervisor`. Children are started one after the other, in the order of the list, each when
/// the one before has started, and ended in the reverse order, each when the one after is gone. A
/// child that ends is started again as its [`Restart`](crate::Restart) says, and others with it as
/// the [`Strategy`] says. A restart that fails counts as a further restart and is tried again. When
/// there are more restarts than [`max_restarts`](SupervisorBuilder::max_restarts) allows, the
/// supervisor gives up: it ends its children and then itself with [`ExitReason::Shutdown`], which a
/// supervisor above takes for the end of a child like any other.
///
/// # Differences from OTP
///
/// - A recipe is run in a task of its own. One that hangs keeps the supervisor neither from answering
///   nor from ending.
/// - A child that ends while others are still being started for the first time is restarted before
///   they are.
/// - With [`Strategy::OneForOne`] restarts, and children that are added, wait for nobody's start. So a
///   delayed restart holds up that child alone, and a recipe may add a sibling and wait for it. With the
///   other strategies children start in order always, and it may add one but not wait.
/// - A restart may [wait](SupervisorBuilder::restart_delay).
/// - [`start_child`](Self::start_child) has one error for an id that is taken, whether or not that child
///   runs.
/// - Children are not linked to it: when it is killed they are not killed, but ended as their
///   specifications say. A brutal kill comes at the next await.
/// - The default of [`max_restarts`](SupervisorBuilder::max_restarts) is Elixir's.
/// - [`Disconnected`](ExitReason::Disconnected) is an abnormal end, and there is no `{shutdown, Term}`.
///
/// It is ended through its [`TaskRef`]. When [`exited`](TaskRef::exited) answers, no child is alive. A
/// supervisor that is killed ends its children all at once, each as its [`Shutdown`](crate::Shutdown) says, and does not
/// wait for them. Dropping the handles has no effect.
///
/// # Example
///
/// ```
/// use erps::{ChildSpec, Strategy, Supervisor};
///
/// let idle = |id: &str| ChildSpec::task(id, |me| async move { me.shutdown_requested().await });
/// smol::block_on(async {
///     let supervisor = Supervisor::builder()
///         .strategy(Strategy::RestForOne)
///         .child(idle("database"))
///         .child(idle("cache"))
///         .start_link()
///         .await?;
///     assert_eq!(supervisor.count_children().await?.active, 2);
///     Ok::<_, erps::BoxError>(())
/// })
/// # .unwrap();
/// ```
#[derive(Clone)]
pub struct Supervisor {
    pub(super) name: Arc<str>,
    pub(super) task: TaskRef,
    pub(super) queue: Sender<Message>,
}

impl Supervisor {
    /// Starts from the default settings, and no children.
    #[track_caller]
    pub fn builder() -> SupervisorBuilder {
        SupervisorBuilder::default()
    }

    /// Adds a child behind all others, starts it, and waits until its recipe has returned.
    ///
    /// A child that had nothing to run is kept as one that did, unless it is temporary.
    ///
    /// # Errors
    ///
    /// No child is added after any of them.
    ///
    /// - [`AlreadyPresent`](StartChildError::AlreadyPresent): there is a child of that id, running
    ///   or not.
    /// - [`Nonsense`](StartChildError::Nonsense): the recipe asks for what cannot be.
    /// - [`Failed`](StartChildError::Failed): the recipe returned an error or panicked.
    /// - [`SupervisorGone`](StartChildError::SupervisorGone): the supervisor ends or has ended, or
    ///   somebody terminated the child before it had started.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the child is started whether or not the future is dropped.
    pub async fn start_child(
        &self,
        spec: impl Into<ChildSpec>,
    ) -> Result<Started, StartChildError> {
        let spec = spec.into();
        self.ask(|reply| Message::StartChild { spec, reply })
            .await
            .unwrap_or(Err(StartChildError::SupervisorGone))
    }

    /// Ends a child as its [`Shutdown`](crate::Shutdown) says, and waits until it is gone. It is not started again
    /// until [`restart_child`](Self::restart_child) is asked to; a temporary one is forgotten.
    ///
    /// A child that does not run is left as it is.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ChildError::NotFound): no child has this id.
    /// - [`SupervisorGone`](ChildError::SupervisorGone): the child has ended or is ending, as all
    ///   others.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the child is ended whether or not the future is dropped.
    pub async fn terminate_child(&self, id: &str) -> Result<(), ChildError> {
        let id = id.into();
        self.ask(|reply| Message::TerminateChild { id, reply })
            .await
            .unwrap_or(Err(ChildError::SupervisorGone))
    }

    /// Starts a child that has been stopped, or had nothing to run, and waits until its recipe has
    /// returned.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ChildError::NotFound): no child has this id.
    /// - [`Running`](ChildError::Running), [`Restarting`](ChildError::Restarting): it is not stopped.
    /// - [`Failed`](ChildError::Failed): the recipe returned an error or panicked. The child stays
    ///   stopped.
    /// - [`SupervisorGone`](ChildError::SupervisorGone): the supervisor ends or has ended, or somebody
    ///   terminated the child before it had started.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the child is started whether or not the future is dropped.
    pub async fn restart_child(&self, id: &str) -> Result<Started, ChildError> {
        let id = id.into();
        self.ask(|reply| Message::RestartChild { id, reply })
            .await
            .unwrap_or(Err(ChildError::SupervisorGone))
    }

    /// Forgets a child that has been stopped, or had nothing to run.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ChildError::NotFound): no child has this id.
    /// - [`Running`](ChildError::Running), [`Restarting`](ChildError::Restarting): it is not stopped.
    /// - [`SupervisorGone`](ChildError::SupervisorGone): the supervisor has ended.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the child is forgotten whether or not the future is dropped.
    pub async fn delete_child(&self, id: &str) -> Result<(), ChildError> {
        let id = id.into();
        self.ask(|reply| Message::DeleteChild { id, reply })
            .await
            .unwrap_or(Err(ChildError::SupervisorGone))
    }

    /// Lists the children, in their order.
    ///
    /// # Errors
    ///
    /// Fails when the supervisor has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, SupervisorGone> {
        self.ask(Message::WhichChildren).await
    }

    /// Counts the children.
    ///
    /// # Errors
    ///
    /// Fails when the supervisor has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn count_children(&self) -> Result<Counts, SupervisorGone> {
        self.ask(Message::CountChildren).await
    }

    /// Looks at the supervisor and all that is below it.
    ///
    /// # Errors
    ///
    /// Fails when the supervisor has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn tree(&self) -> Result<Tree, SupervisorGone> {
        self.view().tree().await
    }

    /// Waits until the supervisor and all that is below it look as they are to, for `limit` at most.
    ///
    /// For tests: nobody has to sleep and hope. It looks again and again, at first after a
    /// millisecond and then less often, so that what lasts for a moment only may be missed.
    ///
    /// # Errors
    ///
    /// - [`TimedOut`](UntilError::TimedOut): they did not in time. It holds what they look like.
    /// - [`Silent`](UntilError::Silent): the supervisor did not answer in time.
    /// - [`SupervisorGone`](UntilError::SupervisorGone): the supervisor has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn until(
        &self,
        limit: Duration,
        condition: impl FnMut(&Tree) -> bool,
    ) -> Result<Tree, UntilError> {
        self.view().until(limit, condition).await
    }

    fn view(&self) -> View {
        View::ordered(&self.name, &self.queue)
    }

    /// Waits until the supervisor has ended, and all its children with it; tells why. OTP's monitor.
    ///
    /// One that was killed kills its children, and is not there any more to wait for them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn exited(&self) -> ExitReason {
        self.task.exited().await
    }

    /// As [`exited`](Self::exited), for those who keep the future. It does not keep the supervisor alive.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn monitor(&self) -> impl Future<Output = ExitReason> + Send + use<> {
        self.task.monitor()
    }

    /// The handle to its task: to shut it down, kill it, or watch it.
    #[must_use]
    pub fn task(&self) -> &TaskRef {
        &self.task
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, SupervisorGone> {
        let (reply, answer) = oneshot::channel();
        self.queue
            .try_send(command(reply))
            .map_err(|_| SupervisorGone)?;
        answer.await.map_err(|_| SupervisorGone)
    }
}

impl Resides for Supervisor {
    fn resident(&self) -> &Resident {
        AsRef::<TaskRef>::as_ref(self).resident()
    }
}

impl AsRef<TaskRef> for Supervisor {
    fn as_ref(&self) -> &TaskRef {
        &self.task
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("name", &self.name)
            .field("task", &self.task)
            .finish()
    }
}

/// Why a supervisor did not start.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartSupervisorError {
    /// A child did not start, or cannot be.
    #[error("child {id:?}: {error}")]
    Child {
        /// What its recipe calls it.
        id: Arc<str>,
        /// What is wrong.
        error: StartChildError,
    },
    /// The supervisor ended before all children had started.
    #[error("the supervisor ended: {0}")]
    Ended(ExitReason),
}

/// Why a child was not terminated, restarted, or deleted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The supervisor has no such child.
    #[error("the supervisor has no such child")]
    NotFound,
    /// The child runs, or is being ended.
    #[error("the child runs")]
    Running,
    /// The child is being started, or will be.
    #[error("the child is being started")]
    Restarting,
    /// The recipe returned an error or panicked; the reason holds which.
    #[error("the child did not start: {0}")]
    Failed(ExitReason),
    /// The supervisor has ended or is ending, or was told to end this child.
    #[error("the supervisor is gone")]
    SupervisorGone,
}
