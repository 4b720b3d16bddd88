//! The handle of a supervisor whose children are started on demand.

use std::{fmt, sync::Arc, time::Duration};

use async_channel::Sender;
use futures_channel::oneshot;

use super::{
    child::ChildSpec,
    dynamic_message::Message,
    error::{StartChildError, SupervisorStopped, TerminateChildError},
    info::{ChildInfo, Counts},
    tree::Tree,
    view::{UntilError, View},
};
use crate::{
    ExitReason, TaskRef,
    universe::{Resident, Resides},
};

/// A supervisor whose children are started on demand. A handle; clones are handles to the same
/// supervisor.
///
/// OTP's `DynamicSupervisor`. A child that exits is restarted according to its
/// [`Restart`](crate::Restart), once everything that its old task owned is dropped. A restart that
/// fails counts as another restart and is retried. When there are more restarts than
/// [`max_restarts`](crate::DynamicSupervisorBuilder::max_restarts) allows, the supervisor shuts its
/// children down and exits with [`ExitReason::Shutdown`](crate::ExitReason::Shutdown).
///
/// A shutdown of its [`TaskRef`] shuts down all children first, in parallel, each according to its
/// [`Shutdown`](crate::Shutdown). When [`exited`](TaskRef::exited) returns, none is alive. A killed
/// supervisor begins the same shutdowns but does not wait for them.
///
/// Dropping the handles has no effect on the supervisor.
/// [`start_link`](crate::DynamicSupervisorBuilder::start_link) returns an owner, whose drop shuts it
/// down.
///
/// # Extra arguments
///
/// OTP's `extra_arguments`, which the supervisor prepends to those of each child, have no equivalent. A
/// start function is a closure and captures what it needs. What all children share is given to the
/// function that makes their specifications:
///
/// ```
/// use std::sync::Arc;
/// use erps::{ChildSpec, DynamicSupervisor, ExitReason};
///
/// /// A child with its own argument, here a name, and one shared by all.
/// fn greeter(greeting: &Arc<str>, name: &str) -> ChildSpec {
///     let text = format!("{greeting}, {name}");
///     ChildSpec::task(name, move |_| {
///         assert!(text.starts_with("hello"));
///         async { ExitReason::Normal }
///     })
/// }
///
/// smol::block_on(async {
///     let supervisor = DynamicSupervisor::builder().start_link();
///     let extra: Arc<str> = "hello".into();
///     for name in ["anna", "bert"] {
///         let spec = greeter(&extra, name).restart(erps::Restart::Temporary);
///         supervisor.start_child(spec).await?;
///     }
///     Ok::<_, erps::StartChildError>(())
/// })
/// # .unwrap();
/// ```
///
/// # Example
///
/// ```
/// use erps::{ChildSpec, DynamicSupervisor, Shutdown};
///
/// smol::block_on(async {
///     let supervisor = DynamicSupervisor::builder().start();
///     let spec = ChildSpec::task("idle", |me| async move { me.shutdown_requested().await });
///     let child = supervisor.start_child(spec).await?;
///     assert!(child.is_alive());
///
///     supervisor.as_ref().shutdown(Shutdown::Infinity).await;
///     assert!(!child.is_alive());
///     Ok::<_, erps::StartChildError>(())
/// })
/// # .unwrap();
/// ```
#[derive(Clone)]
pub struct DynamicSupervisor {
    pub(super) name: Arc<str>,
    pub(super) task: TaskRef,
    pub(super) queue: Sender<Message>,
}

impl DynamicSupervisor {
    /// Starts a child and waits until its start function has returned.
    ///
    /// A start function that never returns blocks this call and nothing else. This may be called from
    /// anywhere, also from within a start function of the same supervisor.
    ///
    /// # Errors
    ///
    /// No child is kept after any of them.
    ///
    /// - [`Ignored`](StartChildError::Ignored): the start function returned
    ///   [`Started::Ignore`](crate::Started::Ignore).
    /// - [`Failed`](StartChildError::Failed): the start function returned an error or panicked.
    /// - [`MaxChildren`](StartChildError::MaxChildren): the supervisor is at its limit; the start
    ///   function was not run.
    /// - [`InvalidSpec`](StartChildError::InvalidSpec): the child is significant; the start function was
    ///   not run.
    /// - [`SupervisorStopped`](StartChildError::SupervisorStopped): the start function was not run, or
    ///   the task that it started is being shut down.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the child is started whether or not the future is dropped.
    pub async fn start_child(
        &self,
        spec: impl Into<ChildSpec>,
    ) -> Result<TaskRef, StartChildError> {
        let spec = spec.into();
        self.ask(|reply| Message::StartChild { spec, reply })
            .await
            .unwrap_or(Err(StartChildError::SupervisorStopped))
    }

    /// Shuts a child down according to its [`Shutdown`](crate::Shutdown), and waits until it has exited.
    /// It is not restarted.
    ///
    /// To terminate a child that is being restarted, pass its previous task.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](TerminateChildError::NotFound): the task is not a child, or no longer. A child that has been
    ///   restarted runs as another task.
    /// - [`SupervisorStopped`](TerminateChildError::SupervisorStopped): the child has exited or is being
    ///   shut down, like all others.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the child is shut down whether or not the future is dropped.
    pub async fn terminate_child(&self, child: &TaskRef) -> Result<(), TerminateChildError> {
        let name = child.id();
        self.ask(|reply| Message::TerminateChild { name, reply })
            .await
            .unwrap_or(Err(TerminateChildError::SupervisorStopped))
    }

    /// Lists the children, in no particular order.
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

    /// Makes its children appear in the tree below this task, which owns the supervisor.
    pub(crate) fn show_below(&self, task: &TaskRef) {
        task.set_facts(self.view());
    }

    fn view(&self) -> View {
        View::dynamic(&self.name, &self.queue)
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

impl Resides for DynamicSupervisor {
    fn resident(&self) -> &Resident {
        AsRef::<TaskRef>::as_ref(self).resident()
    }
}

impl AsRef<TaskRef> for DynamicSupervisor {
    fn as_ref(&self) -> &TaskRef {
        &self.task
    }
}

impl fmt::Debug for DynamicSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSupervisor")
            .field("name", &self.name)
            .field("task", &self.task)
            .finish()
    }
}
