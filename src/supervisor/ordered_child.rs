//! A child of a supervisor of a list: whether it is to run, and how far that is done.

use std::{mem, sync::Arc, time::Duration};

use futures_channel::oneshot;

use super::{
    child::{ChildSpec, Restart, Started},
    delay::Unrest,
    event::Event,
    info::{ChildInfo, ChildState, StartChildError},
    ordered::ChildError,
    owned::Owned,
    tree::{Branch, History},
};
use crate::ExitReason;

type Reply<T> = oneshot::Sender<T>;

pub(super) struct Child {
    pub(super) spec: ChildSpec,
    pub(super) stage: Stage,
    /// Whether it is to run.
    pub(super) wanted: bool,
    /// It is to be ended first.
    pub(super) anew: bool,
    /// It is to be ended, and has been told.
    pub(super) told: bool,
    /// Its start was refused, so that nobody knows it.
    pub(super) refused: bool,
    /// How long its next start waits.
    pub(super) pause: Duration,
    pub(super) unrest: Unrest,
    pub(super) history: History,
    /// Who waits for it to start.
    pub(super) starter: Option<Starter>,
    /// Those who wait for it to be gone.
    pub(super) waiting: Vec<Reply<Result<(), ChildError>>>,
}

pub(super) enum Stage {
    Stopped,
    Ignored,
    /// Its recipe is being run, for the first time or again.
    Starting {
        task: Owned,
        again: bool,
    },
    Running(Owned),
}

/// Who asked for a start. One that nobody asked for is a restart.
pub(super) enum Starter {
    /// The supervisor, which ends if it fails.
    List,
    /// Somebody who added the child, which is forgotten if it fails.
    New(Reply<Result<Started, StartChildError>>),
    /// Somebody who knows the child, which stays stopped if it fails.
    Old(Reply<Result<Started, ChildError>>),
}

impl Child {
    pub(super) fn new(spec: ChildSpec, starter: Starter) -> Self {
        Self {
            spec,
            stage: Stage::Stopped,
            wanted: true,
            anew: false,
            told: false,
            refused: false,
            pause: Duration::ZERO,
            unrest: Unrest::default(),
            history: History::default(),
            starter: Some(starter),
            waiting: Vec::new(),
        }
    }

    /// Says something of its task, or of its starter, if it has one.
    pub(super) fn tell(&self, supervisor: &str, what: impl FnOnce(Event<'_>)) {
        if let Stage::Starting { task, .. } | Stage::Running(task) = &self.stage {
            what(Event {
                supervisor,
                child: &self.spec.id,
                task: task.task(),
            });
        }
    }

    /// Whether it has still to be started for the first time.
    pub(super) fn is_of_the_list(&self) -> bool {
        matches!(self.starter, Some(Starter::List))
    }

    /// Whether its end, if it comes, may be the one that ends the supervisor.
    pub(super) fn is_awaited(&self) -> bool {
        self.spec.significant && self.wanted && !matches!(self.stage, Stage::Ignored)
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.stage, Stage::Stopped | Stage::Ignored)
    }

    pub(super) fn has_to_go(&self) -> bool {
        !self.is_gone() && (self.anew || !self.wanted)
    }

    /// Whether it can be forgotten. Nobody can start a temporary child again.
    pub(super) fn is_over(&self) -> bool {
        let temporary = self.spec.restart == Restart::Temporary;
        match self.stage {
            Stage::Stopped => !self.wanted && (temporary || self.refused),
            Stage::Ignored => temporary,
            Stage::Starting { .. } | Stage::Running(_) => false,
        }
    }

    /// Another child's end is to be its own, and then it is to run again, unless it is temporary.
    ///
    /// As in OTP that holds for those, too, that had been stopped.
    pub(super) fn start_anew(&mut self) {
        let again = self.spec.restart != Restart::Temporary;
        if self.is_gone() {
            self.stage = Stage::Stopped;
            self.wanted = again;
        } else if self.wanted {
            self.wanted = again;
            self.anew = again;
        }
    }

    /// Tells it to end. A second time has no effect.
    pub(super) fn end(&mut self) {
        if mem::replace(&mut self.told, true) {
            return;
        }
        if let Stage::Starting { task, .. } | Stage::Running(task) = &self.stage {
            task.end();
        }
    }

    /// To be called when it may have become what others wait for.
    pub(super) fn settle(&mut self) {
        if !self.is_gone() {
            return;
        }
        self.anew = false;
        if self.wanted {
            return;
        }
        for waiter in self.waiting.drain(..) {
            let _ = waiter.send(Ok(()));
        }
        match self.starter.take() {
            Some(Starter::New(reply)) => {
                self.refused = true;
                let _ = reply.send(Err(StartChildError::SupervisorGone));
            }
            Some(Starter::Old(reply)) => {
                let _ = reply.send(Err(ChildError::SupervisorGone));
            }
            Some(Starter::List) | None => {}
        }
    }

    /// Tells whoever asked for its start how that went.
    pub(super) fn answer(&mut self, outcome: Result<Started, ExitReason>) {
        match self.starter.take() {
            Some(Starter::New(reply)) => {
                self.refused = outcome.is_err();
                let _ = reply.send(outcome.map_err(StartChildError::Failed));
            }
            Some(Starter::Old(reply)) => {
                let _ = reply.send(outcome.map_err(ChildError::Failed));
            }
            Some(Starter::List) | None => {}
        }
    }

    pub(super) fn state(&self) -> ChildState {
        match &self.stage {
            Stage::Stopped if self.wanted && self.starter.is_none() => ChildState::Restarting,
            Stage::Stopped if self.wanted => ChildState::Starting,
            Stage::Stopped => ChildState::Stopped,
            Stage::Ignored => ChildState::Ignored,
            Stage::Starting { again: true, .. } => ChildState::Restarting,
            Stage::Starting { again: false, .. } => ChildState::Starting,
            Stage::Running(task) => ChildState::Running(task.task().clone()),
        }
    }

    pub(super) fn branch(&self) -> Branch {
        Branch::new(&self.spec, self.state(), &self.history)
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
