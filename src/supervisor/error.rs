//! Errors of the operations of supervisors.

use std::sync::Arc;

use crate::ExitReason;

/// Why a child was not started.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartChildError {
    /// The start function returned [`Started::Ignore`](crate::Started::Ignore).
    #[error("the child had nothing to run")]
    Ignored,
    /// The start function returned an error or panicked, with this reason.
    #[error("the child did not start: {0}")]
    Failed(ExitReason),
    /// The supervisor is at its limit of children, which is this number.
    #[error("the supervisor has {0} children already")]
    MaxChildren(usize),
    /// The [`Supervisor`](crate::Supervisor) has a child with this id, running or not.
    #[error("the supervisor has a child {0:?} already")]
    AlreadyPresent(Arc<str>),
    /// The child specification contradicts itself or the supervisor's settings.
    #[error("invalid specification of child {id:?}: {why}")]
    InvalidSpec {
        /// The id of the child.
        id: Arc<str>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The supervisor has exited or is shutting down, or this child was terminated.
    #[error("the supervisor has stopped")]
    SupervisorStopped,
}

/// Why a child of a [`DynamicSupervisor`](crate::DynamicSupervisor) was not terminated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TerminateChildError {
    /// The supervisor has no such child.
    #[error("the task is not a child of the supervisor")]
    NotFound,
    /// The supervisor has exited.
    #[error("the supervisor has stopped")]
    SupervisorStopped,
}

/// Why a child of a [`Supervisor`](crate::Supervisor) was not terminated, restarted, or deleted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The supervisor has no such child.
    #[error("the supervisor has no such child")]
    NotFound,
    /// The child is running, or is being shut down.
    #[error("the child is running")]
    Running,
    /// The child is being started, or is about to be.
    #[error("the child is being started")]
    Restarting,
    /// The start function returned an error or panicked, with this reason.
    #[error("the child did not start: {0}")]
    Failed(ExitReason),
    /// The supervisor has exited or is shutting down, or this child was terminated.
    #[error("the supervisor has stopped")]
    SupervisorStopped,
}

/// Why a [`Supervisor`](crate::Supervisor) did not start.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartSupervisorError {
    /// A child did not start, or its specification is invalid.
    #[error("child {id:?}: {error}")]
    Child {
        /// The id of the child.
        id: Arc<str>,
        /// What is wrong.
        error: StartChildError,
    },
    /// The supervisor exited before all children had started.
    #[error("the supervisor exited: {0}")]
    Exited(ExitReason),
}

/// The supervisor has exited, so that it cannot reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the supervisor has stopped")]
pub struct SupervisorStopped;
