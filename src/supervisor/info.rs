//! What supervisors report about their children.

use std::{fmt, sync::Arc};

use super::child::{ChildKind, Restart};
use crate::TaskRef;

/// One child, as listed by `which_children`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChildInfo {
    /// The id of its specification.
    pub id: Arc<str>,
    /// Its current state.
    pub state: ChildState,
    /// When it is restarted.
    pub restart: Restart,
    /// Whether it is a worker or a supervisor.
    pub kind: ChildKind,
}

/// The state of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildState {
    /// It is being started for the first time.
    Starting,
    /// It runs as this task, which may be shutting down.
    Running(TaskRef),
    /// It has exited, and is being restarted or about to be.
    Restarting,
    /// It is not running and is not about to be started. A [`Supervisor`](crate::Supervisor) keeps its
    /// specification.
    Stopped,
    /// Its start function returned [`Started::Ignore`](crate::Started::Ignore).
    Ignored,
}

impl ChildState {
    /// Returns the task that it runs as, if it is running.
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

/// Numbers of children. OTP's `count_children`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// All children, whatever their state: what a dynamic supervisor limits to
    /// [`max_children`](crate::DynamicSupervisorBuilder::max_children).
    pub specs: usize,
    /// Children that are running.
    pub active: usize,
    /// Children that are supervisors, running or not.
    pub supervisors: usize,
    /// Children that are workers, running or not.
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
