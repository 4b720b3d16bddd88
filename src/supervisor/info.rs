//! What supervisors tell of their children.

use std::{fmt, sync::Arc};

use super::child::{ChildKind, Restart};
use crate::{ExitReason, TaskRef};

/// One child, as `which_children` lists it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChildInfo {
    /// What its recipe calls it.
    pub id: Arc<str>,
    /// Where it stands.
    pub state: ChildState,
    /// After which ends it is started again.
    pub restart: Restart,
    /// Whether it is a supervisor itself.
    pub kind: ChildKind,
}

/// Where a child stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildState {
    /// Its recipe is being run for the first time.
    Starting,
    /// It runs as this task, which may have been told to end.
    Running(TaskRef),
    /// It has ended, and its recipe is being run again, or will be.
    Restarting,
    /// It does not run, and nobody is about to start it. A [`Supervisor`](crate::Supervisor) keeps its
    /// recipe.
    Stopped,
    /// It was started, and had nothing to run.
    Ignored,
}

impl ChildState {
    /// The task that it runs as, if it does.
    #[must_use]
    pub fn task(&self) -> Option<&TaskRef> {
        match self {
            Self::Running(task) => Some(task),
            _ => None,
        }
    }
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running(_) => "running",
            Self::Restarting => "restarting",
            Self::Stopped => "stopped",
            Self::Ignored => "ignored",
        })
    }
}

/// How many children there are. OTP's `count_children`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// All of them, whatever their state: what a dynamic supervisor holds to its
    /// [`max_children`](crate::DynamicSupervisorBuilder::max_children).
    pub specs: usize,
    /// Those that run.
    pub active: usize,
    /// Those that are supervisors, running or not.
    pub supervisors: usize,
    /// All others.
    pub workers: usize,
}

impl Counts {
    pub(super) fn count(&mut self, kind: ChildKind, is_running: bool) {
        self.specs += 1;
        self.active += usize::from(is_running);
        match kind {
            ChildKind::Worker => self.workers += 1,
            ChildKind::Supervisor => self.supervisors += 1,
        }
    }
}

/// Why there is no new child.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartChildError {
    /// The recipe returned [`Started::Ignore`](crate::Started::Ignore).
    #[error("the child had nothing to run")]
    Ignored,
    /// The recipe returned an error or panicked; the reason holds which.
    #[error("the child did not start: {0}")]
    Failed(ExitReason),
    /// The supervisor has as many children as it may have, which is this many.
    #[error("the supervisor has {0} children already")]
    MaxChildren(usize),
    /// A [`Supervisor`](crate::Supervisor) has a child of this id, whether it runs or not.
    #[error("the supervisor has a child {0:?} already")]
    AlreadyPresent(Arc<str>),
    /// The recipe asks for what cannot be; the text says what.
    #[error("the child {id:?} makes no sense: {why}")]
    Nonsense {
        /// What the recipe calls it.
        id: Arc<str>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The supervisor has ended or is ending, or was told to end this child.
    #[error("the supervisor is gone")]
    SupervisorGone,
}

/// The supervisor has ended, so that it cannot answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the supervisor is gone")]
pub struct SupervisorGone;
