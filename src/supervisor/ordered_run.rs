//! The task of a supervisor of a list.
//!
//! It has one aim: that those children run which are to, in their order. After everything it hears,
//! it takes the next step there, and waits to hear of its outcome:
//!
//! ```text
//! 1. Of those that run and are not to, or are to be made anew, the last is ended.
//! 2. If there are none, of those that are to run and do not, the first is started.
//! ```
//!
//! What a strategy, a command, or an end comes to is thus a change of who is to run.

use std::{mem, sync::Arc, time::Duration};

use async_channel::Sender;
use futures_channel::oneshot;
use futures_lite::future;
use tracing::{debug, warn};

use super::{
    child::{ChildSpec, Outcome, Restart, Started},
    delay::{RestartDelay, Unrest},
    inbox::Inbox,
    info::{ChildInfo, ChildState, Counts, StartChildError},
    intensity::Intensity,
    ordered::{AutoShutdown, ChildError, Strategy},
    owned::Owned,
    tree::{Branch, History, View},
};
use crate::{
    ExitReason, TaskRef,
    task::{Spawner, now},
};

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: Arc<str>,
    pub(super) strategy: Strategy,
    pub(super) auto_shutdown: AutoShutdown,
    pub(super) intensity: Intensity,
    pub(super) delay: RestartDelay,
    pub(super) spawner: Spawner,
}

type Reply<T> = oneshot::Sender<T>;

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

pub(super) fn start(
    settings: Settings,
    specs: Vec<ChildSpec>,
    ready: Ready,
) -> (TaskRef, Sender<Message>) {
    let (queue, inbox) = Inbox::new();
    let spawner = settings.spawner.clone();
    let supervisor = Supervisor {
        settings,
        queue: queue.clone(),
        children: Vec::new(),
        starting: Some(ready),
        ending: None,
    };
    let view = View::ordered(&supervisor.settings.name, &queue);
    let name = Arc::clone(&supervisor.settings.name);
    let task = spawner.start(format_args!("the supervisor `{name}`"), |me| {
        supervisor.run(me, inbox, specs)
    });
    task.tell(view);
    (task, queue)
}

struct Supervisor {
    settings: Settings,
    /// For the reports of starters and children.
    queue: Sender<Message>,
    children: Vec<Child>,
    /// Until all children have started for the first time.
    starting: Option<Ready>,
    /// Why the supervisor is to end, once it is.
    ending: Option<ExitReason>,
}

struct Child {
    spec: ChildSpec,
    stage: Stage,
    /// Whether it is to run.
    wanted: bool,
    /// It is to be ended first.
    anew: bool,
    /// It is to be ended, and has been told.
    told: bool,
    /// Its start was refused, so that nobody knows it.
    refused: bool,
    /// How long its next start waits.
    pause: Duration,
    unrest: Unrest,
    history: History,
    /// Who waits for it to start.
    starter: Option<Starter>,
    /// Those who wait for it to be gone.
    waiting: Vec<Reply<Result<(), ChildError>>>,
}

enum Stage {
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
enum Starter {
    /// The supervisor, which ends if it fails.
    List,
    /// Somebody who added the child, which is forgotten if it fails.
    New(Reply<Result<Started, StartChildError>>),
    /// Somebody who knows the child, which stays stopped if it fails.
    Old(Reply<Result<Started, ChildError>>),
}

impl Supervisor {
    async fn run(
        mut self,
        me: TaskRef,
        inbox: Inbox<Message>,
        specs: Vec<ChildSpec>,
    ) -> ExitReason {
        for spec in specs {
            if let Err(error) = self.check(&spec) {
                self.refuse_to_start(spec.id, error);
                break;
            }
            self.children.push(Child::new(spec, Starter::List));
        }
        loop {
            self.step();
            match &self.ending {
                None => {
                    let asked = future::poll_fn(|cx| me.poll_exit_request(cx).map(Err));
                    let next = async { Ok(inbox.next().await) };
                    match future::or(asked, next).await {
                        Ok(message) => self.handle(message),
                        Err(reason) => self.end(reason),
                    }
                }
                Some(reason) if self.children.iter().all(Child::is_gone) => return reason.clone(),
                Some(_) => self.handle(inbox.next().await),
            }
        }
    }

    /// Takes the next step, if nothing is under way that it has to wait for.
    fn step(&mut self) {
        if let Some(child) = self
            .children
            .iter_mut()
            .rev()
            .find(|child| child.has_to_go())
        {
            child.end();
            return;
        }
        self.children.retain(|child| !child.is_over());
        let starts = |child: &Child| matches!(child.stage, Stage::Starting { .. });
        if self.children.iter().any(starts) {
            return;
        }
        let due = |child: &Child| child.wanted && matches!(child.stage, Stage::Stopped);
        match self.children.iter().position(due) {
            Some(index) => self.launch(index),
            None => {
                if let Some(ready) = self.starting.take() {
                    let _ = ready.send(Ok(()));
                }
            }
        }
    }

    fn launch(&mut self, index: usize) {
        let child = &mut self.children[index];
        let pause = mem::take(&mut child.pause);
        let (queue, id) = (self.queue.clone(), Arc::clone(&child.spec.id));
        let spawner = &self.settings.spawner;
        let task = child.spec.launch(spawner, pause, move |_, outcome| {
            // Refused only by a supervisor that is gone; the child ends with the message.
            let _ = queue.try_send(Message::Started { id, outcome });
        });
        let again = child.starter.is_none();
        child.stage = Stage::Starting { task, again };
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::StartChild { spec, reply } => self.start_child(spec, reply),
            Message::TerminateChild { id, reply } => match self.find(&id) {
                Some(child) => {
                    child.wanted = false;
                    child.waiting.push(reply);
                    child.settle();
                }
                None => drop(reply.send(Err(ChildError::NotFound))),
            },
            Message::RestartChild { id, reply } => match self.find_stopped(&id) {
                Ok(child) => {
                    child.stage = Stage::Stopped;
                    child.wanted = true;
                    child.starter = Some(Starter::Old(reply));
                }
                Err(error) => drop(reply.send(Err(error))),
            },
            Message::DeleteChild { id, reply } => {
                let outcome = self.find_stopped(&id).map(drop);
                if outcome.is_ok() {
                    self.children.retain(|child| child.spec.id != id);
                }
                let _ = reply.send(outcome);
            }
            Message::WhichChildren(reply) => {
                let _ = reply.send(self.children.iter().map(Child::info).collect());
            }
            Message::Branches(reply) => {
                let _ = reply.send(self.children.iter().map(Child::branch).collect());
            }
            Message::CountChildren(reply) => {
                let mut counts = Counts::default();
                for child in &self.children {
                    let is_running = matches!(child.stage, Stage::Running(_));
                    counts.count(child.spec.kind, is_running);
                }
                let _ = reply.send(counts);
            }
            Message::Started { id, outcome } => self.started(&id, outcome),
            Message::Ended { id, reason } => self.ended(&id, &reason),
        }
    }

    fn find(&mut self, id: &str) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| &*child.spec.id == id)
    }

    /// A child that neither runs nor is about to.
    fn find_stopped(&mut self, id: &str) -> Result<&mut Child, ChildError> {
        if self.ending.is_some() {
            return Err(ChildError::SupervisorGone);
        }
        let child = self.find(id).ok_or(ChildError::NotFound)?;
        match child.stage {
            Stage::Ignored => Ok(child),
            Stage::Stopped if !child.wanted => Ok(child),
            Stage::Running(_) => Err(ChildError::Running),
            Stage::Stopped | Stage::Starting { .. } => Err(ChildError::Restarting),
        }
    }

    fn check(&self, spec: &ChildSpec) -> Result<(), StartChildError> {
        if self.children.iter().any(|child| child.spec.id == spec.id) {
            return Err(StartChildError::AlreadyPresent(Arc::clone(&spec.id)));
        }
        let why = match self.settings.auto_shutdown {
            _ if !spec.significant => return Ok(()),
            AutoShutdown::Never => {
                "it is significant, but the supervisor never shuts down for that"
            }
            _ if spec.restart == Restart::Permanent => "a permanent child cannot be significant",
            _ => return Ok(()),
        };
        let id = Arc::clone(&spec.id);
        Err(StartChildError::Nonsense { id, why })
    }

    fn start_child(&mut self, spec: ChildSpec, reply: Reply<Result<Started, StartChildError>>) {
        let fine = match self.ending {
            Some(_) => Err(StartChildError::SupervisorGone),
            None => self.check(&spec),
        };
        match fine {
            Ok(()) => self.children.push(Child::new(spec, Starter::New(reply))),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// A starter has ended. What it yielded is dropped, and thereby ended, if nobody wants it.
    fn started(&mut self, id: &str, outcome: Outcome) {
        let (queue, name) = (self.queue.clone(), Arc::clone(&self.settings.name));
        let Some(child) = self.find(id) else {
            return;
        };
        child.told = false;
        match outcome {
            Outcome::Running(task) => {
                debug!(target: "erps", supervisor = %name, child = %id, task = task.task().id(), "child started");
                let id = Arc::clone(&child.spec.id);
                task.watch(move |reason| {
                    let reason = reason.clone();
                    // Refused only by a supervisor that is gone.
                    let _ = queue.try_send(Message::Ended { id, reason });
                });
                let started = Started::Running(task.task().clone());
                child.stage = Stage::Running(task);
                if !child.has_to_go() {
                    child.answer(Ok(started));
                }
            }
            Outcome::Ignore => {
                debug!(target: "erps", supervisor = %name, child = %id, "child ignored");
                child.stage = Stage::Ignored;
                child.anew = false;
                child.answer(Ok(Started::Ignore));
                child.settle();
            }
            Outcome::Failed(reason) => {
                child.stage = Stage::Stopped;
                if child.anew || !child.wanted {
                    child.settle();
                    return;
                }
                warn!(target: "erps", supervisor = %name, child = %id, %reason, "child did not start");
                child.history.note(&reason);
                match child.starter {
                    None => self.restart(id),
                    Some(Starter::List) => {
                        let id = Arc::clone(&child.spec.id);
                        self.refuse_to_start(id, StartChildError::Failed(reason));
                    }
                    Some(Starter::New(_) | Starter::Old(_)) => {
                        child.wanted = false;
                        child.answer(Err(reason));
                        child.settle();
                    }
                }
            }
        }
    }

    /// A child of the list cannot be started for the first time.
    fn refuse_to_start(&mut self, id: Arc<str>, error: StartChildError) {
        if let Some(ready) = self.starting.take() {
            let _ = ready.send(Err((id, error)));
        }
        self.end(ExitReason::Shutdown);
    }

    fn ended(&mut self, id: &str, reason: &ExitReason) {
        let name = Arc::clone(&self.settings.name);
        let Some(child) = self.find(id) else {
            return;
        };
        child.stage = Stage::Stopped;
        child.told = false;
        child.history.note(reason);
        if child.anew || !child.wanted {
            debug!(target: "erps", supervisor = %name, child = %id, %reason, "child ended");
            child.settle();
            return;
        }
        if matches!(reason, ExitReason::Disconnected) || !reason.is_abnormal() {
            debug!(target: "erps", supervisor = %name, child = %id, %reason, "child ended");
        } else {
            warn!(target: "erps", supervisor = %name, child = %id, %reason, "child ended");
        }
        if child.spec.restart.applies_after(reason) {
            self.restart(id);
            return;
        }
        child.wanted = false;
        let was_significant = child.spec.significant;
        let significant_runs = |child: &Child| {
            child.spec.significant && !matches!(child.stage, Stage::Stopped | Stage::Ignored)
        };
        let ends = was_significant
            && match self.settings.auto_shutdown {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => !self.children.iter().any(significant_runs),
            };
        if ends {
            self.end(ExitReason::Shutdown);
        }
    }

    /// Has a child run again that has ended by itself, and others with it, as the strategy says.
    fn restart(&mut self, id: &str) {
        let name = Arc::clone(&self.settings.name);
        if !self.settings.intensity.allows(now()) {
            warn!(target: "erps", supervisor = %name, child = %id, "too many restarts, the supervisor gives up");
            self.end(ExitReason::Shutdown);
            return;
        }
        let position = self.children.iter().position(|child| &*child.spec.id == id);
        let Some(index) = position else {
            return;
        };
        debug!(target: "erps", supervisor = %name, child = %id, "child restarts");
        let pause = self.children[index].unrest.restart(self.settings.delay);
        let affected = match self.settings.strategy {
            Strategy::OneForOne => index..index + 1,
            Strategy::OneForAll => 0..self.children.len(),
            Strategy::RestForOne => index..self.children.len(),
        };
        let affected = &mut self.children[affected];
        affected.iter_mut().for_each(Child::start_anew);
        if let Some(first) = affected.iter_mut().find(|child| child.wanted) {
            first.pause = pause;
        }
    }

    fn end(&mut self, reason: ExitReason) {
        debug!(target: "erps", supervisor = %self.settings.name, %reason, "supervisor ends its children");
        // Whoever waits for the start learns how this ended.
        self.starting = None;
        self.ending = Some(reason);
        for child in &mut self.children {
            child.wanted = false;
            child.settle();
        }
    }
}

impl Child {
    fn new(spec: ChildSpec, starter: Starter) -> Self {
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

    fn is_gone(&self) -> bool {
        matches!(self.stage, Stage::Stopped | Stage::Ignored)
    }

    fn has_to_go(&self) -> bool {
        !self.is_gone() && (self.anew || !self.wanted)
    }

    /// Whether it can be forgotten. Nobody can start a temporary child again.
    fn is_over(&self) -> bool {
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
    fn start_anew(&mut self) {
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
    fn end(&mut self) {
        if mem::replace(&mut self.told, true) {
            return;
        }
        if let Stage::Starting { task, .. } | Stage::Running(task) = &self.stage {
            task.end();
        }
    }

    /// To be called when it may have become what others wait for.
    fn settle(&mut self) {
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
    fn answer(&mut self, outcome: Result<Started, ExitReason>) {
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

    fn state(&self) -> ChildState {
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

    fn branch(&self) -> Branch {
        Branch::new(&self.spec, self.state(), &self.history)
    }

    fn info(&self) -> ChildInfo {
        ChildInfo {
            id: Arc::clone(&self.spec.id),
            state: self.state(),
            restart: self.spec.restart,
            kind: self.spec.kind,
        }
    }
}
