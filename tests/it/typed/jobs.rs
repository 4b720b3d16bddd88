//! A protocol with all that the macro has, its server, and its client.

use erps::{
    BoxError, CallError, Caller as _, Client, Context, Daemon, ExitReason, Linked, ReplyTo,
    ServerError, ServerRef,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) size: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobId(pub(crate) u64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SubmitError {
    #[error("a job of {0} bytes is too large")]
    TooLarge(u32),
    #[error("the name of a job is a number")]
    Unnamed,
}

impl From<std::num::ParseIntError> for SubmitError {
    fn from(_: std::num::ParseIntError) -> Self {
        Self::Unnamed
    }
}

/// A queue of jobs.
#[erps::protocol(identifier = "jobs", version = "1.2.0", accepts = "~> 1.2")]
pub(crate) trait Jobs {
    /// Submits a job.
    async fn submit(job: Job) -> Result<JobId, SubmitError>;

    /// Returns how many jobs were submitted.
    async fn total() -> u64;

    async fn resize(id: JobId, size: u32) -> Option<Job>;

    #[wire(name = "next_job", alias = "next")]
    async fn next() -> Job;

    /// Does nothing.
    async fn ping();

    /// Fails unless the text is a number.
    async fn parse(text: String) -> u64;

    /// Fails in one of several ways.
    async fn fail(how: String) -> u64;

    /// Marks a job as done.
    #[cast]
    fn done(id: JobId);

    #[cast]
    fn clear();

    /// The queue was paused.
    #[push]
    fn paused(reason: String);

    #[push]
    fn resumed();

    #[push]
    fn progress(id: JobId, percent: u8);
}

#[derive(Default)]
pub(crate) struct Queue {
    jobs: Vec<Job>,
    waiting: Vec<ReplyTo<Job>>,
}

#[erps::server]
impl Jobs for Queue {
    async fn submit(&mut self, job: Job) -> Result<JobId, SubmitError> {
        if job.size > 100 {
            return Err(SubmitError::TooLarge(job.size));
        }
        // Becomes a reply.
        job.name.trim_start_matches("job-").parse::<u64>()?;
        if let Some(from) = self.waiting.pop() {
            from.reply(job.clone());
        }
        self.jobs.push(job);
        Ok(JobId(self.jobs.len() as u64))
    }

    async fn total(&mut self) -> u64 {
        self.jobs.len() as u64
    }

    async fn resize(&mut self, id: JobId, size: u32, _: &mut Context<Self>) -> Option<Job> {
        let job = self.jobs.get_mut((id.0 - 1) as usize)?;
        job.size = size;
        Some(job.clone())
    }

    #[reply_later]
    async fn next(&mut self, from: ReplyTo<Job>) {
        self.waiting.push(from);
    }

    async fn ping(&mut self) {}

    async fn parse(&mut self, text: String) -> Result<u64, BoxError> {
        // Stops the server.
        Ok(text.parse()?)
    }

    async fn fail(&mut self, how: String, cx: &mut Context<Self>) -> u64 {
        match &*how {
            "stop" => cx.stop(ExitReason::Shutdown),
            "panic" => panic!("as asked"),
            _ => {}
        }
        7
    }

    async fn done(&mut self, id: JobId, cx: &mut Context<Self>) -> Result<(), BoxError> {
        cx.progress(id, 100).await?;
        Ok(())
    }

    async fn clear(&mut self, cx: &mut Context<Self>) {
        self.jobs.clear();
        let _ = cx.paused("empty".into()).await;
        let _ = cx.this().resumed().await;
    }
}

pub(crate) fn job(name: &str, size: u32) -> Job {
    Job {
        name: name.into(),
        size,
    }
}

pub(crate) async fn pair() -> (Linked<Daemon<Queue>>, Client<JobsProtocol>) {
    let daemon = Daemon::<Queue>::builder(()).start_link().await.unwrap();
    let client = Client::builder(daemon.local_addr())
        .connect()
        .await
        .unwrap();
    (daemon, client)
}

#[erps::test]
async fn a_method_of_the_client_returns_the_reply_of_its_call() {
    let (_daemon, client) = pair().await;
    assert_eq!(client.submit(job("job-1", 5)).await.unwrap(), Ok(JobId(1)));
    assert_eq!(client.total().await.unwrap(), 1);
    let resized = client.resize(JobId(1), 9).await.unwrap();
    assert_eq!(resized, Some(job("job-1", 9)));
    client.ping().await.unwrap();
    assert_eq!(client.parse("12".into()).await.unwrap(), 12);
}

#[erps::test]
async fn the_error_of_a_call_is_part_of_its_reply_and_the_server_goes_on() {
    let (_daemon, client) = pair().await;
    let outcome = client.submit(job("job-1", 500)).await.unwrap();
    assert_eq!(outcome, Err(SubmitError::TooLarge(500)));
    // From `?` in the handler.
    let outcome = client.submit(job("job-x", 5)).await.unwrap();
    assert_eq!(outcome, Err(SubmitError::Unnamed));
    assert_eq!(client.total().await.unwrap(), 0);
}
