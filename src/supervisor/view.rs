//! Queries that take a snapshot of a supervision tree.

use std::{sync::Arc, time::Duration};

use async_channel::Sender;
use futures_channel::oneshot;
use futures_lite::future::Boxed;

use super::{
    dynamic_message,
    error::SupervisorStopped,
    ordered_message,
    tree::{Branch, Tree},
};
use crate::{
    TaskRef,
    task::{self, Facts, now},
};

/// The first pause between two snapshots of [`until`](crate::Supervisor::until), doubled for
/// each.
const MIN_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// Queries a supervisor for its children. The supervisor's task carries it as its facts.
#[derive(Clone)]
pub(super) struct View {
    name: Arc<str>,
    queue: Queue,
}

#[derive(Clone)]
enum Queue {
    Dynamic(Sender<dynamic_message::Message>),
    Ordered(Sender<ordered_message::Message>),
}

impl Facts for View {}

impl View {
    pub(super) fn dynamic(name: &Arc<str>, queue: &Sender<dynamic_message::Message>) -> Self {
        let (name, queue) = (Arc::clone(name), Queue::Dynamic(queue.clone()));
        Self { name, queue }
    }

    pub(super) fn ordered(name: &Arc<str>, queue: &Sender<ordered_message::Message>) -> Self {
        let (name, queue) = (Arc::clone(name), Queue::Ordered(queue.clone()));
        Self { name, queue }
    }

    pub(super) fn tree(self) -> Boxed<Result<Tree, SupervisorStopped>> {
        Box::pin(async move {
            let mut children = self.branches().await?;
            for child in &mut children {
                let task = child.state.task();
                let facts = task.and_then(TaskRef::facts);
                let view = facts.and_then(|it| it.downcast_ref::<Self>());
                // A supervisor that has exited meanwhile has no tree.
                if let Some(view) = view.cloned() {
                    child.below = view.tree().await.ok();
                }
            }
            let name = self.name;
            Ok(Tree { name, children })
        })
    }

    /// Takes snapshots until the condition holds, with growing pauses between them.
    pub(super) async fn until(
        self,
        limit: Duration,
        mut condition: impl FnMut(&Tree) -> bool,
    ) -> Result<Tree, UntilError> {
        let start = now();
        let mut pause = MIN_PAUSE;
        loop {
            let left = limit.saturating_sub(now() - start);
            // At least one snapshot is taken.
            let snapshot = task::timeout(left.max(MIN_PAUSE), self.clone().tree());
            let Ok(tree) = snapshot.await else {
                return Err(UntilError::NoReply);
            };
            let tree = tree?;
            if condition(&tree) {
                return Ok(tree);
            }
            let left = limit.saturating_sub(now() - start);
            if left.is_zero() {
                return Err(UntilError::TimedOut(Box::new(tree)));
            }
            task::sleep(pause.min(left)).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    async fn branches(&self) -> Result<Vec<Branch>, SupervisorStopped> {
        let (reply, answer) = oneshot::channel();
        let asked = match &self.queue {
            Queue::Dynamic(queue) => {
                let message = dynamic_message::Message::Branches(reply);
                queue.try_send(message).is_ok()
            }
            Queue::Ordered(queue) => {
                let message = ordered_message::Message::Branches(reply);
                queue.try_send(message).is_ok()
            }
        };
        match asked {
            true => answer.await.map_err(|_| SupervisorStopped),
            false => Err(SupervisorStopped),
        }
    }
}

/// Why a condition on a supervision tree was not met.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UntilError {
    /// The condition was not met in time. Holds the last snapshot.
    #[error("the condition was not met in time; the tree is\n{0}")]
    TimedOut(Box<Tree>),
    /// The supervisor, or one below it, did not reply in time: its executor is not running.
    #[error("the supervisor did not reply in time")]
    NoReply,
    /// The supervisor has exited.
    #[error("the supervisor has stopped")]
    SupervisorStopped,
}

impl From<SupervisorStopped> for UntilError {
    fn from(_: SupervisorStopped) -> Self {
        Self::SupervisorStopped
    }
}
