//! Replacing certificates: from files, by watching files, and under load.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use erps::{
    Client, Daemon, Reconnect, Status, TestCa, Tls, TlsError, Universe,
    time::{now, sleep},
};
use smol::{Timer, future};

use super::{HOST, handshake, run};
use crate::support::{
    events::Warnings,
    pem::Pem,
    test_server::{self, TestProtocol, TestServer, assert_served},
};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn tls(pem: &Pem) -> Tls {
    let file = |name| pem.path().join(name);
    Tls::from_files(file("ca"), file("certificate"), file("key")).unwrap()
}

fn write(pem: &Pem, name: &str, text: &str) {
    fs::write(pem.path().join(name), text).unwrap();
}

fn renew(pem: &Pem, ca: &TestCa, name: &str) {
    let own = ca.issue(&[name, "localhost"]);
    write(pem, "certificate", &own.certificate);
    write(pem, "key", &own.key);
}

/// Returns the common name that the server presents to a client.
async fn shown(ca: &TestCa, server: &Tls) -> String {
    let (accepted, connected) = handshake(server, &ca.tls(&["client"]), "localhost").await;
    assert_eq!(accepted.unwrap().generation, Some(server.generation()));
    let connected = connected.unwrap();
    assert_eq!(connected.generation, Some(1));
    let name = connected.identity.unwrap();
    name.common_name().unwrap().to_owned()
}

#[test]
fn reload_reads_the_files_and_keeps_the_old_certificate_on_errors() {
    run(async {
        let ca = TestCa::new();
        let pem = Pem::new(&ca, &ca.issue(&["first", "localhost"]));
        let tls = tls(&pem);
        assert!(!tls.reload().unwrap());
        assert_eq!(
            (shown(&ca, &tls).await.as_str(), tls.generation()),
            ("first", 1)
        );
        renew(&pem, &ca, "second");
        assert_eq!(shown(&ca, &tls).await, "first");
        assert!(tls.reload().unwrap());
        assert_eq!(
            (shown(&ca, &tls).await.as_str(), tls.generation()),
            ("second", 2)
        );
        write(&pem, "key", &ca.issue(&["third"]).key);
        let error = tls.reload().unwrap_err();
        assert!(matches!(error, TlsError::KeyMismatch { .. }), "{error}");
        fs::remove_file(pem.path().join("key")).unwrap();
        let error = tls.reload().unwrap_err();
        assert!(matches!(error, TlsError::Unreadable { .. }), "{error}");
        assert_eq!(
            (shown(&ca, &tls).await.as_str(), tls.generation()),
            ("second", 2)
        );
        let error = ca.tls(&HOST).reload().unwrap_err();
        assert!(matches!(error, TlsError::NoFiles), "{error}");
        let other = TestCa::new();
        renew(&pem, &ca, "third");
        write(&pem, "ca", &other.pem());
        assert!(tls.reload().unwrap());
        let both = handshake(&tls, &ca.tls(&["client"]), "localhost").await;
        super::refused_client(both, "unknown_ca");
    });
}

#[test]
fn reload_reads_revocation_lists_and_keeps_options() {
    run(async {
        let ca = TestCa::new();
        let revoked = ca.issue(&["revoked"]);
        let pem = Pem::new(&ca, &ca.issue(&HOST));
        write(&pem, "lists", &ca.revocation_list());
        let lists = pem.path().join("lists");
        let server = tls(&pem).revocation_file(lists).unwrap();
        let server = server.check_peer(|peer| match peer.common_name() {
            Some("revoked") => Ok(()),
            _ => Err("not the revoked client"),
        });
        let revoked_tls = ca.tls_with(&revoked);
        let (accepted, _) = handshake(&server, &revoked_tls, "localhost").await;
        accepted.unwrap();
        ca.revoke(&revoked);
        write(&pem, "lists", &ca.revocation_list());
        assert!(server.reload().unwrap());
        let both = handshake(&server, &revoked_tls, "localhost").await;
        super::refused_client(both, "certificate_revoked");
        let both = handshake(&server, &ca.tls(&["other"]), "localhost").await;
        super::refused_client(both, "certificate_unknown");
    });
}

#[test]
fn watch_reloads_changed_files_until_it_is_dropped() {
    Warnings::capture(|warnings| {
        Universe::simulated(1).run(async {
            let ca = TestCa::new();
            let pem = Pem::new(&ca, &ca.issue(&["first"]));
            let tls = tls(&pem);
            let watch = tls.watch(MINUTE);
            sleep(MINUTE * 10).await;
            assert_eq!(tls.generation(), 1);
            renew(&pem, &ca, "second");
            sleep(MINUTE).await;
            sleep(MINUTE).await;
            assert_eq!(tls.generation(), 2);
            assert_eq!(warnings.take(), [""; 0]);
            write(&pem, "key", "nonsense");
            sleep(MINUTE * 10).await;
            assert_eq!(tls.generation(), 2);
            let said = warnings.take();
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].contains("holds no private key"), "{said:?}");
            renew(&pem, &ca, "third");
            sleep(MINUTE * 2).await;
            assert_eq!(tls.generation(), 3);
            drop(watch);
            renew(&pem, &ca, "fourth");
            sleep(MINUTE * 10).await;
            assert_eq!(tls.generation(), 3);
        });
    });
}

#[test]
fn watch_works_on_the_real_clock() {
    run(async {
        let ca = TestCa::new();
        let pem = Pem::new(&ca, &ca.issue(&["first"]));
        let tls = tls(&pem);
        let _watch = tls.watch(Duration::ZERO);
        renew(&pem, &ca, "second");
        test_server::eventually("the new certificate is used", || tls.generation() == 2).await;
    });
}

/// Whether the second of two connections runs `check_peer` again, on the server and on the client.
async fn checked_again(
    change: impl Fn(Tls) -> Tls,
    between: impl FnOnce(&TestCa, &Tls),
) -> [bool; 2] {
    let ca = TestCa::new();
    let asked = [(); 2].map(|()| Arc::new(AtomicU32::new(0)));
    let count = |tls: Tls, asked: &Arc<AtomicU32>| {
        let asked = Arc::clone(asked);
        change(tls.check_peer(move |_| {
            asked.fetch_add(1, Relaxed);
            Ok::<(), String>(())
        }))
    };
    let server = count(ca.tls(&HOST), &asked[0]);
    let client = count(ca.tls(&["client"]), &asked[1]);
    let once = async || {
        let (accepted, connected) = handshake(&server, &client, "localhost").await;
        let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
        assert_eq!(accepted.identity.unwrap().common_name(), Some("client"));
        assert_eq!(connected.identity.unwrap().common_name(), Some("localhost"));
    };
    once().await;
    assert_eq!(asked.each_ref().map(|it| it.load(Relaxed)), [1, 1]);
    between(&ca, &server);
    once().await;
    asked.map(|it| it.load(Relaxed) == 2)
}

#[test]
fn sessions_are_resumed_only_with_resumption() {
    run(async {
        let as_it_is = |tls| tls;
        let resuming = |tls: Tls| tls.resumption(true);
        assert_eq!(checked_again(as_it_is, |_, _| ()).await, [true; 2]);
        assert_eq!(checked_again(resuming, |_, _| ()).await, [false; 2]);
        let off_again = |tls: Tls| tls.resumption(true).resumption(false);
        assert_eq!(checked_again(off_again, |_, _| ()).await, [true; 2]);
    });
}

#[test]
fn rotation_drops_all_sessions() {
    run(async {
        let resuming = |tls: Tls| tls.resumption(true);
        let rotated = checked_again(resuming, |ca, server| {
            server.rotate(&server.clone().resumption(true));
            let _ = ca;
        });
        assert_eq!(rotated.await, [true; 2]);
    });
}

// ---- under load ----

/// A daemon with the `Tls` settings of the daemon and of its clients.
struct RotatingDaemon {
    ca: TestCa,
    daemon: erps::Linked<Daemon<TestServer>>,
    server: Tls,
    client: Tls,
    _watch: test_server::Watch,
}

impl RotatingDaemon {
    async fn new() -> Self {
        let ca = TestCa::new();
        let (server, client) = (ca.tls(&HOST), ca.tls(&["client"]));
        let (builder, watch) = test_server::daemon();
        let builder = builder.transport(server.clone());
        Self {
            daemon: builder.start_link().await.unwrap(),
            ca,
            server,
            client,
            _watch: watch,
        }
    }

    async fn connect(&self) -> Client<TestProtocol> {
        let client = test_server::client(&self.daemon).transport(self.client.clone());
        let client = client.reconnect(Reconnect::Never);
        client.connect().await.expect("new connections succeed")
    }

    fn rotate(&self) {
        let fresh = |names: &[&str]| {
            let tls = self.ca.tls(names);
            tls.revocation_lists(self.ca.revocation_list()).unwrap()
        };
        self.server.rotate(&fresh(&HOST));
        self.client.rotate(&fresh(&["client"]));
    }
}

fn generation(client: &Client<TestProtocol>) -> Option<u64> {
    match client.status() {
        Status::Connected(peer) => peer.generation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn connection_reports_the_generation_of_its_certificate() {
    run(async {
        let rotating = RotatingDaemon::new().await;
        let old = rotating.connect().await;
        rotating.rotate();
        let new = rotating.connect().await;
        assert_eq!((generation(&old), generation(&new)), (Some(1), Some(2)));
        assert_served(&old).await;
        let (builder, _watch) = test_server::daemon();
        let plain = builder.start_link().await.unwrap();
        let plain = test_server::client(&plain).connect().await.unwrap();
        assert_eq!(generation(&plain), None);
    });
}

/// Rotates certificates every `period` for `time` while `callers` clients call and others connect. Returns
/// how many calls and connections were made; none may fail.
async fn rotated_under_load(
    callers: usize,
    pause: Duration,
    time: Duration,
    period: Duration,
) -> (u32, u32) {
    let rotating = &RotatingDaemon::new().await;
    let (over, calls, connections) = (
        &AtomicBool::new(false),
        &AtomicU32::new(0),
        &AtomicU32::new(0),
    );
    let mut clients = Vec::new();
    for _ in 0..callers {
        clients.push(rotating.connect().await);
    }
    let calling = futures::future::join_all(clients.iter().map(async |client| {
        let mut next = Instant::now();
        while !over.load(Relaxed) {
            assert_served(client).await;
            calls.fetch_add(1, Relaxed);
            next += pause;
            Timer::at(next).await;
        }
    }));
    let connecting = async {
        while !over.load(Relaxed) {
            assert_served(&rotating.connect().await).await;
            connections.fetch_add(1, Relaxed);
        }
    };
    let rotation = async {
        let end = now() + time;
        while now() < end {
            Timer::after(period).await;
            rotating.rotate();
        }
        over.store(true, Relaxed);
    };
    future::zip(future::zip(calling, connecting), rotation).await;
    assert!(
        clients.iter().all(|it| generation(it) == Some(1)),
        "a client has reconnected"
    );
    assert!(rotating.server.generation() > 10);
    (calls.load(Relaxed), connections.load(Relaxed))
}

#[test]
fn certificates_rotate_under_load_without_a_failed_call() {
    run(async {
        let millis = Duration::from_millis;
        let (calls, connections) = rotated_under_load(8, millis(8), millis(1500), millis(25)).await;
        assert!(calls > 100 && connections > 10, "{calls}, {connections}");
    });
}

/// In the long form: `cargo test --test it -- --ignored --nocapture rotate`.
#[test]
#[ignore = "it takes a minute"]
fn certificates_rotate_for_a_minute_without_a_failed_call() {
    let (secs, millis) = (Duration::from_secs, Duration::from_millis);
    let (calls, connections) =
        smol::block_on(rotated_under_load(20, millis(20), secs(60), secs(1)));
    println!("{calls} calls and {connections} connections in a minute, none failed");
    assert!(
        calls >= 54_000,
        "{calls} calls in a minute are not 1 000 a second"
    );
}
