//! The task of a dynamic supervisor, which owns the table of its children.
//!
//! ```text
//!                  +------------- ended, to be restarted --------------+
//!                  v                                                   |
//! Starting --> Restarting --> Running ---------------------------------+
//!     |            |  ^ |        |
//!     |            |  +-+ failed |
//!     +------------+-------------+--> gone
//! ```
//!
//! A child that is told to end, with all others or alone, is marked so, and is gone as soon as its
//! starter or its task has ended.

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use async_channel::Sender;
use futures_channel::oneshot;
use futures_lite::future;

use super::{
    child::{ChildSpec, Outcome},
    delay::{RestartDelay, Unrest},
    dynamic::TerminateChildError,
    event::{self, Event},
    inbox::Inbox,
    info::{ChildInfo, ChildState, Counts, StartChildError},
    intensity::Intensity,
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
    pub(super) intensity: Intensity,
    pub(super) delay: RestartDelay,
    pub(super) max_children: usize,
    pub(super) spawner: Spawner,
}

type Reply<T> = oneshot::Sender<T>;

/// What handles ask, and what starters and children report. Replies nobody waits for are lost.
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
    Ended {
        name: u64,
        reason: ExitReason,
    },
}

pub(super) fn start(settings: Settings) -> (TaskRef, Sender<Message>) {
    let (queue, inbox) = Inbox::new();
    let spawner = settings.spawner.clone();
    let name = Arc::clone(&settings.name);
    let view = View::dynamic(&name, &queue);
    let task = spawner.start(format_args!("the supervisor `{name}`"), |me| {
        let supervisor = Supervisor {
            settings,
            me,
            queue: queue.clone(),
            children: BTreeMap::new(),
            ending: None,
        };
        supervisor.run(inbox)
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
    /// By the id of the task that the outside knows the child by: the last that it ran as, or its
    /// starter if it has not run yet.
    children: BTreeMap<u64, Child>,
    /// Why the supervisor is to end, once it is.
    ending: Option<ExitReason>,
}

struct Child {
    spec: ChildSpec,
    stage: Stage,
    /// The starter, or the child itself where it is running.
    task: Owned,
    /// It has been told to end and is not restarted.
    ending: bool,
    unrest: Unrest,
    history: History,
    /// Those who wait for it to be gone.
    waiting: Vec<Reply<Result<(), TerminateChildError>>>,
}

enum Stage {
    Starting(Reply<Result<TaskRef, StartChildError>>),
    Running,
    Restarting,
}

impl Supervisor {
    async fn run(mut self, inbox: Inbox<Message>) -> ExitReason {
        loop {
            match &self.ending {
                None => {
                    let asked = future::poll_fn(|cx| self.me.poll_exit_request(cx).map(Err));
                    let next = async { Ok(inbox.next().await) };
                    match future::or(asked, next).await {
                        Ok(message) => self.handle(message),
                        Err(reason) => self.end(reason),
                    }
                }
                Some(reason) if self.children.is_empty() => return reason.clone(),
                Some(_) => self.handle(inbox.next().await),
            }
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::StartChild { spec, reply } => self.start_child(spec, reply),
            Message::TerminateChild { name, reply } => self.terminate_child(name, reply),
            Message::WhichChildren(reply) => {
                let _ = reply.send(self.children.values().map(Child::info).collect());
            }
            Message::Branches(reply) => {
                let _ = reply.send(self.children.values().map(Child::branch).collect());
            }
            Message::CountChildren(reply) => {
                let _ = reply.send(self.counts());
            }
            Message::Started { name, outcome } => self.started(name, outcome),
            Message::Ended { name, reason } => self.ended(name, &reason),
        }
    }

    fn start_child(&mut self, spec: ChildSpec, reply: Reply<Result<TaskRef, StartChildError>>) {
        let max = self.settings.max_children;
        let refused = if self.ending.is_some() {
            StartChildError::SupervisorGone
        } else if self.children.len() >= max {
            StartChildError::MaxChildren(max)
        } else if spec.significant {
            StartChildError::Nonsense {
                id: spec.id,
                why: "a dynamic supervisor has no significant children",
            }
        } else {
            let task = self.launch(&spec, None, Duration::ZERO);
            let child = Child {
                spec,
                stage: Stage::Starting(reply),
                ending: false,
                unrest: Unrest::default(),
                history: History::default(),
                waiting: Vec::new(),
                task,
            };
            self.children.insert(child.task.task().id(), child);
            return;
        };
        let _ = reply.send(Err(refused));
    }

    fn terminate_child(&mut self, name: u64, reply: Reply<Result<(), TerminateChildError>>) {
        match self.children.get_mut(&name) {
            Some(child) => {
                child.waiting.push(reply);
                child.end();
            }
            None => {
                let _ = reply.send(Err(TerminateChildError::NotFound));
            }
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for child in self.children.values() {
            counts.count(child.spec.kind, matches!(child.stage, Stage::Running));
        }
        counts
    }

    /// A starter has ended. What it yielded is dropped, and thereby ended, if nobody wants it.
    fn started(&mut self, name: u64, outcome: Outcome) {
        let Some(mut child) = self.children.remove(&name) else {
            return;
        };
        match outcome {
            Outcome::Running(task) => self.running(child, task),
            Outcome::Ignore => {
                child.event(&self.settings).ignored();
                child.gone(StartChildError::Ignored);
            }
            Outcome::Failed(reason) => {
                if !child.ending {
                    child.event(&self.settings).not_started(&reason);
                }
                child.history.note(&reason);
                match child.stage {
                    Stage::Restarting if !child.ending => self.restart(name, child, &reason),
                    _ if child.ending => child.gone(StartChildError::SupervisorGone),
                    _ => child.gone(StartChildError::Failed(reason)),
                }
            }
        }
    }

    fn running(&mut self, mut child: Child, task: Owned) {
        let handle = task.task().clone();
        let name = handle.id();
        let queue = self.queue.clone();
        task.watch(move |reason| {
            let reason = reason.clone();
            // Refused only by a supervisor that is gone.
            let _ = queue.try_send(Message::Ended { name, reason });
        });
        child.task = task;
        child.event(&self.settings).started();
        let stage = mem::replace(&mut child.stage, Stage::Running);
        if child.ending {
            child.task.end();
        } else if let Stage::Starting(reply) = stage {
            let _ = reply.send(Ok(handle));
        }
        self.children.insert(name, child);
    }

    fn ended(&mut self, name: u64, reason: &ExitReason) {
        let Some(mut child) = self.children.remove(&name) else {
            return;
        };
        child.history.note(reason);
        child.event(&self.settings).ended(reason, child.ending);
        if child.ending || !child.spec.restart.applies_after(reason) {
            child.gone(StartChildError::SupervisorGone);
        } else {
            self.restart(name, child, reason);
        }
    }

    /// Starts a child again that has ended for this reason.
    fn restart(&mut self, name: u64, mut child: Child, reason: &ExitReason) {
        if !self.settings.intensity.allows(now()) {
            child.event(&self.settings).gives_up(reason);
            self.end(ExitReason::Shutdown);
            return;
        }
        child.event(&self.settings).restarts(reason);
        let pause = child.unrest.restart(self.settings.delay);
        child.task = self.launch(&child.spec, Some(name), pause);
        child.stage = Stage::Restarting;
        self.children.insert(name, child);
    }

    /// Runs a recipe for the child of this name; a new child is named after its starter.
    fn launch(&self, spec: &ChildSpec, name: Option<u64>, pause: Duration) -> Owned {
        let queue = self.queue.clone();
        spec.launch(&self.settings.spawner, pause, move |starter, outcome| {
            let name = name.unwrap_or(starter);
            // Refused only by a supervisor that is gone; the child ends with the message.
            let _ = queue.try_send(Message::Started { name, outcome });
        })
    }

    fn end(&mut self, reason: ExitReason) {
        event::ends(&self.settings.name, &self.me, &reason);
        self.ending = Some(reason);
        self.children.values_mut().for_each(Child::end);
    }
}

impl Child {
    fn event<'a>(&'a self, settings: &'a Settings) -> Event<'a> {
        Event {
            supervisor: &settings.name,
            child: &self.spec.id,
            task: self.task.task(),
        }
    }

    /// Tells it to end. A second time has no effect.
    fn end(&mut self) {
        if !mem::replace(&mut self.ending, true) {
            self.task.end();
        }
    }

    /// Tells everyone concerned that there is no such child any more; `why` is for whoever still
    /// waits for its start.
    fn gone(self, why: StartChildError) {
        if let Stage::Starting(reply) = self.stage {
            let _ = reply.send(Err(why));
        }
        for waiter in self.waiting {
            let _ = waiter.send(Ok(()));
        }
    }

    fn state(&self) -> ChildState {
        match self.stage {
            Stage::Starting(_) => ChildState::Starting,
            Stage::Running => ChildState::Running(self.task.task().clone()),
            Stage::Restarting => ChildState::Restarting,
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
