//! The settings of a supervisor of a list, and the messages to its task.

use std::sync::Arc;

use futures_channel::oneshot;

use super::{
    child::{ChildSpec, Outcome, Started},
    delay::RestartDelay,
    info::{ChildInfo, Counts, StartChildError},
    intensity::Intensity,
    ordered::{AutoShutdown, ChildError, Strategy},
    tree::Branch,
};
use crate::{ExitReason, task::Spawner};

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: Arc<str>,
    pub(super) strategy: Strategy,
    pub(super) auto_shutdown: AutoShutdown,
    pub(super) intensity: Intensity,
    pub(super) delay: RestartDelay,
    pub(super) spawner: Spawner,
}

pub(super) type Reply<T> = oneshot::Sender<T>;

/// Answered when all children have started, or with the one that did not.
pub(super) type Ready = Reply<Result<(), (Arc<str>, StartChildError)>>;

/// What handles ask, and what starters and children report. Replies nobody waits for are lost.
pub(super) enum Message {
    StartChild {
        spec: ChildSpec,
        reply: Reply<Result<Started, StartChildError>>,
    },
    TerminateChild {
        id: Arc<str>,
        reply: Reply<Result<(), ChildError>>,
    },
    RestartChild {
        id: Arc<str>,
        reply: Reply<Result<Started, ChildError>>,
    },
    DeleteChild {
        id: Arc<str>,
        reply: Reply<Result<(), ChildError>>,
    },
    WhichChildren(Reply<Vec<ChildInfo>>),
    Branches(Reply<Vec<Branch>>),
    CountChildren(Reply<Counts>),
    Started {
        id: Arc<str>,
        outcome: Outcome,
    },
    Ended {
        id: Arc<str>,
        reason: ExitReason,
    },
}
