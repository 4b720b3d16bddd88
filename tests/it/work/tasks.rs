//! Tasks that a server spawns, and monitors.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use erps::{
    BoxError, Context, ExitReason, InitError, Linked, Protocol, ReplyTo, Server, ServerError,
    ServerRef, TaskHandle, TaskRef, Universe, time,
};
use smol::future;

use crate::support::{
    test_server::{Call as TestCall, TestServer, seed},
    time::{HOUR, STEP, at_once, secs, settled},
};

struct Worker;

impl Protocol for Worker {
    type Call = u64;
    type Reply = Vec<String>;
    type Cast = ();
    type Push = ();
}

/// What a test makes the server do, with its context.
type Job = Box<dyn FnOnce(&mut Context<WorkServer>) + Send>;

enum Info {
    Run(Job),
    Note(String),
}

#[derive(Default)]
struct WorkServer {
    notes: Vec<String>,
}

impl Server for WorkServer {
    type Protocol = Worker;
    type Seed = ();
    type Info = Info;

    async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self::default())
    }

    /// Replies with the notes after this many seconds, from a task.
    async fn handle_call(
        &mut self,
        seconds: u64,
        from: ReplyTo<Vec<String>>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        let notes = self.notes.clone();
        cx.spawn(async move {
            if seconds > 0 {
                time::sleep(secs(seconds)).await;
            }
            from.reply(notes);
        });
        Ok(())
    }

    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<(), BoxError> {
        match info {
            Info::Run(job) => job(cx),
            Info::Note(note) => self.notes.push(note),
        }
        Ok(())
    }
}

async fn server() -> Linked<ServerRef<WorkServer>> {
    ServerRef::builder(()).start_link().await.unwrap()
}

/// Runs a closure in the server, and returns its result.
async fn within<T: Send + 'static>(
    server: &ServerRef<WorkServer>,
    job: impl FnOnce(&mut Context<WorkServer>) -> T + Send + 'static,
) -> T {
    let (sender, result) = async_channel::bounded(1);
    let job = Box::new(move |cx: &mut Context<WorkServer>| {
        sender.try_send(job(cx)).unwrap();
    });
    server.info(Info::Run(job)).await.unwrap();
    result.recv().await.unwrap()
}

/// Counts its drops.
#[derive(Clone)]
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Makes the server spawn a task that never ends by itself. Returns the counter of its drop.
async fn spawn_forever(server: &ServerRef<WorkServer>) -> (TaskHandle, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let dropped = Dropped(Arc::clone(&count));
    let spawn = move |cx: &mut Context<WorkServer>| {
        cx.spawn(async move {
            let _dropped = dropped;
            future::pending().await
        })
    };
    (within(server, spawn).await, count)
}

#[erps::test(simulated)]
async fn spawned_work_answers_a_call_while_the_server_handles_others() {
    let server = server().await;
    let slow = server.call_within(60, HOUR);
    let fast = async {
        settled().await;
        assert!(at_once(server.call(0)).await.unwrap().is_empty());
    };
    let (slow, ()) = future::zip(slow, fast).await;
    assert!(slow.unwrap().is_empty());
}

#[erps::test(simulated)]
async fn result_of_spawned_work_is_delivered_as_info() {
    let server = server().await;
    within(&server, |cx| {
        cx.spawn_info(async {
            time::sleep(secs(1)).await;
            Info::Note(format!("in {:?}", Universe::current().is_some()))
        })
    })
    .await;
    time::sleep(secs(1) - STEP).await;
    assert!(server.call(0).await.unwrap().is_empty());
    time::sleep(STEP).await;
    settled().await;
    assert_eq!(server.call(0).await.unwrap(), ["in true"]);
}

#[erps::test(simulated)]
async fn dropping_the_handle_does_not_cancel_and_cancel_does() {
    let server = server().await;
    let (handle, dropped) = spawn_forever(&server).await;
    drop(handle.clone());
    settled().await;
    assert_eq!(dropped.load(SeqCst), 0);
    assert!(!handle.is_finished());
    handle.cancel();
    settled().await;
    assert_eq!(dropped.load(SeqCst), 1);
    assert!(handle.is_finished());
    // The server is not affected.
    at_once(server.call(0)).await.unwrap();
}

#[erps::test(simulated)]
async fn spawned_work_is_dropped_when_the_server_has_exited() {
    for reason in [ExitReason::Normal, ExitReason::Shutdown] {
        let server = server().await;
        let (_, dropped) = spawn_forever(&server).await;
        within(&server, move |cx| cx.stop(reason)).await;
        at_once(server.exited()).await;
        assert_eq!(dropped.load(SeqCst), 1);
    }
}

#[erps::test(simulated)]
async fn spawned_work_is_dropped_when_the_server_is_killed() {
    let server = server().await;
    let (handle, dropped) = spawn_forever(&server).await;
    server.task().kill();
    server.exited().await;
    at_once(TaskRef::exited(handle.as_ref())).await;
    assert_eq!(dropped.load(SeqCst), 1);
}

#[erps::test(simulated)]
async fn call_that_spawned_work_was_to_answer_fails_when_the_server_exits() {
    let server = server().await;
    let call = server.call_within(60, HOUR);
    let stop = async {
        settled().await;
        within(&server, |cx| cx.stop(ExitReason::Normal)).await;
    };
    let (outcome, ()) = at_once_after_settled(future::zip(call, stop)).await;
    assert!(
        matches!(outcome, Err(ServerError::Stopped(ExitReason::Normal))),
        "{outcome:?}"
    );
}

/// Asserts that a future that [settles](settled) once takes no more time than that.
async fn at_once_after_settled<T>(future: impl Future<Output = T>) -> T {
    let start = time::now();
    let output = future.await;
    assert!(time::now() - start < STEP);
    output
}

#[erps::test(simulated, panics = "in the task")]
async fn panic_of_spawned_work_stops_the_server_with_that_reason() {
    let server = server().await;
    within(&server, |cx| {
        cx.spawn(async { panic!("in the task") });
    })
    .await;
    let reason = at_once(server.exited()).await;
    assert!(
        matches!(&reason, ExitReason::Panic(text) if text.contains("in the task")),
        "{reason:?}"
    );
}

#[erps::test(simulated)]
async fn monitor_delivers_the_exit_reason_of_a_task() {
    let server = server().await;
    let (seed, _watch) = seed();
    let other = ServerRef::<TestServer>::builder(seed)
        .start()
        .await
        .unwrap();
    for name in ["alive", "exited"] {
        let watched = other.clone();
        within(&server, move |cx| {
            cx.monitor(&watched, move |reason| {
                Info::Note(format!("{name}: {reason}"))
            });
        })
        .await;
        if name == "alive" {
            assert!(server.call(0).await.unwrap().is_empty());
            other.call(TestCall::StopReply).await.unwrap();
            other.exited().await;
        }
        settled().await;
    }
    let notes = server.call(0).await.unwrap();
    assert_eq!(notes, ["alive: normal", "exited: normal"]);
}

#[erps::test(simulated)]
async fn cancelled_monitor_delivers_nothing() {
    let (server, other) = (server().await, server().await);
    let watched = other.task().clone();
    let monitor = within(&server, move |cx| {
        cx.monitor(&watched, |_| Info::Note("down".into()))
    })
    .await;
    monitor.cancel();
    other.shutdown().await;
    settled().await;
    assert!(server.call(0).await.unwrap().is_empty());
}

#[erps::test(simulated)]
async fn finished_work_is_forgotten() {
    let server = server().await;
    // A server that spawns a task per message must not grow.
    let handles: Vec<TaskHandle> = {
        let spawn = |cx: &mut Context<WorkServer>| (0..100).map(|_| cx.spawn(async {})).collect();
        within(&server, spawn).await
    };
    settled().await;
    assert!(handles.iter().all(TaskHandle::is_finished));
    let left = within(&server, |cx| format!("{cx:?}")).await;
    assert!(left.contains("children: Children(0)"), "{left}");
}
