//! Servers without a connection: plain GenServers.

use std::{thread, time::Duration};

use erps::{
    BoxError, Context, ExitReason, InitError, Protocol, ReplyTo, Server, ServerError, ServerRef,
    StartError,
};
use smol::future;

use crate::support::lab::{self, Call, Cast, LabServer, Life, Reply, run};

async fn server() -> (erps::Linked<ServerRef<LabServer>>, lab::Watch) {
    let (seed, watch) = lab::seed();
    let server = ServerRef::builder(seed).start_link().await.unwrap();
    (server, watch)
}

#[test]
fn local_callers_reach_the_same_handlers() {
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

#[test]
fn every_local_call_has_one_outcome() {
    run(async {
        let (server, watch) = server().await;
        let outcome = server.call(Call::Forget).await;
        assert!(
            matches!(outcome, Err(ServerError::Unanswered)),
            "{outcome:?}"
        );
        let outcome = server.call(Call::Refuse("no".into())).await;
        assert!(matches!(outcome, Err(ServerError::Refused(why)) if why == "no"));
        let outcome = server
            .call_within(Call::Hold, Duration::from_millis(20))
            .await;
        assert!(matches!(outcome, Err(ServerError::TimedOut)));
        let mut held = Box::pin(server.call(Call::Hold));
        assert!(future::poll_once(&mut held).await.is_none());
        let outcome = server.call(Call::Crash).await;
        assert!(
            matches!(&outcome, Err(ServerError::Stopped(ExitReason::Panic(_)))),
            "{outcome:?}"
        );
        let outcome = held.await;
        assert!(
            matches!(&outcome, Err(ServerError::Stopped(ExitReason::Panic(_)))),
            "{outcome:?}"
        );
        let reason = loop {
            if let Life::Terminated(reason) = watch.lives.recv().await.unwrap() {
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
    });
}

#[test]
fn a_caller_is_told_of_the_end_even_if_someone_else_holds_its_reply() {
    run(async {
        let (server, _watch) = server().await;
        let mut held = Box::pin(server.call_within(Call::Hold, Duration::from_secs(50)));
        assert!(future::poll_once(&mut held).await.is_none());
        server.task().kill();
        let outcome = held.await;
        assert!(
            matches!(
                outcome,
                Err(ServerError::Stopped(_) | ServerError::Unanswered)
            ),
            "{outcome:?}"
        );
    });
}

struct Small;
impl Protocol for Small {
    type Call = String;
    type Reply = String;
    type Cast = String;
    type Push = ();
}

/// Does what its calls say.
struct Worker {
    log: Vec<String>,
}

impl Server for Worker {
    type Protocol = Small;
    type Seed = &'static str;
    type Info = ReplyTo<String>;

    async fn init(seed: &'static str, cx: &mut Context<Self>) -> Result<Self, InitError> {
        match seed {
            "ignore" => return Err(InitError::Ignore),
            "fail" => return Err("no luck".into()),
            "panic" => panic!("as the test asks"),
            "timeout" => cx.timeout(Duration::from_millis(10)),
            "stop" => cx.stop(ExitReason::Shutdown),
            _ => {}
        }
        Ok(Self {
            log: vec![seed.to_owned()],
        })
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
            "timeout" => {
                cx.timeout(Duration::from_millis(10));
                from.reply(String::new());
            }
            "long timeout" => {
                cx.timeout(Duration::from_millis(100));
                from.reply(String::new());
            }
            _ => from.reply(self.log.join(", ")),
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

    async fn handle_timeout(&mut self, cx: &mut Context<Self>) -> Result<(), BoxError> {
        self.log.push("timeout".into());
        if self.log.len() < 4 {
            cx.timeout(Duration::from_millis(1));
        }
        Ok(())
    }
}

async fn worker(seed: &'static str) -> Result<ServerRef<Worker>, StartError> {
    ServerRef::<Worker>::builder(seed).start().await
}

#[test]
fn init_may_ignore_fail_panic_or_stop() {
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
fn a_reply_may_come_from_a_thread_or_a_task() {
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
fn a_question_mark_in_a_handler_ends_the_server() {
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

#[test]
fn a_timeout_comes_if_no_message_does() {
    run(async {
        let worker = worker("timeout").await.unwrap();
        lab::eventually_async("three timeouts", async || {
            // Asking is a message, which cancels the time-out until the next is set.
            smol::Timer::after(Duration::from_millis(50)).await;
            worker.call("log".into()).await.unwrap() == "timeout, timeout, timeout, timeout"
        })
        .await;
        worker.call("long timeout".into()).await.unwrap();
        let before = worker.call("log".into()).await.unwrap();
        smol::Timer::after(Duration::from_millis(200)).await;
        assert_eq!(
            worker.call("log".into()).await.unwrap(),
            before,
            "a message cancels it"
        );
    });
}

#[test]
fn an_owner_that_is_dropped_takes_its_server_along() {
    run(async {
        let (server, watch) = server().await;
        let handle = ServerRef::clone(&server);
        drop(server);
        assert!(matches!(handle.exited().await, ExitReason::Shutdown));
        assert!(matches!(watch.lives.recv().await.unwrap(), Life::Init));
        let life = watch.lives.recv().await.unwrap();
        assert!(matches!(life, Life::Terminated(ExitReason::Shutdown)));
    });
}

#[test]
fn a_start_that_is_given_up_leaves_no_server() {
    run(async {
        let (seed, watch) = lab::seed();
        let mut start = Box::pin(ServerRef::<LabServer>::builder(seed).start_link());
        let started = future::poll_once(&mut start).await;
        drop((start, started));
        // Whether its init had run or not: the seed, and the sender in it, are dropped.
        while let Ok(life) = watch.lives.recv().await {
            assert!(matches!(life, Life::Init | Life::Terminated(_)));
            if let Life::Terminated(_) = life {
                break;
            }
        }
    });
}
