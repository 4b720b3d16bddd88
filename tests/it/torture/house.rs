//! Four daemons, and the books of what happens there.

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

use super::guest::Guest;
use crate::support::{
    lab::{self, LabServer, Life, Watch},
    time::{ms, secs},
};

/// How long everything may take that has to come to an end.
const LIMIT: std::time::Duration = secs(60);

/// What the guests know, and what is known of them.
pub(super) struct Books {
    pub(super) seed: u64,
    /// For those who behave.
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    /// These lose their patience soon.
    pub(super) hasty_plain: SocketAddr,
    pub(super) hasty_tls: SocketAddr,
    pub(super) papers: Tls,
    /// Nobody here trusts these.
    pub(super) forged: Tls,
    /// Calls of those who behave, which have to be answered.
    pub(super) asked: AtomicU64,
    pub(super) answered: AtomicU64,
    lives: Mutex<BTreeMap<&'static str, u64>>,
}

impl Books {
    pub(super) fn lived(&self, how: &'static str) {
        *self.lives.lock().unwrap().entry(how).or_default() += 1;
    }
}

pub(super) struct House {
    books: Arc<Books>,
    doors: Vec<Door>,
}

struct Door {
    daemon: Linked<Daemon<LabServer>>,
    watch: Watch,
    ends: smol::Task<Ends>,
}

/// How the connections of a daemon came to their end.
#[derive(Default)]
struct Ends {
    accepted: u64,
    by_reason: BTreeMap<String, u64>,
}

impl House {
    pub(super) async fn open(seed: u64) -> Self {
        let ca = TestCa::new();
        let patient = ServerOptions::new();
        let hasty = || {
            ServerOptions::new()
                .first_packet_timeout(ms(300))
                .packet_timeout(ms(300))
                .write_timeout(ms(300))
        };
        let options = [patient.clone(), patient, hasty(), hasty()];
        let mut doors = Vec::new();
        for (number, options) in options.into_iter().enumerate() {
            let (mut builder, watch) = lab::daemon();
            builder = builder.server_options(options);
            if number % 2 == 1 {
                builder = builder.transport(ca.tls(&["127.0.0.1"]));
            }
            if number >= 2 {
                builder = builder.handshake_timeout(ms(300));
            }
            let daemon = builder.start_link().await.unwrap();
            let ends = erps::spawn(Ends::count(daemon.events()));
            doors.push(Door {
                daemon,
                watch,
                ends,
            });
        }
        let addresses: Vec<_> = doors.iter().map(|it| it.daemon.local_addr()).collect();
        let &[plain, tls, hasty_plain, hasty_tls] = addresses.as_slice() else {
            unreachable!("there are four");
        };
        let books = Books {
            seed,
            plain,
            tls,
            hasty_plain,
            hasty_tls,
            papers: ca.tls(&["guest"]),
            forged: TestCa::new().tls(&["guest"]),
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            lives: Mutex::default(),
        };
        Self {
            books: Arc::new(books),
            doors,
        }
    }

    pub(super) fn books(&self) -> &Arc<Books> {
        &self.books
    }

    /// All that lives in the universe, in some order.
    pub(super) fn living(&self) -> Vec<String> {
        let living = Universe::current().unwrap().live_resources();
        let mut living: Vec<_> = living.iter().map(ToString::to_string).collect();
        living.sort();
        living
    }

    /// Waits until all guests have left, and nothing lives that did not before they came.
    pub(super) async fn is_empty(&self, before: &[String]) {
        let limit = time::now() + LIMIT;
        loop {
            let mut left = String::new();
            for door in &self.doors {
                let info = door.daemon.info();
                if info.connections + info.handshakes + info.servers > 0 {
                    writeln!(left, "{info:?}, {:?}", door.daemon.connections()).unwrap();
                }
            }
            let living = self.living();
            if left.is_empty() && living == before {
                break;
            }
            let seed = self.books.seed;
            assert!(
                time::now() < limit,
                "seed {seed}: after the storm there are {left}and there live {living:#?}, before {before:#?}"
            );
            time::sleep(ms(10)).await;
        }
        let (asked, answered) = (&self.books.asked, &self.books.answered);
        assert_eq!(asked.load(Relaxed), answered.load(Relaxed));
    }

    /// With room for one, one is let in: who has left is not counted, under no address and no certificate.
    pub(super) async fn has_room_for_one(&self) {
        for door in &self.doors {
            door.daemon.set_limits(|limits| {
                limits.at_limit = AtLimit::Close;
                limits.connections = 1;
                limits.per_address = Some(1);
                limits.per_identity = Some(1);
            });
        }
        let mut guest = Guest::new(self, self.books.seed, 0);
        for address in [self.books.plain, self.books.tls] {
            guest.behave_at(address).await;
        }
    }

    /// Checks that everything has come to an end once, and tells how.
    pub(super) async fn close(self) {
        let (mut accepted, mut ends) = (0, BTreeMap::<String, u64>::new());
        for door in self.doors {
            let info = door.daemon.info();
            drop(door.daemon);
            let counted = door.ends.await;
            assert_eq!(counted.accepted, info.accepted);
            let ended: u64 = counted.by_reason.values().sum();
            assert_eq!(ended, info.accepted, "{:?}", counted.by_reason);
            accepted += ended;
            for (reason, count) in counted.by_reason {
                *ends.entry(reason).or_default() += count;
            }
            let lives = std::iter::from_fn(|| door.watch.lives.try_recv().ok());
            let (begun, over): (Vec<_>, Vec<_>) =
                lives.partition(|life| matches!(life, Life::Init));
            assert_eq!(begun.len(), over.len(), "servers that began and ended");
        }
        let Books {
            seed,
            answered,
            lives,
            ..
        } = &*self.books;
        let answered = answered.load(Relaxed);
        println!("seed {seed}: {accepted} connections, {answered} calls answered right");
        for (how, count) in lives.lock().unwrap().iter() {
            println!("  {count:>7} {how}");
        }
        println!("and how they ended:");
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
                    // Without what differs from one to the other.
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
