//! Four daemons, and records of what happens to their connections.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use erps::{
    AtLimit, CloseReason, Daemon, DaemonEvent, DaemonEvents, Linked, ServerOptions, TestCa, Tls,
    Universe, time,
};

use super::client::TestClient;
use crate::support::{
    test_server::{self, Lifecycle, TestServer, Watch},
    time::{ms, secs},
};

/// How long it may take until everything has exited.
const LIMIT: std::time::Duration = secs(60);

/// What clients need, and what is recorded of them.
pub(super) struct Records {
    pub(super) seed: u64,
    /// The daemons for well-behaved clients.
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    /// Daemons with short timeouts.
    pub(super) impatient_plain: SocketAddr,
    pub(super) impatient_tls: SocketAddr,
    pub(super) tls_settings: Tls,
    /// A certificate of an unknown CA.
    pub(super) untrusted: Tls,
    /// Calls of well-behaved clients, all of which must be answered.
    pub(super) asked: AtomicU64,
    pub(super) answered: AtomicU64,
    runs: Mutex<BTreeMap<&'static str, u64>>,
}

impl Records {
    pub(super) fn record_run(&self, how: &'static str) {
        *self.runs.lock().unwrap().entry(how).or_default() += 1;
    }
}

pub(super) struct Daemons {
    records: Arc<Records>,
    entries: Vec<Entry>,
}

struct Entry {
    daemon: Linked<Daemon<TestServer>>,
    watch: Watch,
    ends: smol::Task<Ends>,
}

/// How the connections of a daemon closed.
#[derive(Default)]
struct Ends {
    accepted: u64,
    by_reason: BTreeMap<String, u64>,
}

impl Daemons {
    pub(super) async fn open(seed: u64) -> Self {
        let ca = TestCa::new();
        let patient = ServerOptions::new();
        let impatient = || {
            ServerOptions::new()
                .first_packet_timeout(ms(300))
                .packet_timeout(ms(300))
                .write_timeout(ms(300))
        };
        let options = [patient.clone(), patient, impatient(), impatient()];
        let mut entries = Vec::new();
        for (number, options) in options.into_iter().enumerate() {
            let (mut builder, watch) = test_server::daemon();
            builder = builder.server_options(options);
            if number % 2 == 1 {
                builder = builder.transport(ca.tls(&["127.0.0.1"]));
            }
            if number >= 2 {
                builder = builder.handshake_timeout(ms(300));
            }
            let daemon = builder.start_link().await.unwrap();
            let ends = erps::spawn(Ends::count(daemon.events()));
            entries.push(Entry {
                daemon,
                watch,
                ends,
            });
        }
        let addresses: Vec<_> = entries.iter().map(|it| it.daemon.local_addr()).collect();
        let &[plain, tls, impatient_plain, impatient_tls] = addresses.as_slice() else {
            unreachable!("there are four");
        };
        let records = Records {
            seed,
            plain,
            tls,
            impatient_plain,
            impatient_tls,
            tls_settings: ca.tls(&["client"]),
            untrusted: TestCa::new().tls(&["client"]),
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            runs: Mutex::default(),
        };
        Self {
            records: Arc::new(records),
            entries,
        }
    }

    pub(super) fn records(&self) -> &Arc<Records> {
        &self.records
    }

    /// Returns everything that lives in the universe, sorted.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let leftovers = Universe::current().unwrap().live_resources();
        let mut leftovers: Vec<_> = leftovers.iter().map(ToString::to_string).collect();
        leftovers.sort();
        leftovers
    }

    /// Waits until all connections are closed and nothing is left that did not exist `before`.
    pub(super) async fn assert_empty(&self, before: &[String]) {
        let limit = time::now() + LIMIT;
        loop {
            let mut left = String::new();
            for entry in &self.entries {
                let info = entry.daemon.info();
                if info.connections + info.handshakes + info.servers > 0 {
                    writeln!(left, "{info:?}, {:?}", entry.daemon.connections()).unwrap();
                }
            }
            let leftovers = self.leftovers();
            if left.is_empty() && leftovers == before {
                break;
            }
            let seed = self.records.seed;
            assert!(
                time::now() < limit,
                "seed {seed}: after all clients finished there are {left}and {leftovers:#?}, before {before:#?}"
            );
            time::sleep(ms(10)).await;
        }
        let (asked, answered) = (&self.records.asked, &self.records.answered);
        assert_eq!(asked.load(Relaxed), answered.load(Relaxed));
    }

    /// Asserts that one client is accepted with limits of one: closed connections are counted nowhere.
    pub(super) async fn assert_accepts_one(&self) {
        for entry in &self.entries {
            entry.daemon.set_limits(|limits| {
                limits.at_limit = AtLimit::Close;
                limits.connections = 1;
                limits.per_address = Some(1);
                limits.per_identity = Some(1);
            });
        }
        let mut client = TestClient::new(self, self.records.seed, 0);
        for address in [self.records.plain, self.records.tls] {
            client.call_and_close_at(address).await;
        }
    }

    /// Asserts that every connection and server ended exactly once, and prints how.
    pub(super) async fn close(self) {
        let (mut accepted, mut ends) = (0, BTreeMap::<String, u64>::new());
        for entry in self.entries {
            let info = entry.daemon.info();
            drop(entry.daemon);
            let counted = entry.ends.await;
            assert_eq!(counted.accepted, info.accepted);
            let ended: u64 = counted.by_reason.values().sum();
            assert_eq!(ended, info.accepted, "{:?}", counted.by_reason);
            accepted += ended;
            for (reason, count) in counted.by_reason {
                *ends.entry(reason).or_default() += count;
            }
            let lifecycle = std::iter::from_fn(|| entry.watch.lifecycle.try_recv().ok());
            let (begun, over): (Vec<_>, Vec<_>) =
                lifecycle.partition(|life| matches!(life, Lifecycle::Init));
            assert_eq!(
                begun.len(),
                over.len(),
                "servers that started and terminated"
            );
        }
        let Records {
            seed,
            answered,
            runs,
            ..
        } = &*self.records;
        let answered = answered.load(Relaxed);
        println!("seed {seed}: {accepted} connections, {answered} calls answered right");
        for (how, count) in runs.lock().unwrap().iter() {
            println!("  {count:>7} {how}");
        }
        println!("closed with:");
        for (reason, count) in ends {
            println!("  {count:>7} {reason}");
        }
    }
}

impl Ends {
    async fn count(mut events: DaemonEvents) -> Self {
        let mut all = Self::default();
        while let Some(event) = events.next().await {
            match event {
                DaemonEvent::Accepted { .. } => all.accepted += 1,
                DaemonEvent::Closed { stage, reason, .. } => {
                    // Without the part that differs between connections.
                    let reason = match reason {
                        CloseReason::Server(reason) => reason.to_string(),
                        CloseReason::Handshake(failure) => failure.to_string(),
                        other => panic!("{stage:?}: {other}"),
                    };
                    let reason = reason.split(" is 0x").next().unwrap();
                    *all.by_reason
                        .entry(format!("{stage:?}: {reason}"))
                        .or_default() += 1;
                }
                DaemonEvent::Lagged { events } => panic!("{events} events were missed"),
                _ => {}
            }
        }
        all
    }
}
