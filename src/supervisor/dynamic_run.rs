//! The task of a dynamic supervisor, which owns the table of its children.
//!
//! ```text
//!                  +------------- exited, to be restarted -------------+
//!                  v                                                   |
//! Starting --> Restarting --> Running ---------------------------------+
//!     |            |  ^ |        |
//!     |            |  +-+ failed |
//!     +------------+-------------+--> removed
//! ```
//!
//! A child that is shut down, alone or with all others, is marked as such, and is removed once its
//! starter or its task has exited.

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use async_channel::Sender;
use futures_lite::future;

use super::{
    child::{ChildSpec, Outcome},
    delay::RestartDelays,
    dynamic_message::{Message, Reply, Settings},
    error::{StartChildError, TerminateChildError},
    event::{self, Event},
    inbox::Inbox,
    info::{ChildInfo, ChildState, Counts},
    owned::Owned,
    tree::{Branch, ExitLog},
    view::View,
};
use crate::{ExitReason, TaskRef, task::now};

/// Starts the task, and returns its handle and its queue.
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
            exiting: None,
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
    /// By the id of the task by which callers name the child: the last task that it ran as, or its starter if it has
    /// not run yet.
    children: BTreeMap<u64, Child>,
    /// The exit reason of the supervisor, once it shuts down.
    exiting: Option<ExitReason>,
}

struct Child {
    spec: ChildSpec,
    stage: Stage,
    /// The starter, or the child itself once it is running.
    task: Owned,
    /// Whether it is being shut down and is not restarted.
    exiting: bool,
    delays: RestartDelays,
    exits: ExitLog,
    /// Callers waiting until it is removed.
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
            match &self.exiting {
                None => {
                    let asked = future::poll_fn(|cx| self.me.poll_exit_request(cx).map(Err));
                    let next = async { Ok(inbox.next().await) };
                    match future::or(asked, next).await {
                        Ok(message) => self.handle(message),
                        Err(reason) => self.shut_down(reason),
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
            Message::Exited { name, reason } => self.exited(name, &reason),
        }
    }

    fn start_child(&mut self, spec: ChildSpec, reply: Reply<Result<TaskRef, StartChildError>>) {
        let max = self.settings.max_children;
        let error = if self.exiting.is_some() {
            StartChildError::SupervisorStopped
        } else if self.children.len() >= max {
            StartChildError::MaxChildren(max)
        } else if spec.significant {
            StartChildError::InvalidSpec {
                id: spec.id,
                why: "a dynamic supervisor has no significant children",
            }
        } else {
            let task = self.launch(&spec, None, Duration::ZERO);
            let child = Child {
                spec,
                stage: Stage::Starting(reply),
                exiting: false,
                delays: RestartDelays::default(),
                exits: ExitLog::default(),
                waiting: Vec::new(),
                task,
            };
            self.children.insert(child.task.task().id(), child);
            return;
        };
        let _ = reply.send(Err(error));
    }

    fn terminate_child(&mut self, name: u64, reply: Reply<Result<(), TerminateChildError>>) {
        match self.children.get_mut(&name) {
            Some(child) => {
                child.waiting.push(reply);
                child.shut_down();
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

    /// Handles the outcome of a starter. A task whose child has been removed is shut down by its drop.
    fn started(&mut self, name: u64, outcome: Outcome) {
        let Some(mut child) = self.children.remove(&name) else {
            return;
        };
        match outcome {
            Outcome::Running(task) => self.running(child, task),
            Outcome::Ignore => {
                child.event(&self.settings).ignored();
                child.removed(StartChildError::Ignored);
            }
            Outcome::Failed(reason) => {
                if !child.exiting {
                    child.event(&self.settings).not_started(&reason);
                }
                child.exits.push(&reason);
                match child.stage {
                    Stage::Restarting if !child.exiting => self.restart(name, child, &reason),
                    _ if child.exiting => child.removed(StartChildError::SupervisorStopped),
                    _ => child.removed(StartChildError::Failed(reason)),
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
            // Fails only if the supervisor has exited.
            let _ = queue.try_send(Message::Exited { name, reason });
        });
        child.task = task;
        child.event(&self.settings).started();
        let stage = mem::replace(&mut child.stage, Stage::Running);
        if child.exiting {
            child.task.shut_down();
        } else if let Stage::Starting(reply) = stage {
            let _ = reply.send(Ok(handle));
        }
        self.children.insert(name, child);
    }

    fn exited(&mut self, name: u64, reason: &ExitReason) {
        let Some(mut child) = self.children.remove(&name) else {
            return;
        };
        child.exits.push(reason);
        child.event(&self.settings).exited(reason, child.exiting);
        if child.exiting || !child.spec.restart.applies_after(child.task.task(), reason) {
            child.removed(StartChildError::SupervisorStopped);
        } else {
            self.restart(name, child, reason);
        }
    }

    /// Restarts a child that exited for this reason.
    fn restart(&mut self, name: u64, mut child: Child, reason: &ExitReason) {
        if !self.settings.intensity.allows(now()) {
            child.event(&self.settings).max_restarts_exceeded(reason);
            self.shut_down(ExitReason::Shutdown);
            return;
        }
        child.event(&self.settings).restarting(reason);
        let pause = child.delays.next(self.settings.delay);
        child.task = self.launch(&child.spec, Some(name), pause);
        child.stage = Stage::Restarting;
        self.children.insert(name, child);
    }

    /// Runs the start function of the child of this name; a new child is named after its starter.
    fn launch(&self, spec: &ChildSpec, name: Option<u64>, pause: Duration) -> Owned {
        let queue = self.queue.clone();
        spec.launch(&self.settings.spawner, pause, move |starter, outcome| {
            let name = name.unwrap_or(starter);
            // Fails only if the supervisor has exited; the drop of the message shuts the child down.
            let _ = queue.try_send(Message::Started { name, outcome });
        })
    }

    /// Shuts all children down, and then exits with this reason.
    fn shut_down(&mut self, reason: ExitReason) {
        event::shuts_down(&self.settings.name, &self.me, &reason);
        self.exiting = Some(reason);
        self.children.values_mut().for_each(Child::shut_down);
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

    /// Begins its shutdown. A second call has no effect.
    fn shut_down(&mut self) {
        if !mem::replace(&mut self.exiting, true) {
            self.task.shut_down();
        }
    }

    /// Replies to all callers that wait for the removal; `why` is for the caller that waits for its
    /// start.
    fn removed(self, why: StartChildError) {
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
        Branch::new(&self.spec, self.state(), &self.exits)
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
