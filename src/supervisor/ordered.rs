//! The handle of a supervisor of an ordered list of children.

use std::{fmt, sync::Arc, time::Duration};

use async_channel::Sender;
use futures_channel::oneshot;

use super::{
    child::{ChildSpec, Started},
    error::{ChildError, StartChildError, SupervisorStopped},
    info::{ChildInfo, Counts},
    ordered_message::Message,
    tree::Tree,
    view::{UntilError, View},
};
use crate::{
    ExitReason, TaskRef,
    universe::{Resident, Resides},
};

/// A supervisor of an ordered list of children. A handle; clones are handles to the same supervisor.
///
/// OTP's `Supervisor`. Children are started one after the other in the order of the list, and shut down
/// one after the other in reverse order. A child that exits is restarted according to its
/// [`Restart`](crate::Restart), and others with it according to the [`Strategy`](crate::Strategy). A
/// restart that fails counts as another restart and is retried. When there are more restarts than
/// [`max_restarts`](crate::SupervisorBuilder::max_restarts) allows, the supervisor shuts its children
/// down and exits with [`ExitReason::Shutdown`], which a supervisor above handles like the exit of any
/// child.
///
/// # Differences from OTP
///
/// - A start function runs in a task of its own. One that hangs blocks neither the supervisor's replies
///   nor its shutdown.
/// - A child that exits while others are still being started for the first time is restarted before
///   they are.
/// - With [`Strategy::OneForOne`](crate::Strategy::OneForOne), restarts and added children do not wait
///   for other starts. So a delayed restart delays only that child, and a start function may add a
///   sibling and wait for it. With the other strategies children always start in order, and a start
///   function may add a sibling but not wait for it.
/// - A restart may be [delayed](crate::SupervisorBuilder::restart_delay).
/// - [`start_child`](Self::start_child) has one error for an id that is in use, whether or not that child is running.
/// - Children are not linked to it: when it is killed, they are not killed but shut down according to
///   their specifications. A brutal kill takes effect at the next await.
/// - The default of [`max_restarts`](crate::SupervisorBuilder::max_restarts) is Elixir's.
/// - [`Disconnected`](ExitReason::Disconnected) is an abnormal exit, and there is no `{shutdown, Term}`.
///
/// It is shut down through its [`TaskRef`]. When [`exited`](TaskRef::exited) returns, no child is alive.
/// A killed supervisor begins the shutdown of all children in parallel, each according to its
/// [`Shutdown`](crate::Shutdown), and does not wait for them. Dropping the handles has no effect.
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
    /// Adds a child after all others, starts it, and waits until its start function has returned.
    ///
    /// A child whose start function returns [`Started::Ignore`] is kept, unless it is temporary.
    ///
    /// # Errors
    ///
    /// No child is added after any of them.
    ///
    /// - [`AlreadyPresent`](StartChildError::AlreadyPresent): there is a child of that id, running
    ///   or not.
    /// - [`InvalidSpec`](StartChildError::InvalidSpec): the specification contradicts itself or the
    ///   supervisor's settings.
    /// - [`Failed`](StartChildError::Failed): the start function returned an error or panicked.
    /// - [`SupervisorStopped`](StartChildError::SupervisorStopped): the supervisor is shutting down or
    ///   has exited, or the child was terminated before it had started.
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
            .unwrap_or(Err(StartChildError::SupervisorStopped))
    }

    /// Shuts a child down according to its [`Shutdown`](crate::Shutdown), and waits until it has exited.
    /// It stays stopped until [`restart_child`](Self::restart_child); a temporary one is removed.
    ///
    /// No effect on a child that is not running.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ChildError::NotFound): no child has this id.
    /// - [`SupervisorStopped`](ChildError::SupervisorStopped): the child has exited or is being shut
    ///   down, like all others.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the child is shut down whether or not the future is dropped.
    pub async fn terminate_child(&self, id: &str) -> Result<(), ChildError> {
        let id = id.into();
        self.ask(|reply| Message::TerminateChild { id, reply })
            .await
            .unwrap_or(Err(ChildError::SupervisorStopped))
    }

    /// Starts a stopped or ignored child, and waits until its start function has returned.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ChildError::NotFound): no child has this id.
    /// - [`Running`](ChildError::Running), [`Restarting`](ChildError::Restarting): it is not stopped.
    /// - [`Failed`](ChildError::Failed): the start function returned an error or panicked. The child
    ///   stays stopped.
    /// - [`SupervisorStopped`](ChildError::SupervisorStopped): the supervisor is shutting down or has
    ///   exited, or the child was terminated before it had started.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the child is started whether or not the future is dropped.
    pub async fn restart_child(&self, id: &str) -> Result<Started, ChildError> {
        let id = id.into();
        self.ask(|reply| Message::RestartChild { id, reply })
            .await
            .unwrap_or(Err(ChildError::SupervisorStopped))
    }

    /// Removes a stopped or ignored child.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ChildError::NotFound): no child has this id.
    /// - [`Running`](ChildError::Running), [`Restarting`](ChildError::Restarting): it is not stopped.
    /// - [`SupervisorStopped`](ChildError::SupervisorStopped): the supervisor is shutting down or has
    ///   exited.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the child is removed whether or not the future is dropped.
    pub async fn delete_child(&self, id: &str) -> Result<(), ChildError> {
        let id = id.into();
        self.ask(|reply| Message::DeleteChild { id, reply })
            .await
            .unwrap_or(Err(ChildError::SupervisorStopped))
    }

    /// Lists the children, in order.
    ///
    /// # Errors
    ///
    /// Fails if the supervisor has exited.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, SupervisorStopped> {
        self.ask(Message::WhichChildren).await
    }

    /// Counts the children.
    ///
    /// # Errors
    ///
    /// Fails if the supervisor has exited.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn count_children(&self) -> Result<Counts, SupervisorStopped> {
        self.ask(Message::CountChildren).await
    }

    /// Takes a snapshot of the supervisor and everything below it.
    ///
    /// # Errors
    ///
    /// Fails if the supervisor has exited.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn tree(&self) -> Result<Tree, SupervisorStopped> {
        self.view().tree().await
    }

    /// Waits until the [tree](Self::tree) meets a condition, for `limit` at most.
    ///
    /// For tests, instead of sleeping. It polls: the second snapshot follows after a millisecond, the
    /// next ones after growing pauses of up to 50 milliseconds, so a short-lived state may be missed.
    ///
    /// # Errors
    ///
    /// - [`TimedOut`](UntilError::TimedOut): the condition was not met in time. Holds the last
    ///   snapshot.
    /// - [`NoReply`](UntilError::NoReply): the supervisor did not reply in time.
    /// - [`SupervisorStopped`](UntilError::SupervisorStopped): the supervisor has exited.
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

    /// Waits until the supervisor and all its children have exited; returns the exit reason. OTP's
    /// monitor.
    ///
    /// If it was killed, its children may still be shutting down.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn exited(&self) -> ExitReason {
        self.task.exited().await
    }

    /// Returns [`exited`](Self::exited) as a future that borrows nothing. It does not keep the supervisor
    /// alive.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn monitor(&self) -> impl Future<Output = ExitReason> + Send + use<> {
        self.task.monitor()
    }

    /// Returns the handle to its task, to shut it down, kill it, or monitor it.
    #[must_use]
    pub fn task(&self) -> &TaskRef {
        &self.task
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, SupervisorStopped> {
        let (reply, answer) = oneshot::channel();
        self.queue
            .try_send(command(reply))
            .map_err(|_| SupervisorStopped)?;
        answer.await.map_err(|_| SupervisorStopped)
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
