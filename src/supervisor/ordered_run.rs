//! The task of a supervisor of a list.
//!
//! It has one aim: that those children run which are to, in their order. After everything it hears,
//! it takes the next step there, and waits to hear of its outcome:
//!
//! ```text
//! 1. Of those that run and are not to, or are to be made anew, the last is ended; all are where each
//!    stands for itself, unless the supervisor ends.
//! 2. If there are none, of those that are to run and do not, the first is started. Where each
//!    stands for itself, all are that were restarted or asked for.
//! ```
//!
//! What a strategy, a command, or an end comes to is thus a change of who is to run.

use std::{mem, sync::Arc, time::Duration};

use async_channel::Sender;
use futures_lite::future;

use super::{
    child::{ChildSpec, Outcome, Restart, Started},
    event,
    inbox::Inbox,
    info::{Counts, StartChildError},
    ordered::{AutoShutdown, ChildError, Strategy},
    ordered_child::{Child, Stage, Starter},
    ordered_message::{Message, Ready, Reply, Settings},
    tree::View,
};
use crate::{ExitReason, TaskRef, task::now};

pub(super) fn start(
    settings: Settings,
    specs: Vec<ChildSpec>,
    ready: Ready,
) -> (TaskRef, Sender<Message>) {
    let (queue, inbox) = Inbox::new();
    let spawner = settings.spawner.clone();
    let name = Arc::clone(&settings.name);
    let view = View::ordered(&name, &queue);
    let task = spawner.start(format_args!("the supervisor `{name}`"), |me| {
        let supervisor = Supervisor {
            settings,
            me,
            queue: queue.clone(),
            children: Vec::new(),
            starting: Some(ready),
            ending: None,
        };
        supervisor.run(inbox, specs)
    });
    task.set_facts(view);
    task.set_has_children();
    (task, queue)
}

struct Supervisor {
    settings: Settings,
    /// Its own task.
    me: TaskRef,
    /// For the reports of starters and children.
    queue: Sender<Message>,
    children: Vec<Child>,
    /// Until all children have started for the first time.
    starting: Option<Ready>,
    /// Why the supervisor is to end, once it is.
    ending: Option<ExitReason>,
}

impl Supervisor {
    async fn run(mut self, inbox: Inbox<Message>, specs: Vec<ChildSpec>) -> ExitReason {
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
                    let asked = future::poll_fn(|cx| self.me.poll_exit_request(cx).map(Err));
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
        self.children.retain(|child| !child.is_over());
        let each_for_itself = self.ending.is_none() && self.is_one_for_one();
        for child in self.children.iter_mut().rev() {
            if child.has_to_go() {
                child.end();
                if !each_for_itself {
                    return;
                }
            }
        }
        while let Some(index) = self.next_to_start() {
            self.launch(index);
        }
        if !self.children.iter().any(Child::is_of_the_list)
            && let Some(ready) = self.starting.take()
        {
            let _ = ready.send(Ok(()));
        }
    }

    /// The first that is to run and does not, if it need not wait for another to have started.
    ///
    /// Where each stands for itself, only those of the list wait, for the first time. So nobody is held
    /// up by one whose restart is delayed, and who adds a sibling may wait for it within a recipe.
    fn next_to_start(&self) -> Option<usize> {
        let starts = |child: &Child| matches!(child.stage, Stage::Starting { .. });
        let one_starts = self.children.iter().any(starts);
        let each_for_itself = self.is_one_for_one();
        let is_due = |child: &Child| child.wanted && matches!(child.stage, Stage::Stopped);
        let may = |child: &Child| !one_starts || each_for_itself && !child.is_of_the_list();
        let children = self.children.iter();
        children
            .enumerate()
            .find_map(|(index, child)| (is_due(child) && may(child)).then_some(index))
    }

    /// Whether each stands for itself.
    fn is_one_for_one(&self) -> bool {
        self.settings.strategy == Strategy::OneForOne
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
                    child.pause = Duration::ZERO;
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
                let id = Arc::clone(&child.spec.id);
                task.watch(move |reason| {
                    let reason = reason.clone();
                    // Refused only by a supervisor that is gone.
                    let _ = queue.try_send(Message::Ended { id, reason });
                });
                let started = Started::Running(task.task().clone());
                child.stage = Stage::Running(task);
                child.tell(&name, |event| event.started());
                if !child.has_to_go() {
                    child.answer(Ok(started));
                }
            }
            Outcome::Ignore => {
                child.tell(&name, |event| event.ignored());
                // One that is to be made anew is asked again.
                if child.anew {
                    child.stage = Stage::Stopped;
                } else {
                    child.stage = Stage::Ignored;
                    child.answer(Ok(Started::Ignore));
                }
                child.settle();
            }
            Outcome::Failed(reason) => {
                if child.anew || !child.wanted {
                    child.stage = Stage::Stopped;
                    child.settle();
                    return;
                }
                child.tell(&name, |event| event.not_started(&reason));
                child.history.note(&reason);
                match child.starter {
                    None => self.restart(id, &reason),
                    Some(Starter::List) => {
                        child.stage = Stage::Stopped;
                        let id = Arc::clone(&child.spec.id);
                        self.refuse_to_start(id, StartChildError::Failed(reason));
                    }
                    Some(Starter::New(_) | Starter::Old(_)) => {
                        child.stage = Stage::Stopped;
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
        let was_told = child.anew || !child.wanted;
        child.tell(&name, |event| event.ended(reason, was_told));
        child.told = false;
        child.history.note(reason);
        if was_told {
            child.stage = Stage::Stopped;
            child.settle();
            return;
        }
        if child.spec.restart.applies_after(reason) {
            self.restart(id, reason);
            return;
        }
        child.stage = Stage::Stopped;
        child.wanted = false;
        let was_significant = child.spec.significant;
        let ends = was_significant
            && match self.settings.auto_shutdown {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => !self.children.iter().any(Child::is_awaited),
            };
        if ends {
            self.end(ExitReason::Shutdown);
        }
    }

    /// Has a child run again that has ended by itself, for this reason, and others with it, as the
    /// strategy says.
    fn restart(&mut self, id: &str, reason: &ExitReason) {
        let name = Arc::clone(&self.settings.name);
        let position = self.children.iter().position(|child| &*child.spec.id == id);
        let Some(index) = position else {
            return;
        };
        let is_allowed = self.settings.intensity.allows(now());
        let child = &mut self.children[index];
        child.tell(&name, |event| match is_allowed {
            true => event.restarts(reason),
            false => event.gives_up(reason),
        });
        child.stage = Stage::Stopped;
        if !is_allowed {
            self.end(ExitReason::Shutdown);
            return;
        }
        let pause = child.unrest.restart(self.settings.delay);
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
        event::ends(&self.settings.name, &self.me, &reason);
        // Whoever waits for the start learns how this ended.
        self.starting = None;
        self.ending = Some(reason);
        for child in &mut self.children {
            child.wanted = false;
            child.settle();
        }
    }
}
