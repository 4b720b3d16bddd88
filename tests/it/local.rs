//! Servers without a connection, as a plain GenServer.

use std::{thread, time::Duration};

use erps::{
    BoxError, Context, ExitReason, InitError, Linked, Protocol, ReplyTo, Server, ServerError,
    ServerOptions, ServerRef, StartError, time,
};
use smol::future;

use crate::support::{
    test_server::{self, Call, Cast, Lifecycle, Reply, TestServer, run},
    time::{HOUR, STEP, at_once, ms, secs, settled, timed},
};

async fn server() -> (Linked<ServerRef<TestServer>>, test_server::Watch) {
    let (seed, watch) = test_server::seed();
    let server = ServerRef::builder(seed).start_link().await.unwrap();
    (server, watch)
}

#[test]
fn local_calls_and_casts_run_the_same_handlers() {
    run(async {
        let (server, _watch) = server().await;
        assert_eq!(server.call(Call::Ping).await.unwrap(), Reply::Pong);
        server.cast(Cast::Note(5)).await.unwrap();
        assert_eq!(
            server.call(Call::Casts).await.unwrap(),
            Reply::Casts(vec![5])
        );
        assert_eq!(server.call(Call::Peer).await.unwrap(), Reply::Peer(None));
    });
}

#[erps::test(simulated)]
async fn call_and_cast_wait_while_the_mailbox_is_full() {
    let (seed, watch) = test_server::seed();
    let server = ServerRef::<TestServer>::builder(seed).options(ServerOptions::new().mailbox(3));
    let server = server.start_link().await.unwrap();
    assert_eq!(server.call(Call::AnswerAndGoOn).await.unwrap(), Reply::Pong);
    for n in 0..3 {
        at_once(server.cast(Cast::Note(n))).await.unwrap();
    }
    let mut cast = Box::pin(server.cast(Cast::Note(3)));
    let mut call = Box::pin(server.call_within(Call::Casts, HOUR));
    assert!(time::timeout(secs(60), &mut cast).await.is_err());
    assert!(future::poll_once(&mut call).await.is_none());
    watch.gate.send(()).await.unwrap();
    at_once(cast).await.unwrap();
    let all = Reply::Casts(vec![0, 1, 2, 3]);
    assert_eq!(at_once(call).await.unwrap(), all);
}

#[erps::test(simulated, panics = "as the test asks")]
async fn local_call_returns_the_error_that_matches_its_failure() {
    let (server, watch) = server().await;
    let outcome = server.call(Call::Forget).await;
    assert!(
        matches!(outcome, Err(ServerError::Unanswered)),
        "{outcome:?}"
    );
    let outcome = server.call(Call::Refuse("no".into())).await;
    assert!(matches!(outcome, Err(ServerError::Refused(why)) if why == "no"));
    let (outcome, took) = timed(server.call_within(Call::Hold, ms(20))).await;
    assert!(matches!(outcome, Err(ServerError::TimedOut)));
    assert_eq!(took, ms(20));
    let mut held = Box::pin(server.call(Call::Hold));
    assert!(future::poll_once(&mut held).await.is_none());
    let outcome = server.call(Call::Crash).await;
    assert!(
        matches!(&outcome, Err(ServerError::Stopped(ExitReason::Panic(_)))),
        "{outcome:?}"
    );
    let outcome = at_once(held).await;
    assert!(
        matches!(&outcome, Err(ServerError::Stopped(ExitReason::Panic(_)))),
        "{outcome:?}"
    );
    let reason = loop {
        if let Lifecycle::Terminated(reason) = watch.lifecycle.recv().await.unwrap() {
            break reason;
        }
    };
    assert!(matches!(reason, ExitReason::Panic(_)));
    let outcome = server.call(Call::Ping).await;
    assert!(matches!(
        outcome,
        Err(ServerError::Stopped(ExitReason::Panic(_)))
    ));
    assert!(server.cast(Cast::Note(1)).await.is_err());
    assert!(server.info(String::new()).await.is_err());
}

/// Sends each `ReplyTo` to the test, then fails.
struct Delegating(async_channel::Sender<ReplyTo<String>>);

impl Server for Delegating {
    type Protocol = Small;
    type Seed = async_channel::Sender<ReplyTo<String>>;
    type Info = ();

    async fn init(others: Self::Seed, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(others))
    }

    async fn handle_call(
        &mut self,
        _: String,
        from: ReplyTo<String>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        self.0.try_send(from)?;
        Err("as the test asks".into())
    }
}

#[erps::test(simulated)]
async fn local_call_fails_with_the_exit_reason_when_its_reply_to_is_held_elsewhere() {
    let (others, kept) = async_channel::unbounded();
    let server = ServerRef::<Delegating>::builder(others).start_link().await;
    let outcome = at_once(server.unwrap().call(String::new())).await;
    assert!(
        matches!(&outcome, Err(ServerError::Stopped(ExitReason::Error(_)))),
        "{outcome:?}"
    );
    // The late reply is discarded.
    kept.recv().await.unwrap().reply("late".into());
}

#[erps::test(simulated)]
async fn held_local_call_fails_immediately_when_its_server_is_killed() {
    let (server, _watch) = server().await;
    let mut held = Box::pin(server.call_within(Call::Hold, Duration::from_secs(50)));
    assert!(future::poll_once(&mut held).await.is_none());
    settled().await;
    server.task().kill();
    let outcome = at_once(held).await;
    assert!(
        matches!(
            outcome,
            Err(ServerError::Stopped(_) | ServerError::Unanswered)
        ),
        "{outcome:?}"
    );
}

#[erps::test(simulated)]
async fn local_call_returns_a_reply_before_its_deadline_and_times_out_after_it() {
    for (by, in_time) in [(ms(50) - STEP, true), (ms(50) + STEP, false)] {
        let (server, _watch) = server().await;
        let release = async {
            time::sleep(by).await;
            server.call(Call::Release).await
        };
        let held = timed(server.call_within(Call::Hold, ms(50)));
        let ((outcome, took), released) = future::zip(held, release).await;
        assert_eq!(released.unwrap(), Reply::Released(1));
        assert_eq!(took, by.min(ms(50)));
        match outcome {
            Ok(reply) => assert!(in_time && reply == Reply::Released(0)),
            Err(ServerError::TimedOut) => assert!(!in_time),
            Err(error) => panic!("{error:?}"),
        }
    }
}

struct Small;
impl Protocol for Small {
    type Call = String;
    type Reply = String;
    type Cast = String;
    type Push = ();
}

/// Does what the text of each call says.
struct Worker;

impl Server for Worker {
    type Protocol = Small;
    type Seed = &'static str;
    type Info = ReplyTo<String>;

    async fn init(seed: &'static str, cx: &mut Context<Self>) -> Result<Self, InitError> {
        match seed {
            "ignore" => return Err(InitError::Ignore),
            "fail" => return Err("no luck".into()),
            "panic" => panic!("as the test asks"),
            "stop" => cx.stop(ExitReason::Shutdown),
            _ => {}
        }
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        call: String,
        from: ReplyTo<String>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        assert!(!from.is_remote());
        match call.as_str() {
            "thread" => drop(thread::spawn(move || from.reply("from a thread".into()))),
            "task" => {
                let this = cx.this().clone();
                smol::spawn(async move { this.info(from).await }).detach();
            }
            "error" => Err("as the test asks")?,
            _ => from.reply(call),
        }
        Ok(())
    }

    async fn handle_info(
        &mut self,
        from: ReplyTo<String>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply("by way of a task".into());
        Ok(())
    }
}

async fn worker(seed: &'static str) -> Result<ServerRef<Worker>, StartError> {
    ServerRef::<Worker>::builder(seed).start().await
}

#[test]
fn start_returns_the_outcome_of_init() {
    run(async {
        assert!(matches!(worker("ignore").await, Err(StartError::Ignored)));
        let failed = worker("fail").await;
        assert!(
            matches!(&failed, Err(StartError::Failed(ExitReason::Error(why))) if why.to_string() == "no luck")
        );
        let panicked = worker("panic").await;
        assert!(matches!(
            panicked,
            Err(StartError::Failed(ExitReason::Panic(_)))
        ));
        let stopped = worker("stop").await.unwrap();
        assert!(matches!(stopped.exited().await, ExitReason::Shutdown));
    });
}

#[test]
fn reply_to_can_be_used_from_a_thread_or_a_task() {
    run(async {
        let worker = worker("").await.unwrap();
        assert_eq!(worker.call("thread".into()).await.unwrap(), "from a thread");
        assert_eq!(
            worker.call("task".into()).await.unwrap(),
            "by way of a task"
        );
    });
}

#[test]
fn error_returned_by_a_handler_stops_the_server() {
    run(async {
        let worker = worker("").await.unwrap();
        let outcome = worker.call("error".into()).await;
        assert!(
            matches!(outcome, Err(ServerError::Stopped(ExitReason::Error(_)))),
            "{outcome:?}"
        );
        let reason = worker.exited().await;
        assert!(matches!(&reason, ExitReason::Error(why) if why.to_string() == "as the test asks"));
    });
}

/// Reports its timeouts. A call sets a timeout in milliseconds; 0 sets none.
struct Sleeper {
    timeouts: async_channel::Sender<()>,
    again: u32,
}

struct Sleeping;
impl Protocol for Sleeping {
    type Call = u64;
    type Reply = ();
    type Cast = ();
    type Push = ();
}

impl Server for Sleeper {
    type Protocol = Sleeping;
    type Seed = async_channel::Sender<()>;
    type Info = ();

    async fn init(
        timeouts: async_channel::Sender<()>,
        cx: &mut Context<Self>,
    ) -> Result<Self, InitError> {
        cx.timeout(Duration::from_millis(1));
        Ok(Self { timeouts, again: 2 })
    }

    async fn handle_call(
        &mut self,
        limit: u64,
        from: ReplyTo<()>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        if limit > 0 {
            cx.timeout(Duration::from_millis(limit));
        }
        from.reply(());
        Ok(())
    }

    async fn handle_timeout(&mut self, cx: &mut Context<Self>) -> Result<(), BoxError> {
        self.timeouts.try_send(())?;
        if self.again > 0 {
            self.again -= 1;
            cx.timeout(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Starts a sleeper and waits for the three timeouts it sets itself.
async fn sleeper() -> (Linked<ServerRef<Sleeper>>, async_channel::Receiver<()>) {
    let (sender, timeouts) = async_channel::unbounded();
    let sleeper = ServerRef::<Sleeper>::builder(sender)
        .start_link()
        .await
        .unwrap();
    for _ in 0..3 {
        timeouts.recv().await.unwrap();
    }
    (sleeper, timeouts)
}

#[erps::test(simulated)]
async fn server_timeout_fires_once_if_no_message_arrives() {
    let ((sleeper, timeouts), took) = timed(sleeper()).await;
    assert_eq!(took, ms(3));
    assert!(timeouts.is_empty(), "three were set");
    sleeper.call(50).await.unwrap();
    let (_, took) = timed(timeouts.recv()).await;
    assert_eq!(took, ms(50));
    time::sleep(HOUR).await;
    assert!(timeouts.is_empty());
}

#[erps::test(simulated)]
async fn message_cancels_the_server_timeout() {
    let (sleeper, timeouts) = sleeper().await;
    sleeper.call(50).await.unwrap();
    time::sleep(ms(50) - STEP).await;
    sleeper.call(0).await.unwrap();
    time::sleep(HOUR).await;
    assert!(timeouts.is_empty());
    // A message that sets a timeout restarts it.
    sleeper.call(50).await.unwrap();
    time::sleep(ms(50) - STEP).await;
    sleeper.call(50).await.unwrap();
    let (_, took) = timed(timeouts.recv()).await;
    assert_eq!(took, ms(50));
}

#[test]
fn dropping_the_linked_handle_shuts_the_server_down() {
    run(async {
        let (server, watch) = server().await;
        let handle = ServerRef::clone(&server);
        drop(server);
        assert!(matches!(handle.exited().await, ExitReason::Shutdown));
        assert!(matches!(
            watch.lifecycle.recv().await.unwrap(),
            Lifecycle::Init
        ));
        let life = watch.lifecycle.recv().await.unwrap();
        assert!(matches!(life, Lifecycle::Terminated(ExitReason::Shutdown)));
    });
}

#[test]
fn dropping_the_start_future_leaves_no_server() {
    run(async {
        let (seed, watch) = test_server::seed();
        let mut start = Box::pin(ServerRef::<TestServer>::builder(seed).start_link());
        let started = future::poll_once(&mut start).await;
        drop((start, started));
        // Whether `init` ran or not, the seed and its sender are dropped.
        while let Ok(life) = watch.lifecycle.recv().await {
            assert!(matches!(life, Lifecycle::Init | Lifecycle::Terminated(_)));
            if let Lifecycle::Terminated(_) = life {
                break;
            }
        }
    });
}
