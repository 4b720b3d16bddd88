//! A supervisor whose children come and go: its handle, its settings, its answers.

use std::{fmt, sync::Arc, time::Duration};

use async_channel::Sender;
use futures_channel::oneshot;

use super::{
    child::ChildSpec,
    dynamic_builder::DynamicSupervisorBuilder,
    dynamic_run::Message,
    info::{ChildInfo, Counts, StartChildError, SupervisorGone},
    tree::{Tree, UntilError, View},
};
use crate::{
    ExitReason, TaskRef,
    universe::{Resident, Resides},
};

/// A supervisor of any number of children that are started on demand. A handle; clones are handles
/// to the same supervisor.
///
/// OTP's `DynamicSupervisor`. A child that ends is started again as its [`Restart`](crate::Restart) says, once all
/// of the old one is gone. A restart that fails counts as a further restart and is tried again.
/// When there are more restarts than [`max_restarts`](DynamicSupervisorBuilder::max_restarts)
/// allows, the supervisor gives up: it ends its children and then itself with
/// [`ExitReason::Shutdown`](crate::ExitReason::Shutdown).
///
/// It is ended through its [`TaskRef`], and then ends its children first: all at once, each as its
/// [`Shutdown`](crate::Shutdown) says. When [`exited`](TaskRef::exited) answers, none is alive. A
/// supervisor that is killed ends its children the same way but does not wait for them.
///
/// Dropping the handles has no effect on the supervisor. An owner, whose drop ends it, is made by
/// [`start_link`](DynamicSupervisorBuilder::start_link).
///
/// # Extra arguments
///
/// OTP's `extra_arguments`, which the supervisor prepends to those of each child, have no equivalent. A
/// recipe is a closure, and has what it captures. What all children share is given to the function that
/// makes their recipes:
///
/// ```
/// use std::sync::Arc;
/// use erps::{ChildSpec, DynamicSupervisor, ExitReason};
///
/// /// A child that is told its own part, here a name, and what all have in common.
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
    /// Starts from the default settings.
    #[track_caller]
    pub fn builder() -> DynamicSupervisorBuilder {
        DynamicSupervisorBuilder::default()
    }

    /// Starts a child and waits until its recipe has returned.
    ///
    /// A recipe that never returns holds up this call and nothing else. It may be called from
    /// anywhere, also from within a recipe of the same supervisor.
    ///
    /// # Errors
    ///
    /// No child is kept after any of them.
    ///
    /// - [`Ignored`](StartChildError::Ignored): the recipe found nothing to run.
    /// - [`Failed`](StartChildError::Failed): the recipe returned an error or panicked.
    /// - [`MaxChildren`](StartChildError::MaxChildren): there are too many; the recipe was not run.
    /// - [`Nonsense`](StartChildError::Nonsense): the child is significant; the recipe was not run.
    /// - [`SupervisorGone`](StartChildError::SupervisorGone): the recipe was not run, or what it
    ///   started is being ended.
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
            .unwrap_or(Err(StartChildError::SupervisorGone))
    }

    /// Ends a child as its [`Shutdown`](crate::Shutdown) says, and waits until it is wholly gone.
    /// It is not started again.
    ///
    /// A child that is being restarted is named by the task it was before.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](TerminateChildError::NotFound): the task is no child, or no longer. A child
    ///   that has been restarted is another task.
    /// - [`SupervisorGone`](TerminateChildError::SupervisorGone): the child has ended or is ending,
    ///   as all others.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the child is ended whether or not the future is dropped.
    pub async fn terminate_child(&self, child: &TaskRef) -> Result<(), TerminateChildError> {
        let name = child.id();
        self.ask(|reply| Message::TerminateChild { name, reply })
            .await
            .unwrap_or(Err(TerminateChildError::SupervisorGone))
    }

    /// Lists the children, in no particular order.
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

    /// Has its children shown below this task, whose own it is.
    pub(crate) fn show_below(&self, task: &TaskRef) {
        task.set_facts(self.view());
    }

    fn view(&self) -> View {
        View::dynamic(&self.name, &self.queue)
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

/// Why no child was terminated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TerminateChildError {
    /// The supervisor has no such child.
    #[error("the task is no child of the supervisor")]
    NotFound,
    /// The supervisor has ended.
    #[error("the supervisor is gone")]
    SupervisorGone,
}
