//! The task of an ordered supervisor.
//!
//! Commands, exits and restart strategies only change which children shall run. After every message
//! the task takes the next step from the current state towards that, and waits for the outcome:
//!
//! ```text
//! 1. Shut down the last child that runs and shall not, or shall be restarted. With one_for_one, all
//!    of them, unless the supervisor itself shuts down.
//! 2. If there is none, start the first child that shall run and does not. With one_for_one, also all
//!    that are restarted or were requested.
//! ```

use std::{mem, sync::Arc, time::Duration};

use async_channel::Sender;
use futures_lite::future;

use super::{
    child::{ChildSpec, Outcome, Restart, Started},
    error::{ChildError, StartChildError},
    event,
    inbox::Inbox,
    info::Counts,
    ordered_child::{Child, Requester, Stage},
    ordered_message::{Message, Ready, Reply, Settings},
    strategy::{AutoShutdown, Strategy},
    view::View,
};
use crate::{ExitReason, TaskRef, task::now};

/// Starts the task, and returns its handle and its queue.
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
            exiting: None,
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
    /// Set until all children have started for the first time.
    starting: Option<Ready>,
    /// The exit reason of the supervisor, once it shuts down.
    exiting: Option<ExitReason>,
}

impl Supervisor {
    async fn run(mut self, inbox: Inbox<Message>, specs: Vec<ChildSpec>) -> ExitReason {
        for spec in specs {
            if let Err(error) = self.check(&spec) {
                self.fail_start(spec.id, error);
                break;
            }
            self.children.push(Child::new(spec, Requester::Initial));
        }
        loop {
            self.step();
            match &self.exiting {
                None => {
                    let asked = future::poll_fn(|cx| self.me.poll_exit_request(cx).map(Err));
                    let next = async { Ok(inbox.next().await) };
                    match future::or(asked, next).await {
                        Ok(message) => self.handle(message),
                        Err(reason) => self.shut_down(reason),
                    }
                }
                Some(reason) if self.children.iter().all(Child::is_stopped) => {
                    return reason.clone();
                }
                Some(_) => self.handle(inbox.next().await),
            }
        }
    }

    /// Takes the next step, unless it has to wait for a start or a shutdown in progress.
    fn step(&mut self) {
        self.children.retain(|child| !child.is_removable());
        let independent = self.exiting.is_none() && self.is_one_for_one();
        for child in self.children.iter_mut().rev() {
            if child.must_stop() {
                child.shut_down();
                if !independent {
                    return;
                }
            }
        }
        while let Some(index) = self.next_to_start() {
            self.launch(index);
        }
        if !self.children.iter().any(Child::is_initial)
            && let Some(ready) = self.starting.take()
        {
            let _ = ready.send(Ok(()));
        }
    }

    /// Returns the first child that shall run and does not, unless it has to wait for another start.
    ///
    /// With one_for_one, only the initial starts wait for each other. So a delayed restart blocks no
    /// other child, and a start function may add a sibling and wait for it.
    fn next_to_start(&self) -> Option<usize> {
        let starts = |child: &Child| matches!(child.stage, Stage::Starting { .. });
        let one_starts = self.children.iter().any(starts);
        let independent = self.is_one_for_one();
        let is_due = |child: &Child| child.wanted && matches!(child.stage, Stage::Stopped);
        let may = |child: &Child| !one_starts || independent && !child.is_initial();
        let children = self.children.iter();
        children
            .enumerate()
            .find_map(|(index, child)| (is_due(child) && may(child)).then_some(index))
    }

    fn is_one_for_one(&self) -> bool {
        self.settings.strategy == Strategy::OneForOne
    }

    fn launch(&mut self, index: usize) {
        let child = &mut self.children[index];
        let pause = mem::take(&mut child.pause);
        let (queue, id) = (self.queue.clone(), Arc::clone(&child.spec.id));
        let spawner = &self.settings.spawner;
        let task = child.spec.launch(spawner, pause, move |_, outcome| {
            // Fails only if the supervisor has exited; the drop of the message shuts the child down.
            let _ = queue.try_send(Message::Started { id, outcome });
        });
        let again = child.requester.is_none();
        child.stage = Stage::Starting { task, again };
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::StartChild { spec, reply } => self.start_child(spec, reply),
            Message::TerminateChild { id, reply } => match self.find(&id) {
                Some(child) => {
                    child.wanted = false;
                    child.waiting.push(reply);
                    child.notify_stopped();
                }
                None => drop(reply.send(Err(ChildError::NotFound))),
            },
            Message::RestartChild { id, reply } => match self.find_stopped(&id) {
                Ok(child) => {
                    child.stage = Stage::Stopped;
                    child.wanted = true;
                    child.pause = Duration::ZERO;
                    child.requester = Some(Requester::Existing(reply));
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
            Message::Exited { id, reason } => self.exited(&id, &reason),
        }
    }

    fn find(&mut self, id: &str) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| &*child.spec.id == id)
    }

    /// Returns a child that neither runs nor is about to.
    fn find_stopped(&mut self, id: &str) -> Result<&mut Child, ChildError> {
        if self.exiting.is_some() {
            return Err(ChildError::SupervisorStopped);
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
                "it is significant, but the supervisor has `AutoShutdown::Never`"
            }
            _ if spec.restart == Restart::Permanent => "a permanent child cannot be significant",
            _ => return Ok(()),
        };
        let id = Arc::clone(&spec.id);
        Err(StartChildError::InvalidSpec { id, why })
    }

    fn start_child(&mut self, spec: ChildSpec, reply: Reply<Result<Started, StartChildError>>) {
        let checked = match self.exiting {
            Some(_) => Err(StartChildError::SupervisorStopped),
            None => self.check(&spec),
        };
        match checked {
            Ok(()) => self.children.push(Child::new(spec, Requester::New(reply))),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Handles the outcome of a starter. A task whose child has been removed is shut down by its drop.
    fn started(&mut self, id: &str, outcome: Outcome) {
        let (queue, name) = (self.queue.clone(), Arc::clone(&self.settings.name));
        let Some(child) = self.find(id) else {
            return;
        };
        child.shutting_down = false;
        match outcome {
            Outcome::Running(task) => {
                let id = Arc::clone(&child.spec.id);
                task.watch(move |reason| {
                    let reason = reason.clone();
                    // Fails only if the supervisor has exited.
                    let _ = queue.try_send(Message::Exited { id, reason });
                });
                let started = Started::Running(task.task().clone());
                child.stage = Stage::Running(task);
                child.emit(&name, |event| event.started());
                if !child.must_stop() {
                    child.reply_started(Ok(started));
                }
            }
            Outcome::Ignore => {
                child.emit(&name, |event| event.ignored());
                // Its start function runs again if a restart is pending.
                if child.restart_pending {
                    child.stage = Stage::Stopped;
                } else {
                    child.stage = Stage::Ignored;
                    child.reply_started(Ok(Started::Ignore));
                }
                child.notify_stopped();
            }
            Outcome::Failed(reason) => {
                if child.restart_pending || !child.wanted {
                    child.stage = Stage::Stopped;
                    child.notify_stopped();
                    return;
                }
                child.emit(&name, |event| event.not_started(&reason));
                child.exits.push(&reason);
                match child.requester {
                    None => self.restart(id, &reason),
                    Some(Requester::Initial) => {
                        child.stage = Stage::Stopped;
                        let id = Arc::clone(&child.spec.id);
                        self.fail_start(id, StartChildError::Failed(reason));
                    }
                    Some(Requester::New(_) | Requester::Existing(_)) => {
                        child.stage = Stage::Stopped;
                        child.wanted = false;
                        child.reply_started(Err(reason));
                        child.notify_stopped();
                    }
                }
            }
        }
    }

    /// Fails the supervisor's own start, because this child did not start.
    fn fail_start(&mut self, id: Arc<str>, error: StartChildError) {
        if let Some(ready) = self.starting.take() {
            let _ = ready.send(Err((id, error)));
        }
        self.shut_down(ExitReason::Shutdown);
    }

    fn exited(&mut self, id: &str, reason: &ExitReason) {
        let name = Arc::clone(&self.settings.name);
        let Some(child) = self.find(id) else {
            return;
        };
        let was_shut_down = child.restart_pending || !child.wanted;
        child.emit(&name, |event| event.exited(reason, was_shut_down));
        child.shutting_down = false;
        child.exits.push(reason);
        if was_shut_down {
            child.stage = Stage::Stopped;
            child.notify_stopped();
            return;
        }
        if child.is_restarted(reason) {
            self.restart(id, reason);
            return;
        }
        child.stage = Stage::Stopped;
        child.wanted = false;
        let was_significant = child.spec.significant;
        let shuts_down = was_significant
            && match self.settings.auto_shutdown {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => !self.children.iter().any(Child::is_significant),
            };
        if shuts_down {
            self.shut_down(ExitReason::Shutdown);
        }
    }

    /// Restarts a child that exited by itself for this reason, and others with it according to the
    /// strategy.
    fn restart(&mut self, id: &str, reason: &ExitReason) {
        let name = Arc::clone(&self.settings.name);
        let position = self.children.iter().position(|child| &*child.spec.id == id);
        let Some(index) = position else {
            return;
        };
        let is_allowed = self.settings.intensity.allows(now());
        let child = &mut self.children[index];
        child.emit(&name, |event| match is_allowed {
            true => event.restarting(reason),
            false => event.max_restarts_exceeded(reason),
        });
        child.stage = Stage::Stopped;
        if !is_allowed {
            self.shut_down(ExitReason::Shutdown);
            return;
        }
        let pause = child.delays.next(self.settings.delay);
        let affected = match self.settings.strategy {
            Strategy::OneForOne => index..index + 1,
            Strategy::OneForAll => 0..self.children.len(),
            Strategy::RestForOne => index..self.children.len(),
        };
        let affected = &mut self.children[affected];
        affected.iter_mut().for_each(Child::mark_restart);
        if let Some(first) = affected.iter_mut().find(|child| child.wanted) {
            first.pause = pause;
        }
    }

    /// Shuts all children down in reverse order, and then exits with this reason.
    fn shut_down(&mut self, reason: ExitReason) {
        event::shuts_down(&self.settings.name, &self.me, &reason);
        // A caller that waits for the start receives the exit reason.
        self.starting = None;
        self.exiting = Some(reason);
        for child in &mut self.children {
            child.wanted = false;
            child.notify_stopped();
        }
    }
}
