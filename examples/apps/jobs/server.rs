//! The servers: one for each connection, and the queue behind them.
//!
//! ```text
//! submitter --> Connection --+                +--> SQLite
//!                            +-- `Message` --> Queue
//! worker -----> Connection --+                +--> parked takes, running jobs
//! ```
//!
//! The server of a connection knows who its peer is, and passes calls on with their `ReplyTo`. The queue answers them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use erps::{BoxError, Busy, Context, InitError, ReplyTo, ServerRef};

use crate::{
    protocol::{Counts, Job, Jobs, JobsProtocol, Refused},
    store::Store,
};

/// What the servers of connections send the queue.
pub(crate) enum Message {
    Submit(String, ReplyTo<i64>),
    Take(Worker, ReplyTo<Result<Job, Refused>>),
    Done(Worker, i64, String, ReplyTo<Result<(), Refused>>),
    Counts(ReplyTo<Counts>),
    /// A worker has connected.
    Connected(ServerRef<Connection>),
    /// Its connection has ended.
    Gone(u64),
    Drain,
}

/// A worker's connection.
pub(crate) struct Worker {
    name: String,
    server: ServerRef<Connection>,
    /// A drain of the daemon waits until this is dropped: until the job is done.
    busy: Busy,
}

impl Worker {
    fn id(&self) -> u64 {
        self.server.task().id()
    }
}

/// The server of one connection.
pub(crate) struct Connection {
    queue: ServerRef<Queue>,
    /// The name in the peer's certificate.
    name: String,
    is_worker: bool,
}

#[derive(Clone)]
pub(crate) struct Seed {
    pub(crate) queue: ServerRef<Queue>,
    pub(crate) workers: Arc<[String]>,
}

#[erps::server]
impl Jobs for Connection {
    type Seed = Seed;

    async fn init(seed: Seed, cx: &mut Context<Self>) -> Result<Self, InitError> {
        let name = cx.identity().and_then(|it| it.common_name());
        let name = name.ok_or("a certificate without a name")?.to_owned();
        let (queue, is_worker) = (seed.queue, seed.workers.contains(&name));
        if is_worker {
            queue.info(Message::Connected(cx.this().clone())).await?;
        }
        Ok(Self {
            queue,
            name,
            is_worker,
        })
    }

    #[reply_later]
    async fn submit(&mut self, text: String, from: ReplyTo<i64>) -> Result<(), BoxError> {
        Ok(self.queue.info(Message::Submit(text, from)).await?)
    }

    #[reply_later]
    async fn take(
        &mut self,
        from: ReplyTo<Result<Job, Refused>>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match self.worker(cx) {
            Some(worker) => self.queue.info(Message::Take(worker, from)).await?,
            None => from.reply(Err(Refused::NotAWorker)),
        }
        Ok(())
    }

    #[reply_later]
    async fn done(
        &mut self,
        job: i64,
        output: String,
        from: ReplyTo<Result<(), Refused>>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match self.worker(cx) {
            Some(worker) => {
                let done = Message::Done(worker, job, output, from);
                self.queue.info(done).await?;
            }
            None => from.reply(Err(Refused::NotAWorker)),
        }
        Ok(())
    }

    #[reply_later]
    async fn counts(&mut self, from: ReplyTo<Counts>) -> Result<(), BoxError> {
        Ok(self.queue.info(Message::Counts(from)).await?)
    }

    async fn handle_drain(&mut self, _deadline: Instant) -> Result<(), BoxError> {
        Ok(self.queue.info(Message::Drain).await?)
    }
}

impl Connection {
    fn worker(&self, cx: &Context<Self>) -> Option<Worker> {
        self.is_worker.then(|| Worker {
            name: self.name.clone(),
            server: cx.this().clone(),
            busy: cx.busy(),
        })
    }
}

/// The queue: the only one that uses the database. It has no connection, and so its protocol has no calls.
pub(crate) struct Queue {
    store: Store,
    parked: VecDeque<(Worker, ReplyTo<Result<Job, Refused>>)>,
    /// The jobs that are running, by the connections of their workers.
    running: HashMap<u64, (Job, Busy)>,
    is_draining: bool,
}

#[erps::protocol]
pub(crate) trait NoCalls {}

#[erps::server]
impl NoCalls for Queue {
    type Seed = Store;
    type Info = Message;

    async fn init(store: Store) -> Result<Self, InitError> {
        Ok(Self {
            store,
            parked: VecDeque::new(),
            running: HashMap::new(),
            is_draining: false,
        })
    }

    // An error of the database ends the queue, and `serve` with it.
    async fn handle_info(
        &mut self,
        message: Message,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match message {
            Message::Connected(server) => {
                let id = server.task().id();
                cx.monitor(&server, move |_| Message::Gone(id));
            }
            Message::Submit(text, from) => {
                from.reply(self.store.submit(text).await?);
                self.hand_out().await?;
            }
            Message::Take(worker, from) => {
                // A worker whose last take has timed out takes again: its job must not be lost.
                if let Some((job, _)) = self.running.get(&worker.id()) {
                    from.reply(Ok(job.clone()));
                } else if self.is_draining {
                    from.reply(Err(Refused::Draining));
                } else {
                    self.parked.retain(|(it, _)| it.id() != worker.id());
                    self.parked.push_back((worker, from));
                    self.hand_out().await?;
                }
            }
            Message::Done(worker, job, output, from) => {
                let running = self.running.get(&worker.id());
                if running.is_none_or(|(it, _)| it.id != job) {
                    from.reply(Err(Refused::NotYours));
                } else {
                    self.store.finish(job, output).await?;
                    from.reply(Ok(()));
                    self.running.remove(&worker.id());
                }
            }
            Message::Counts(from) => from.reply(self.store.counts().await?),
            Message::Gone(worker) => {
                self.parked.retain(|(it, _)| it.id() != worker);
                if let Some((job, _)) = self.running.remove(&worker) {
                    self.store.requeue(job.id).await?;
                    self.hand_out().await?;
                }
            }
            Message::Drain => {
                self.is_draining = true;
                for (_, from) in self.parked.drain(..) {
                    from.reply(Err(Refused::Draining));
                }
            }
        }
        Ok(())
    }
}

impl Queue {
    /// Answers parked takes with queued jobs.
    async fn hand_out(&mut self) -> Result<(), BoxError> {
        while let Some((worker, from)) = self.parked.pop_front() {
            if from.is_cancelled() {
                continue;
            }
            let Some(job) = self.store.take(worker.name.clone()).await? else {
                self.parked.push_front((worker, from));
                break;
            };
            match from.try_reply(Ok(job.clone())) {
                Ok(()) => {
                    self.running.insert(worker.id(), (job, worker.busy));
                }
                // The worker has gone: the next one gets the job.
                Err(_) => self.store.requeue(job.id).await?,
            }
        }
        Ok(())
    }
}
