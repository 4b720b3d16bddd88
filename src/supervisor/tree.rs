//! A snapshot of a supervision tree, and the recent exits of each child.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Serialize, Serializer};

use super::{
    child::{ChildKind, ChildSpec, Restart},
    info::ChildState,
};
use crate::{Endpoint, ExitReason, TaskRef, task::now};

/// How many exits of a child are kept.
const MAX_EXITS: usize = 8;

/// A snapshot of a supervisor and everything below it.
///
/// Supervisors are queried one after the other, so the snapshot is not atomic: a change made meanwhile
/// may be visible in one place and not yet in another.
///
/// Its `Display` form has one line per child. It serializes states and reasons as strings and durations
/// in seconds.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Tree {
    /// The name of the supervisor.
    #[serde(serialize_with = "as_text")]
    pub name: Arc<str>,
    /// Its children, in order; those of a dynamic supervisor in the order of their task ids.
    pub children: Vec<Branch>,
}

/// A child in a [`Tree`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Branch {
    /// The id of its specification.
    #[serde(serialize_with = "as_text")]
    pub id: Arc<str>,
    /// Whether it is a worker or a supervisor.
    pub kind: ChildKind,
    /// When it is restarted.
    pub restart: Restart,
    /// Its current state.
    pub state: ChildState,
    /// The number of the universe it was spawned in.
    pub universe: Option<u64>,
    /// The number of messages in its mailbox, if it is a server.
    pub mailbox: Option<usize>,
    /// The address of its peer, if it serves a connection.
    pub peer: Option<Endpoint>,
    /// How often it has exited or failed to start since it was added.
    pub exits: u64,
    /// Its most recent exits, the latest first; at most eight.
    pub history: Vec<Exit>,
    /// The tree below it, if it is a running supervisor, or a daemon with a supervisor of its own: then
    /// its children are the servers of the daemon's connections.
    pub below: Option<Tree>,
}

/// One exit of a child.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Exit {
    /// Why it exited.
    #[serde(serialize_with = "as_text")]
    pub reason: ExitReason,
    /// How long before the snapshot.
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
    /// Returns the child with this id, at any depth; the first in depth-first order.
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

/// One line per child, indented by two spaces per level.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.print(f, 2)
    }
}

/// One line, without the tree below.
impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.state)?;
        if let Some(peer) = &self.peer {
            write!(f, ", serves {peer}")?;
        }
        if let Some(waiting @ 1..) = self.mailbox {
            write!(f, ", {waiting} messages queued")?;
        }
        match self.exits {
            0 => {}
            1 => f.write_str(", exited once")?,
            times => write!(f, ", exited {times} times")?,
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

/// The exits of one child.
#[derive(Debug, Default)]
pub(super) struct ExitLog {
    count: u64,
    recent: VecDeque<(Instant, ExitReason)>,
}

impl ExitLog {
    pub(super) fn push(&mut self, reason: &ExitReason) {
        self.count += 1;
        self.recent.truncate(MAX_EXITS - 1);
        self.recent.push_front((now(), reason.clone()));
    }
}

impl Branch {
    pub(super) fn new(spec: &ChildSpec, state: ChildState, exits: &ExitLog) -> Self {
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
            exits: exits.count,
            history: exits.recent.iter().map(exit).collect(),
            below: None,
            state,
        }
    }
}
