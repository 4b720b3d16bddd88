//! What servers do when a drain begins: they answer parked calls, and announce work that no call is in flight for.

use std::time::Instant;

use erps::{Busy, DynamicSupervisor, Restart};

use super::*;

/// A queue of jobs: a worker takes one, and reports it as done with another call.
struct Queue;

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Order {
    /// Replies with a job, and makes the server busy.
    Take,
    Done,
    /// Replies when the drain begins.
    Park,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Answer {
    Job,
    Noted,
    /// The time until the deadline, in milliseconds.
    Draining(u64),
}

impl Protocol for Queue {
    type Call = Order;
    type Reply = Answer;
    type Cast = ();
    type Push = ();
}

#[derive(Default)]
struct QueueServer {
    parked: Vec<ReplyTo<Answer>>,
    busy: Option<Busy>,
}

impl Server for QueueServer {
    type Protocol = Queue;
    type Seed = ();
    type Info = ();

    async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self::default())
    }

    async fn handle_call(
        &mut self,
        order: Order,
        from: ReplyTo<Answer>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match order {
            Order::Take => {
                self.busy = Some(cx.busy());
                from.reply(Answer::Job);
            }
            Order::Done => {
                self.busy = None;
                from.reply(Answer::Noted);
            }
            Order::Park => self.parked.push(from),
        }
        Ok(())
    }

    async fn handle_drain(
        &mut self,
        deadline: Instant,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        let left = deadline - time::now();
        for parked in self.parked.drain(..) {
            parked.reply(Answer::Draining(left.as_millis() as u64));
        }
        Ok(())
    }
}

async fn pair() -> (Linked<Daemon<QueueServer>>, Client<Queue>) {
    let daemon = Daemon::<QueueServer>::builder(()).start_link();
    let daemon = daemon.await.unwrap();
    let client = Client::builder(daemon.local_addr()).reply_timeout(secs(1000));
    let client = client.connect().await.unwrap();
    settled().await;
    (daemon, client)
}

/// When a drain of this length shuts down the servers that have not finished: five seconds, their default shutdown
/// timeout, are more than a quarter of it.
const FINISH_BY: Duration = secs(12);

#[erps::test(simulated)]
async fn handle_drain_answers_parked_calls_at_the_beginning_of_the_drain() {
    let (daemon, client) = pair().await;
    let caller = client.clone();
    let parked = erps::spawn(async move { caller.call(Order::Park).await });
    settled().await;
    let (report, took) = timed(daemon.drain(LIMIT)).await;
    let Answer::Draining(left) = parked.await.unwrap() else {
        panic!("answered by something else than `handle_drain`");
    };
    assert_eq!(Duration::from_millis(left), FINISH_BY);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(took, LISTENING);
}

#[erps::test(simulated)]
async fn drain_waits_for_a_busy_server_and_reads_the_calls_that_finish_its_work() {
    let (daemon, client) = pair().await;
    assert_eq!(client.call(Order::Take).await.unwrap(), Answer::Job);
    assert_eq!(daemon.connections()[0].busy, 1);
    let work = erps::spawn(async move {
        // Longer than packets are read from a server that is not busy.
        time::sleep(LISTENING * 5).await;
        client.call(Order::Done).await
    });
    let (report, took) = timed(daemon.drain(LIMIT)).await;
    assert_eq!(work.await.unwrap(), Answer::Noted);
    assert!(report.is_clean(), "{report:?}");
    assert!(
        took >= LISTENING * 5 && took < LISTENING * 5 + ms(100),
        "{took:?}"
    );
}

#[erps::test(simulated)]
async fn drain_cuts_a_server_that_stays_busy_and_reports_it() {
    let (daemon, client) = pair().await;
    client.call(Order::Take).await.unwrap();
    let (report, took) = timed(daemon.drain(LIMIT)).await;
    let outcomes: Vec<_> = report.connections.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [DrainOutcome::Cut { calls: 0, busy: 1 }]);
    assert_eq!(outcomes[0].to_string(), "cut while busy");
    assert_eq!(took, FINISH_BY);
}

#[erps::test(simulated)]
async fn shutdown_waits_for_a_busy_server_up_to_the_drain_timeout() {
    for (lasts, is_answered) in [(DRAIN_TIMEOUT / 2, true), (DRAIN_TIMEOUT * 2, false)] {
        let (daemon, client) = pair().await;
        client.call(Order::Take).await.unwrap();
        let work = erps::spawn(async move {
            time::sleep(lasts).await;
            client.call(Order::Done).await
        });
        daemon.shutdown().await;
        let outcome = work.await;
        assert_eq!(outcome.is_ok(), is_answered, "{outcome:?}");
    }
}

#[erps::test(simulated)]
async fn drained_daemon_is_not_restarted_by_a_supervisor_unless_asked() {
    let (started, daemons) = async_channel::unbounded();
    let spec = Daemon::<QueueServer>::builder(())
        .port(4747)
        .on_start(move |daemon| started.try_send(daemon.clone()).unwrap())
        .child_spec("daemon");
    let tree = Supervisor::builder()
        .child(spec)
        .start_link()
        .await
        .unwrap();
    daemons.recv().await.unwrap().drain(LIMIT).await;
    settled().await;
    assert!(tree.task().is_alive());
    assert!(daemons.is_empty());
    tree.restart_child("daemon").await.unwrap();
    let daemon = daemons.recv().await.unwrap();
    // One that exits for another reason is restarted as usual.
    daemon.task().kill();
    daemons.recv().await.unwrap();
}

#[erps::test(simulated)]
async fn drained_daemon_is_removed_from_a_dynamic_supervisor() {
    let (started, daemons) = async_channel::unbounded();
    let spec = Daemon::<QueueServer>::builder(())
        .on_start(move |daemon| started.try_send(daemon.clone()).unwrap())
        .child_spec("daemon")
        .restart(Restart::Permanent);
    let tree = DynamicSupervisor::builder().start_link();
    tree.start_child(spec).await.unwrap();
    daemons.recv().await.unwrap().drain(LIMIT).await;
    settled().await;
    assert!(tree.which_children().await.unwrap().is_empty());
    assert!(daemons.is_empty());
}
