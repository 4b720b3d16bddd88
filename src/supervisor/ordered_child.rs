//! A child of an ordered supervisor: its target state, and its current stage.

use std::{mem, sync::Arc, time::Duration};

use futures_channel::oneshot;

use super::{
    child::{ChildSpec, Restart, Started},
    delay::RestartDelays,
    error::{ChildError, StartChildError},
    event::Event,
    info::{ChildInfo, ChildState},
    owned::Owned,
    tree::{Branch, ExitLog},
};
use crate::ExitReason;

type Reply<T> = oneshot::Sender<T>;

pub(super) struct Child {
    pub(super) spec: ChildSpec,
    pub(super) stage: Stage,
    /// Whether it is to run.
    pub(super) wanted: bool,
    /// Whether it is to be shut down before it runs again.
    pub(super) restart_pending: bool,
    /// Whether its shutdown has begun.
    pub(super) shutting_down: bool,
    /// Whether its `start_child` failed: it is removed, because no caller knows it.
    pub(super) rejected: bool,
    /// The delay of its next start.
    pub(super) pause: Duration,
    pub(super) delays: RestartDelays,
    pub(super) exits: ExitLog,
    /// What requested its start.
    pub(super) requester: Option<Requester>,
    /// Callers waiting until it has stopped.
    pub(super) waiting: Vec<Reply<Result<(), ChildError>>>,
}

pub(super) enum Stage {
    Stopped,
    Ignored,
    /// Its start function is running.
    Starting {
        task: Owned,
        again: bool,
    },
    Running(Owned),
}

/// What requested a start. A start without a requester is a restart.
pub(super) enum Requester {
    /// The supervisor's own start, which fails with it.
    Initial,
    /// `start_child`: if it fails, the child is removed.
    New(Reply<Result<Started, StartChildError>>),
    /// `restart_child`: if it fails, the child stays stopped.
    Existing(Reply<Result<Started, ChildError>>),
}

impl Child {
    pub(super) fn new(spec: ChildSpec, requester: Requester) -> Self {
        Self {
            spec,
            stage: Stage::Stopped,
            wanted: true,
            restart_pending: false,
            shutting_down: false,
            rejected: false,
            pause: Duration::ZERO,
            delays: RestartDelays::default(),
            exits: ExitLog::default(),
            requester: Some(requester),
            waiting: Vec::new(),
        }
    }

    /// Emits an event about its task, or about its starter, if it has one.
    pub(super) fn emit(&self, supervisor: &str, emit: impl FnOnce(Event<'_>)) {
        if let Stage::Starting { task, .. } | Stage::Running(task) = &self.stage {
            emit(Event {
                supervisor,
                child: &self.spec.id,
                task: task.task(),
            });
        }
    }

    /// Returns whether it is restarted after this exit.
    pub(super) fn is_restarted(&self, reason: &ExitReason) -> bool {
        match &self.stage {
            Stage::Starting { task, .. } | Stage::Running(task) => {
                self.spec.restart.applies_after(task.task(), reason)
            }
            Stage::Stopped | Stage::Ignored => false,
        }
    }

    /// Returns whether its first start, with the supervisor's own, is still pending.
    pub(super) fn is_initial(&self) -> bool {
        matches!(self.requester, Some(Requester::Initial))
    }

    /// Returns whether its exit can still trigger the supervisor's automatic shutdown.
    pub(super) fn is_significant(&self) -> bool {
        self.spec.significant && self.wanted && !matches!(self.stage, Stage::Ignored)
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.stage, Stage::Stopped | Stage::Ignored)
    }

    /// Returns whether it runs, or is being started, and shall be shut down.
    pub(super) fn must_stop(&self) -> bool {
        !self.is_stopped() && (self.restart_pending || !self.wanted)
    }

    /// Returns whether it can be removed. A temporary child cannot be restarted.
    pub(super) fn is_removable(&self) -> bool {
        let temporary = self.spec.restart == Restart::Temporary;
        match self.stage {
            Stage::Stopped => !self.wanted && (temporary || self.rejected),
            Stage::Ignored => temporary,
            Stage::Starting { .. } | Stage::Running(_) => false,
        }
    }

    /// Marks it to be shut down because another child is restarted, and restarted unless it is temporary.
    ///
    /// As in OTP, a stopped child is restarted as well.
    pub(super) fn mark_restart(&mut self) {
        let again = self.spec.restart != Restart::Temporary;
        if self.is_stopped() {
            self.stage = Stage::Stopped;
            self.wanted = again;
        } else if self.wanted {
            self.wanted = again;
            self.restart_pending = again;
        }
    }

    /// Begins its shutdown. A second call has no effect.
    pub(super) fn shut_down(&mut self) {
        if mem::replace(&mut self.shutting_down, true) {
            return;
        }
        if let Stage::Starting { task, .. } | Stage::Running(task) = &self.stage {
            task.shut_down();
        }
    }

    /// Replies to waiting callers if it has stopped and shall not run. Called after every change of that.
    pub(super) fn notify_stopped(&mut self) {
        if !self.is_stopped() {
            return;
        }
        self.restart_pending = false;
        if self.wanted {
            return;
        }
        for waiter in self.waiting.drain(..) {
            let _ = waiter.send(Ok(()));
        }
        match self.requester.take() {
            Some(Requester::New(reply)) => {
                self.rejected = true;
                let _ = reply.send(Err(StartChildError::SupervisorStopped));
            }
            Some(Requester::Existing(reply)) => {
                let _ = reply.send(Err(ChildError::SupervisorStopped));
            }
            Some(Requester::Initial) | None => {}
        }
    }

    /// Sends the outcome of its start to the requester.
    pub(super) fn reply_started(&mut self, outcome: Result<Started, ExitReason>) {
        match self.requester.take() {
            Some(Requester::New(reply)) => {
                self.rejected = outcome.is_err();
                let _ = reply.send(outcome.map_err(StartChildError::Failed));
            }
            Some(Requester::Existing(reply)) => {
                let _ = reply.send(outcome.map_err(ChildError::Failed));
            }
            Some(Requester::Initial) | None => {}
        }
    }

    pub(super) fn state(&self) -> ChildState {
        match &self.stage {
            Stage::Stopped if self.wanted && self.requester.is_none() => ChildState::Restarting,
            Stage::Stopped if self.wanted => ChildState::Starting,
            Stage::Stopped => ChildState::Stopped,
            Stage::Ignored => ChildState::Ignored,
            Stage::Starting { again: true, .. } => ChildState::Restarting,
            Stage::Starting { again: false, .. } => ChildState::Starting,
            Stage::Running(task) => ChildState::Running(task.task().clone()),
        }
    }

    pub(super) fn branch(&self) -> Branch {
        Branch::new(&self.spec, self.state(), &self.exits)
    }

    pub(super) fn info(&self) -> ChildInfo {
        ChildInfo {
            id: Arc::clone(&self.spec.id),
            state: self.state(),
            restart: self.spec.restart,
            kind: self.spec.kind,
        }
    }
}
