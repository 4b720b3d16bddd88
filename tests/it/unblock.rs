//! Blocking work in handlers, with real and with simulated time.

use std::{thread, time::Duration};

use erps::{
    BoxError, CallError, Client, Context, Daemon, InitError, Linked, Protocol, ReplyTo, Server,
    ServerError, ServerRef, Sharded, time,
};

use crate::support::{panics, test_server, time::HOUR};

static RATE: Sharded<u32> = Sharded::new(|| 1);

/// How long the work of a call blocks, in milliseconds.
struct Work;

impl Protocol for Work {
    type Call = u64;
    type Reply = u32;
    type Cast = ();
    type Push = ();
}

#[derive(Clone, Copy)]
enum Place {
    /// `erps::unblock`, awaited by the handler.
    Handler,
    /// `erps::unblock`, in a task of its own.
    Task,
    /// A thread that knows nothing of the universe.
    Outside,
}

struct WorkServer(Place);

fn work(millis: u64) -> u32 {
    smol::block_on(smol::Timer::after(Duration::from_millis(millis)));
    *RATE.get()
}

impl Server for WorkServer {
    type Protocol = Work;
    type Seed = Place;
    type Info = ();

    async fn init(place: Place, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(place))
    }

    async fn handle_call(
        &mut self,
        millis: u64,
        from: ReplyTo<u32>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match self.0 {
            Place::Handler => from.reply(erps::unblock(move || work(millis)).await),
            Place::Task => erps::spawn(async move {
                from.reply(erps::unblock(move || work(millis)).await);
            })
            .detach(),
            Place::Outside => {
                let (done, result) = async_channel::bounded(1);
                thread::spawn(move || done.send_blocking(work(millis)));
                from.reply(result.recv().await?);
            }
        }
        Ok(())
    }
}

async fn pair(place: Place) -> (Linked<Daemon<WorkServer>>, Client<Work>) {
    let daemon = Daemon::<WorkServer>::builder(place);
    let daemon = daemon.start_link().await.unwrap();
    let client = Client::builder(daemon.local_addr()).connect().await;
    (daemon, client.unwrap())
}

#[erps::test(simulated)]
async fn unblock_in_a_handler_takes_no_virtual_time_and_sees_the_statics_of_the_test() {
    RATE.set(7);
    for place in [Place::Handler, Place::Task] {
        let (_daemon, client) = pair(place).await;
        let start = time::now();
        for _ in 0..3 {
            assert_eq!(client.call(20).await.unwrap(), 7);
        }
        assert_eq!(time::now() - start, Duration::ZERO);
    }
}

#[test]
fn unblock_in_a_handler_runs_beside_other_tasks_in_real_time() {
    test_server::run(async {
        let (_daemon, client) = pair(Place::Task).await;
        let slow = client.call_within(1000, HOUR);
        let fast = client.call_within(0, HOUR);
        let (slow, fast) = (std::pin::pin!(slow), std::pin::pin!(fast));
        let first = futures::future::select(slow, fast).await;
        assert!(matches!(first, futures::future::Either::Right((Ok(1), _))));
    });
}

#[erps::test]
async fn unblock_runs_on_another_thread_in_the_universe_of_the_caller() {
    RATE.set(3);
    let own = thread::current().id();
    let (rate, other) = erps::unblock(|| (*RATE.get(), thread::current().id())).await;
    assert_eq!(rate, 3);
    assert_ne!(own, other);
}

#[erps::test(simulated)]
async fn unblock_passes_a_panic_to_the_task_that_awaits_it() {
    let awaited = panics::expected(async {
        let awaited = erps::spawn(erps::unblock(|| panic!("as the test asks")));
        futures_lite::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(awaited)).await
    });
    assert!(awaited.await.is_err());
}

#[test]
fn unblock_runs_at_the_same_step_with_the_same_seed() {
    let trace = |seed| {
        erps::Universe::simulated(seed).run(async {
            let (log, lines) = async_channel::unbounded();
            for task in 0..6 {
                let log = log.clone();
                let line = move || log.try_send(task).unwrap();
                match task % 2 {
                    0 => erps::unblock(line).detach(),
                    _ => erps::spawn(async move { line() }).detach(),
                }
            }
            drop(log);
            let mut order = Vec::new();
            while let Ok(task) = lines.recv().await {
                order.push(task);
            }
            order
        })
    };
    let orders: Vec<_> = (0..20).map(trace).collect();
    assert_eq!(orders, (0..20).map(trace).collect::<Vec<_>>());
    assert!(orders.iter().any(|order| order != &orders[0]));
}

#[erps::test(simulated)]
async fn timed_out_call_reports_that_work_outside_the_universe_may_be_pending() {
    let (_daemon, client) = pair(Place::Outside).await;
    // The clock advances to the timeout while the thread works.
    let error = client.call(2000).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { sent: true }));
    assert!(error.to_string().contains("erps::unblock"), "{error}");
    let server = ServerRef::<WorkServer>::builder(Place::Outside);
    let server = server.start_link().await.unwrap();
    let error = server.call(2000).await.unwrap_err();
    assert!(matches!(error, ServerError::TimedOut));
    assert!(error.to_string().contains("erps::unblock"), "{error}");
}

#[test]
fn timed_out_call_reports_nothing_of_universes_in_real_time() {
    let error = CallError::TimedOut { sent: true };
    assert_eq!(error.to_string(), "no reply in time");
}
