//! The settings of a dynamic supervisor, and the messages to its task.

use std::sync::Arc;

use futures_channel::oneshot;

use super::{
    child::{ChildSpec, Outcome},
    delay::RestartDelay,
    error::{StartChildError, TerminateChildError},
    info::{ChildInfo, Counts},
    intensity::Intensity,
    tree::Branch,
};
use crate::{ExitReason, TaskRef, task::Spawner};

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: Arc<str>,
    pub(super) intensity: Intensity,
    pub(super) delay: RestartDelay,
    pub(super) max_children: usize,
    pub(super) spawner: Spawner,
}

pub(super) type Reply<T> = oneshot::Sender<T>;

/// Commands of handles, and reports of starters and children. A reply is dropped if its caller no longer waits.
pub(super) enum Message {
    StartChild {
        spec: ChildSpec,
        reply: Reply<Result<TaskRef, StartChildError>>,
    },
    TerminateChild {
        name: u64,
        reply: Reply<Result<(), TerminateChildError>>,
    },
    WhichChildren(Reply<Vec<ChildInfo>>),
    Branches(Reply<Vec<Branch>>),
    CountChildren(Reply<Counts>),
    Started {
        name: u64,
        outcome: Outcome,
    },
    Exited {
        name: u64,
        reason: ExitReason,
    },
}
