//! A protocol with all that the macro has, its server, and its client.

use erps::{
    BoxError, CallError, Client, ClientContext, Context, Daemon, ExitReason, FlattenReply as _,
    Linked, ReplyTo, RequestError, SendError, ServerError, ServerRef, Status,
};
use futures_lite::future::zip;
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

#[erps::test]
async fn flatten_reply_makes_one_error_of_two() {
    let (_daemon, client) = pair().await;
    let id = client.submit(job("job-1", 5)).await.flatten_reply();
    assert_eq!(id.unwrap(), JobId(1));
    let error = client
        .submit(job("job-1", 500))
        .await
        .flatten_reply()
        .unwrap_err();
    assert!(error.may_have_run());
    assert_eq!(error.to_string(), "a job of 500 bytes is too large");
    client.disconnect().await;
    let error = client
        .submit(job("job-1", 5))
        .await
        .flatten_reply()
        .unwrap_err();
    assert!(!error.may_have_run());
    assert!(
        matches!(error, RequestError::Call(CallError::Disconnected { .. })),
        "{error:?}"
    );
}

#[erps::test(allow_panics = "as asked")]
async fn an_unexpected_error_a_panic_and_stop_end_the_server() {
    let (_daemon, client) = pair().await;
    // `?` in a handler that returns `Result<_, BoxError>`.
    client.submit(job("job-1", 5)).await.unwrap().unwrap();
    let outcome = client.parse("x".into()).await;
    assert!(
        matches!(outcome, Err(CallError::Failed { message: None })),
        "{outcome:?}"
    );
    assert_eq!(total_of_next_server(&client).await, 0);

    client.submit(job("job-1", 5)).await.unwrap().unwrap();
    let outcome = client.fail("panic".into()).await;
    assert!(
        matches!(outcome, Err(CallError::Failed { message: None })),
        "{outcome:?}"
    );
    assert_eq!(total_of_next_server(&client).await, 0);

    // The reply is sent, and then the server stops.
    client.submit(job("job-1", 5)).await.unwrap().unwrap();
    assert_eq!(client.fail("stop".into()).await.unwrap(), 7);
    assert_eq!(total_of_next_server(&client).await, 0);
}

/// A server that has ended handles no call: the first reply is that of the next one, which has a state of its own.
async fn total_of_next_server(client: &Client<JobsProtocol>) -> u64 {
    loop {
        client.until(Status::is_connected).await;
        match client.total().await {
            Ok(total) => return total,
            Err(CallError::Lost | CallError::Disconnected { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[erps::test]
async fn a_call_with_reply_later_is_answered_by_a_later_one() {
    let (_daemon, client) = pair().await;
    let (next, id) = zip(client.next(), async {
        client.ping().await.unwrap();
        client.submit(job("job-4", 4)).await.unwrap()
    })
    .await;
    assert_eq!((next.unwrap(), id), (job("job-4", 4), Ok(JobId(1))));
}

#[erps::test]
async fn a_server_in_this_process_is_called_by_the_same_methods() {
    let server = ServerRef::<Queue>::builder(()).start_link().await.unwrap();
    assert_eq!(server.submit(job("job-1", 5)).await.unwrap(), Ok(JobId(1)));
    let error = server
        .submit(job("job-1", 500))
        .await
        .flatten_reply()
        .unwrap_err();
    assert!(matches!(
        error,
        RequestError::Reply(SubmitError::TooLarge(500))
    ));
    let (next, ()) = zip(server.next(), async {
        server.submit(job("job-2", 5)).await.unwrap().unwrap();
    })
    .await;
    assert_eq!(next.unwrap(), job("job-2", 5));
    server.clear().await.unwrap();
    assert_eq!(server.total().await.unwrap(), 0);
    let outcome = server.parse("x".into()).await;
    assert!(
        matches!(outcome, Err(ServerError::Stopped(ExitReason::Error(_)))),
        "{outcome:?}"
    );
    let outcome = server.clear().await;
    assert!(
        matches!(outcome, Err(SendError(ExitReason::Error(_)))),
        "{outcome:?}"
    );
}

#[erps::test]
async fn pushes_are_sent_by_methods_and_arrive_as_an_enum() {
    let (_daemon, client) = pair().await;
    let mut pushes = client.pushes();
    client.done(JobId(3)).await.unwrap();
    client.clear().await.unwrap();
    let push = pushes.next().await.unwrap();
    assert!(
        matches!(push, JobsPush::Progress(JobId(3), 100)),
        "{push:?}"
    );
    let push = pushes.next().await.unwrap();
    assert!(matches!(&push, JobsPush::Paused(why) if why == "empty"));
    assert_eq!(format!("{push:?}"), "Paused(..)");
    assert!(matches!(pushes.next().await, Some(JobsPush::Resumed)));
}

/// Reports what it handles.
struct Watcher(async_channel::Sender<String>);

#[erps::handler]
impl JobsHandler for Watcher {
    type Info = u8;

    async fn init(&mut self) -> Result<(), BoxError> {
        Ok(self.0.try_send("init".into())?)
    }

    async fn handle_info(&mut self, info: u8, _: &mut ClientContext<Self>) -> Result<(), BoxError> {
        Ok(self.0.try_send(format!("info {info}"))?)
    }

    async fn paused(&mut self, reason: String, cx: &mut ClientContext<Self>) {
        // The handler may call the server.
        let total = cx.client().total().await.unwrap();
        self.0
            .try_send(format!("paused: {reason}, {total}"))
            .unwrap();
        cx.this().info(7).await.unwrap();
    }

    async fn resumed(&mut self) -> Result<(), BoxError> {
        Ok(self.0.try_send("resumed".into())?)
    }

    async fn progress(&mut self, id: JobId, percent: u8) -> Result<(), BoxError> {
        self.0.try_send(format!("{percent} % of {}", id.0))?;
        Err("as asked".into())
    }

    async fn terminate(&mut self, reason: &ExitReason) {
        self.0.try_send(format!("terminate: {reason}")).unwrap();
    }
}

#[erps::test]
async fn a_handler_has_a_method_for_each_push_and_its_error_ends_the_client() {
    let (sender, events) = async_channel::unbounded();
    let daemon = Daemon::<Queue>::builder(()).start_link().await.unwrap();
    let client = Client::builder(daemon.local_addr())
        .handler(move || Watcher(sender.clone()))
        .connect()
        .await
        .unwrap();
    assert_eq!(events.recv().await.unwrap(), "init");
    client.clear().await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(events.recv().await.unwrap());
    }
    seen.sort();
    assert_eq!(seen, ["info 7", "paused: empty, 0", "resumed"]);
    client.done(JobId(3)).await.unwrap();
    assert_eq!(events.recv().await.unwrap(), "100 % of 3");
    let reason = client.exited().await;
    assert!(matches!(reason, ExitReason::Error(_)), "{reason}");
    assert_eq!(events.recv().await.unwrap(), format!("terminate: {reason}"));
}
