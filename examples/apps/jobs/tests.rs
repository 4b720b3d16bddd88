//! Each test has its own network, clock and database.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use erps::{
    CallError, ConnectError, DrainOutcome, Network, Status, TestCa, Universe, time, universe,
};

use super::*;
use crate::{
    protocol::{Counts, Job, Refused},
    worker::work,
};

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 4747);
const LIMIT: Duration = Duration::from_secs(30);

async fn service(ca: &TestCa) -> Service {
    service_with(Store::open(":memory:").await.unwrap(), ca).await
}

async fn service_with(store: Store, ca: &TestCa) -> Service {
    let workers = vec!["worker-1".to_owned(), "worker-2".to_owned()];
    let tls = ca.tls(&["localhost"]);
    start(store, LISTEN, tls, workers).await.unwrap()
}

async fn client(ca: &TestCa, name: &str) -> Client<JobsProtocol> {
    let client = Client::builder(("localhost", 4747)).transport(ca.tls(&[name]));
    client.connect().await.unwrap()
}

fn job(id: i64, text: &str) -> Job {
    let text = text.to_owned();
    Job { id, text }
}

fn counts(queued: i64, running: i64, done: i64) -> Counts {
    Counts {
        queued,
        running,
        done,
    }
}

#[erps::test(simulated)]
async fn job_is_submitted_taken_and_done() {
    let ca = TestCa::new();
    let _service = service(&ca).await;
    let (me, worker) = (client(&ca, "me").await, client(&ca, "worker-1").await);

    // The take waits for the job.
    let take = erps::spawn(async move { (worker.take().await, worker) });
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(me.submit("a".into()).await.unwrap(), 1);
    let (taken, worker) = take.await;
    assert_eq!(taken.unwrap(), Ok(job(1, "a")));
    assert_eq!(me.counts().await.unwrap(), counts(0, 1, 0));

    assert_eq!(worker.done(1, "A".into()).await.unwrap(), Ok(()));
    assert_eq!(me.counts().await.unwrap(), counts(0, 0, 1));
    let again = worker.done(1, "A".into()).await.unwrap();
    assert_eq!(again, Err(Refused::NotYours));
}

#[erps::test(simulated)]
async fn job_of_a_worker_whose_connection_ends_is_given_to_another() {
    let ca = TestCa::new();
    let _service = service(&ca).await;
    let (me, worker) = (client(&ca, "me").await, client(&ca, "worker-1").await);
    me.submit("a".into()).await.unwrap();
    assert_eq!(worker.take().await.unwrap(), Ok(job(1, "a")));

    let other = client(&ca, "worker-2").await;
    let take = erps::spawn(async move { (other.take().await, other) });
    time::sleep(Duration::from_secs(1)).await;
    drop(worker);
    let (taken, _other) = take.await;
    assert_eq!(taken.unwrap(), Ok(job(1, "a")));
    assert_eq!(me.counts().await.unwrap(), counts(0, 1, 0));
}

#[erps::test(simulated)]
async fn worker_that_has_gone_while_it_waited_costs_no_job() {
    let ca = TestCa::new();
    let _service = service(&ca).await;
    let (me, worker) = (client(&ca, "me").await, client(&ca, "worker-1").await);
    let take = erps::spawn(async move { worker.take().await });
    time::sleep(Duration::from_secs(1)).await;
    drop(take);
    me.submit("a".into()).await.unwrap();
    let other = client(&ca, "worker-2").await;
    assert_eq!(other.take().await.unwrap(), Ok(job(1, "a")));
}

#[erps::test(simulated)]
async fn take_after_a_take_that_timed_out_returns_the_job_of_both() {
    let ca = TestCa::new();
    let _service = service(&ca).await;
    let (me, worker) = (client(&ca, "me").await, client(&ca, "worker-1").await);
    let timed_out = worker.with(Duration::from_secs(1)).take().await;
    assert!(matches!(timed_out, Err(CallError::TimedOut { sent: true })));
    // The daemon does not know that, and answers the take.
    me.submit("a".into()).await.unwrap();
    assert_eq!(worker.take().await.unwrap(), Ok(job(1, "a")));
}

#[erps::test(simulated)]
async fn drain_answers_takes_and_waits_for_the_worker_that_has_a_job() {
    let ca = TestCa::new();
    let (_queue, daemon) = service(&ca).await;
    let (me, busy) = (client(&ca, "me").await, client(&ca, "worker-1").await);
    me.submit("a".into()).await.unwrap();
    busy.take().await.unwrap().unwrap();
    let idle = client(&ca, "worker-2").await;
    let take = erps::spawn(async move { idle.with(LIMIT).take().await });
    time::sleep(Duration::from_secs(1)).await;

    let work = erps::spawn(async move {
        time::sleep(LIMIT / 2).await;
        let done = busy.done(1, "A".into()).await;
        (done, busy.take().await)
    });
    let report = daemon.drain(LIMIT).await;
    assert_eq!(take.await.unwrap(), Err(Refused::Draining));
    let (done, _) = work.await;
    assert_eq!(done.unwrap(), Ok(()));
    assert!(report.is_clean(), "{report:?}");
    assert!(report.took >= LIMIT / 2, "{report:?}");
}

#[erps::test(simulated)]
async fn drain_cuts_a_worker_that_does_not_finish_and_its_job_is_queued() {
    let ca = TestCa::new();
    let store = Store::open(":memory:").await.unwrap();
    let (_queue, daemon) = service_with(store.clone(), &ca).await;
    let (me, worker) = (client(&ca, "me").await, client(&ca, "worker-1").await);
    me.submit("a".into()).await.unwrap();
    worker.take().await.unwrap().unwrap();
    let report = daemon.drain(LIMIT).await;
    let cut: Vec<_> = report.cut().map(|it| it.outcome).collect();
    assert_eq!(cut, [DrainOutcome::Cut { calls: 0, busy: 1 }]);
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.counts().await.unwrap(), counts(1, 0, 0));
}

#[erps::test(simulated)]
async fn certificate_of_another_authority_is_rejected() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let _service = service(&ca).await;
    // It trusts the daemon, which does not trust it.
    let own = other.issue(&["worker-1"]);
    let tls = Tls::from_pem(ca.pem(), own.certificate, own.key).unwrap();
    let client = Client::<JobsProtocol>::builder(("localhost", 4747)).transport(tls);
    let error = client.connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake(_)), "{error:?}");
    assert!(error.is_likely_permanent());
}

#[erps::test(simulated)]
async fn take_of_a_submitter_is_refused() {
    let ca = TestCa::new();
    let _service = service(&ca).await;
    let me = client(&ca, "me").await;
    assert_eq!(me.take().await.unwrap(), Err(Refused::NotAWorker));
    let done = me.done(1, String::new()).await.unwrap();
    assert_eq!(done, Err(Refused::NotAWorker));
    // Also its program ends.
    let run = async |_: &_| unreachable!();
    let error = work(&me, run).await.unwrap_err();
    assert_eq!(error.to_string(), Refused::NotAWorker.to_string());
}

#[erps::test(simulated)]
async fn worker_finishes_all_jobs_across_a_lost_connection() {
    let ca = TestCa::new();
    let _service = service(&ca).await;
    let (me, worker) = (client(&ca, "me").await, client(&ca, "worker-1").await);
    for text in ["a", "b", "c"] {
        me.submit(text.into()).await.unwrap();
    }
    let lost = Arc::new(AtomicBool::new(false));
    let _worker = erps::spawn(async move {
        let run = async move |job: &Job| {
            time::sleep(LIMIT).await;
            if job.text == "b" && !lost.swap(true, Relaxed) {
                Network::current()
                    .unwrap()
                    .connections()
                    .iter()
                    .for_each(universe::network::Connection::reset);
            }
            Ok(job.text.to_uppercase())
        };
        work(&worker, run).await
    });
    time::sleep(LIMIT * 5).await;
    me.until(Status::is_connected).await;
    assert_eq!(me.counts().await.unwrap(), counts(0, 0, 3));
}

#[erps::test(simulated)]
async fn jobs_outlive_the_daemon() {
    let (process, universe) = (std::process::id(), Universe::current().unwrap().id());
    let file = format!("erps-jobs-{process}-{universe}.sqlite");
    let path = std::env::temp_dir().join(file);
    let store = Store::open(&path).await.unwrap();
    store.submit("a".into()).await.unwrap();
    store.take("worker-1".into()).await.unwrap();
    assert_eq!(store.counts().await.unwrap(), counts(0, 1, 0));
    drop(store);
    let store = Store::open(&path).await.unwrap();
    let found = store.counts().await.unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!(found, counts(1, 0, 0));
}

#[test]
fn configuration_and_command_line_are_understood() {
    let text = "daemon = 'localhost:4747'\nca = 'ca.pem'\ncertificate = 'me.pem'\nkey = 'me.key'";
    let config: Config = toml::from_str(text).unwrap();
    assert_eq!(config.daemon, Address::from(("localhost", 4747)));
    assert!(toml::from_str::<Config>(&format!("{text}\nkeys = 1")).is_err());
    let words = ["jobs", "work", "sh", "-c", "wc"];
    let Command::Work { program } = Arguments::parse_from(words).command else {
        panic!("another command");
    };
    assert_eq!(program, ["sh", "-c", "wc"]);
}
