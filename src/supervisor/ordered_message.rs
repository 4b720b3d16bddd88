//! The settings of an ordered supervisor, and the messages to its task.

use std::sync::Arc;

use futures_channel::oneshot;

use super::{
    child::{ChildSpec, Outcome, Started},
    delay::RestartDelay,
    error::{ChildError, StartChildError},
    info::{ChildInfo, Counts},
    intensity::Intensity,
    strategy::{AutoShutdown, Strategy},
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

/// Receives `Ok` when all children have started, or the child that did not start.
pub(super) type Ready = Reply<Result<(), (Arc<str>, StartChildError)>>;

/// Commands of handles, and reports of starters and children. A reply is dropped if its caller no longer waits.
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
    Exited {
        id: Arc<str>,
        reason: ExitReason,
    },
}
