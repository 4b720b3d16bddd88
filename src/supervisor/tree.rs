//! What a supervisor looks like from above: its children, theirs, and what became of them.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use async_channel::Sender;
use futures_channel::oneshot;
use futures_lite::future::Boxed;
use serde::{Serialize, Serializer};

use super::{
    child::{ChildKind, ChildSpec, Restart},
    dynamic_run,
    info::{ChildState, SupervisorGone},
    ordered_message,
};
use crate::{
    Endpoint, ExitReason, TaskRef,
    task::{self, Facts, now},
};

/// How many ends of a child are remembered.
const HISTORY: usize = 8;

/// The first pause between two looks of [`until`](crate::Supervisor::until), doubled for each.
const FIRST_LOOK: Duration = Duration::from_millis(1);
/// The longest.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// A supervisor and all below it, as they were when they were asked.
///
/// Each supervisor answers for itself, one after the other: what happens meanwhile may be seen in
/// one place and not yet in another.
///
/// Printed it is a text of one line per child. It can be serialized, states and reasons as texts and
/// durations in seconds.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Tree {
    /// What the supervisor is called.
    #[serde(serialize_with = "as_text")]
    pub name: Arc<str>,
    /// Its children, in their order; those of a dynamic supervisor in the order of their tasks.
    pub children: Vec<Branch>,
}

/// A child, as it is seen in a [`Tree`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Branch {
    /// What its recipe calls it.
    #[serde(serialize_with = "as_text")]
    pub id: Arc<str>,
    /// Whether it is a supervisor itself.
    pub kind: ChildKind,
    /// After which ends it is started again.
    pub restart: Restart,
    /// Where it stands.
    pub state: ChildState,
    /// The number of the universe it was born in.
    pub universe: Option<u64>,
    /// How many messages wait for it, where it is a server.
    pub mailbox: Option<usize>,
    /// Who is at the other end, where it serves a connection.
    pub peer: Option<Endpoint>,
    /// How often it has ended, or failed to start, since its recipe was given.
    pub exits: u64,
    /// The last of them, the latest first; at most eight.
    pub history: Vec<Exit>,
    /// What is below it, where it is a supervisor that runs, or a daemon with a supervisor of its own:
    /// then these are the servers of its connections.
    pub below: Option<Tree>,
}

/// One end of a child.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Exit {
    /// Why it ended.
    #[serde(serialize_with = "as_text")]
    pub reason: ExitReason,
    /// How long ago, when the tree was asked for.
    #[serde(serialize_with = "as_seconds")]
    pub ago: Duration,
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl Tree {
    /// The child of this id, here or below; the first in the order of the text.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Branch> {
        self.children.iter().find_map(|child| {
            let below = child.below.as_ref();
            match &*child.id == id {
                true => Some(child),
                false => below.and_then(|tree| tree.find(id)),
            }
        })
    }

    fn print(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        for child in &self.children {
            write!(f, "\n{:indent$}{child}", "")?;
            if let Some(below) = &child.below {
                below.print(f, indent + 2)?;
            }
        }
        Ok(())
    }
}

/// One line per child, each level two spaces further in.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.print(f, 2)
    }
}

/// One line, without what is below.
impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.state)?;
        if let Some(peer) = &self.peer {
            write!(f, ", serves {peer}")?;
        }
        if let Some(waiting @ 1..) = self.mailbox {
            write!(f, ", {waiting} messages wait")?;
        }
        match self.exits {
            0 => {}
            1 => f.write_str(", ended once")?,
            times => write!(f, ", ended {times} times")?,
        }
        if let Some(last) = self.history.first() {
            write!(f, ", last: {}", last.reason)?;
        }
        Ok(())
    }
}

impl Serialize for ChildState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The ends of one child.
#[derive(Debug, Default)]
pub(super) struct History {
    exits: u64,
    recent: VecDeque<(Instant, ExitReason)>,
}

impl History {
    pub(super) fn note(&mut self, reason: &ExitReason) {
        self.exits += 1;
        self.recent.truncate(HISTORY - 1);
        self.recent.push_front((now(), reason.clone()));
    }
}

impl Branch {
    pub(super) fn new(spec: &ChildSpec, state: ChildState, history: &History) -> Self {
        let now = now();
        let task = state.task();
        let facts = task.and_then(TaskRef::facts);
        let exit = |(at, reason): &(Instant, ExitReason)| Exit {
            reason: reason.clone(),
            ago: now.saturating_duration_since(*at),
        };
        Self {
            id: Arc::clone(&spec.id),
            kind: spec.kind,
            restart: spec.restart,
            universe: task.and_then(TaskRef::universe_id),
            mailbox: facts.and_then(|it| it.mailbox()),
            peer: facts.and_then(|it| it.peer()),
            exits: history.exits,
            history: history.recent.iter().map(exit).collect(),
            below: None,
            state,
        }
    }
}

/// Where a supervisor is asked what it looks like. Its task carries it as its facts.
#[derive(Clone)]
pub(super) struct View {
    name: Arc<str>,
    queue: Queue,
}

#[derive(Clone)]
enum Queue {
    Dynamic(Sender<dynamic_run::Message>),
    Ordered(Sender<ordered_message::Message>),
}

impl Facts for View {}

impl View {
    pub(super) fn dynamic(name: &Arc<str>, queue: &Sender<dynamic_run::Message>) -> Self {
        let (name, queue) = (Arc::clone(name), Queue::Dynamic(queue.clone()));
        Self { name, queue }
    }

    pub(super) fn ordered(name: &Arc<str>, queue: &Sender<ordered_message::Message>) -> Self {
        let (name, queue) = (Arc::clone(name), Queue::Ordered(queue.clone()));
        Self { name, queue }
    }

    pub(super) fn tree(self) -> Boxed<Result<Tree, SupervisorGone>> {
        Box::pin(async move {
            let mut children = self.branches().await?;
            for child in &mut children {
                let task = child.state.task();
                let facts = task.and_then(TaskRef::facts);
                let view = facts.and_then(|it| it.downcast_ref::<Self>());
                // One that has ended meanwhile has nothing below it.
                if let Some(view) = view.cloned() {
                    child.below = view.tree().await.ok();
                }
            }
            let name = self.name;
            Ok(Tree { name, children })
        })
    }

    /// Looks again and again, ever less often.
    pub(super) async fn until(
        self,
        limit: Duration,
        mut condition: impl FnMut(&Tree) -> bool,
    ) -> Result<Tree, UntilError> {
        let start = now();
        let mut pause = FIRST_LOOK;
        loop {
            let left = limit.saturating_sub(now() - start);
            // One look is taken in any case.
            let look = task::timeout(left.max(FIRST_LOOK), self.clone().tree());
            let Ok(tree) = look.await else {
                return Err(UntilError::Silent);
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
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    async fn branches(&self) -> Result<Vec<Branch>, SupervisorGone> {
        let (reply, answer) = oneshot::channel();
        let asked = match &self.queue {
            Queue::Dynamic(queue) => {
                let message = dynamic_run::Message::Branches(reply);
                queue.try_send(message).is_ok()
            }
            Queue::Ordered(queue) => {
                let message = ordered_message::Message::Branches(reply);
                queue.try_send(message).is_ok()
            }
        };
        match asked {
            true => answer.await.map_err(|_| SupervisorGone),
            false => Err(SupervisorGone),
        }
    }
}

/// Why a tree did not become what was waited for.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UntilError {
    /// It did not in time; this is what it was last.
    #[error("it did not happen in time; the tree is\n{0}")]
    TimedOut(Box<Tree>),
    /// The supervisor, or one below it, did not answer in time: nobody runs its executor.
    #[error("the supervisor did not answer in time")]
    Silent,
    /// The supervisor has ended.
    #[error("the supervisor is gone")]
    SupervisorGone,
}

impl From<SupervisorGone> for UntilError {
    fn from(_: SupervisorGone) -> Self {
        Self::SupervisorGone
    }
}
