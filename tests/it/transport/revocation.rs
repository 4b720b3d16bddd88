//! Revoked certificates and expired revocation lists.

use std::time::{Duration, SystemTime};

use erps::{HandshakeError, TestCa, Tls, TlsError, Universe, Untrusted};

use super::{HOST, Outcome, handshake, refused_client, refused_server, run};
use crate::support::test_server;

const HOUR: Duration = Duration::from_secs(3600);

/// Returns why one end rejects the other, and asserts that the other received a retriable alert.
fn retriable_rejection(rejecting: Outcome, rejected: Outcome) -> Untrusted {
    let error = rejected.unwrap_err();
    assert!(!error.is_likely_permanent(), "{error}");
    let HandshakeError::Refused(alert) = error else {
        panic!("{error}");
    };
    assert_eq!(alert.name(), "bad_certificate_status_response");
    super::untrusted(rejecting)
}

fn with_lists(tls: Tls, lists: impl AsRef<[u8]>) -> Tls {
    tls.revocation_lists(lists).unwrap()
}

#[test]
fn revoked_client_certificate_is_rejected() {
    run(async {
        let ca = TestCa::new();
        let (good, bad) = (ca.issue(&["good"]), ca.issue(&["bad"]));
        let (good, revoked) = (ca.tls_with(&good), ca.tls_with(&bad));
        let before = with_lists(ca.tls(&HOST), ca.revocation_list());
        ca.revoke(&bad);
        let after = with_lists(ca.tls(&HOST), ca.revocation_list());
        for (server, client) in [
            (&before, &revoked),
            (&after, &good),
            (&ca.tls(&HOST), &revoked),
        ] {
            let (server, client) = handshake(server, client, "localhost").await;
            assert!(server.is_ok() && client.is_ok());
        }
        let both = handshake(&after, &revoked, "localhost").await;
        assert_eq!(
            refused_client(both, "certificate_revoked"),
            Untrusted::Revoked
        );
    });
}

#[test]
fn revoked_server_certificate_is_untrusted() {
    run(async {
        let ca = TestCa::new();
        let own = ca.issue(&HOST);
        ca.revoke(&own);
        let client = with_lists(ca.tls(&["client"]), ca.revocation_list());
        let (server, connected) = handshake(&ca.tls(&HOST), &client, "localhost").await;
        assert!(server.is_ok() && connected.is_ok());
        let stolen = ca.tls_with(&own);
        let both = handshake(&stolen, &client, "localhost").await;
        assert_eq!(
            refused_server(both, "certificate_revoked"),
            Untrusted::Revoked
        );
        // `check_peer` replaces the host name check and nothing else.
        let client = client.server_name("else.where");
        let both = handshake(&ca.tls(&HOST), &client, "localhost").await;
        refused_server(both, "bad_certificate");
        let client = client.check_peer(|_| Ok::<(), String>(()));
        let (server, connected) = handshake(&ca.tls(&HOST), &client, "localhost").await;
        assert!(server.is_ok() && connected.is_ok());
        let both = handshake(&stolen, &client, "localhost").await;
        assert_eq!(
            refused_server(both, "certificate_revoked"),
            Untrusted::Revoked
        );
    });
}

#[test]
fn certificate_of_a_revoked_intermediate_is_revoked() {
    run(async {
        let root = TestCa::new();
        let middle = root.intermediate();
        let (theirs, ours) = (middle.issue(&HOST), root.tls(&HOST));
        let theirs = root.tls_with(&theirs);
        let lists = || root.revocation_list() + &middle.revocation_list();
        for (server, client) in [(&ours, &theirs), (&theirs, &ours)] {
            let (server, client) = (
                with_lists(server.clone(), lists()),
                with_lists(client.clone(), lists()),
            );
            let (server, client) = handshake(&server, &client, "localhost").await;
            assert!(server.is_ok() && client.is_ok());
        }
        root.revoke_intermediate(&middle);
        let knows = with_lists(ours, lists());
        let both = handshake(&knows, &theirs, "localhost").await;
        let why = refused_client(both, "certificate_revoked");
        assert_eq!(why, Untrusted::Revoked);
        let both = handshake(&theirs, &knows, "localhost").await;
        let why = refused_server(both, "certificate_revoked");
        assert_eq!(why, Untrusted::Revoked);
    });
}

#[test]
fn missing_revocation_list_of_an_issuer_rejects_the_peer() {
    run(async {
        let root = TestCa::new();
        let middle = root.intermediate();
        let theirs = root.tls_with(&middle.issue(&HOST));
        for lists in [root.revocation_list(), middle.revocation_list()] {
            let ours = with_lists(root.tls(&HOST), lists);
            let (server, client) = handshake(&ours, &theirs, "localhost").await;
            let why = retriable_rejection(server, client);
            assert!(matches!(why, Untrusted::RevocationUnknown(_)), "{why}");
            let (server, client) = handshake(&theirs, &ours, "localhost").await;
            let why = retriable_rejection(client, server);
            assert!(matches!(why, Untrusted::RevocationUnknown(_)), "{why}");
        }
    });
}

#[test]
fn expired_revocation_list_rejects_the_peer_and_is_named() {
    run(async {
        let (ca, other) = (TestCa::new(), TestCa::new());
        let ended = SystemTime::UNIX_EPOCH + 400_000 * HOUR;
        let lists = other.revocation_list_until(ended - HOUR) + &ca.revocation_list_until(ended);
        let (server, client) = (ca.tls(&HOST), ca.tls(&["client"]));
        let (accepted, connected) =
            handshake(&with_lists(server.clone(), &lists), &client, "localhost").await;
        let here = retriable_rejection(accepted, connected);
        let (accepted, connected) =
            handshake(&server, &with_lists(client, &lists), "localhost").await;
        let there = retriable_rejection(connected, accepted);
        for why in [here, there] {
            let Untrusted::RevocationListExpired {
                issuer,
                next_update,
            } = why
            else {
                panic!("{why}");
            };
            assert!(format!("{ca:?}").contains(issuer.rsplit(' ').next().unwrap()));
            assert_eq!(next_update, ended);
        }
        // A newer list in the same text takes precedence.
        let both = lists + &ca.revocation_list();
        let (server, client) =
            handshake(&with_lists(server, both), &ca.tls(&["client"]), "localhost").await;
        assert!(server.is_ok() && client.is_ok());
    });
}

#[test]
fn revocation_list_expires_by_the_clock_of_the_universe() {
    Universe::simulated(1).run(async {
        let ca = TestCa::new();
        let list = ca.revocation_list_until(SystemTime::now() + HOUR);
        let tls = with_lists(ca.tls(&["localhost"]), list);
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.transport(tls.clone()).start_link().await.unwrap();
        let guest = || {
            let tls = ca.tls(&["guest"]).server_name("localhost");
            test_server::client(&daemon).transport(tls)
        };
        erps::time::sleep(HOUR * 59 / 60).await;
        guest().connect().await.unwrap();
        erps::time::sleep(HOUR * 2 / 60).await;
        guest().connect().await.unwrap_err();
        tls.rotate(&with_lists(ca.tls(&["localhost"]), ca.revocation_list()));
        guest().connect().await.unwrap();
    });
}

#[test]
fn unusable_revocation_lists_are_named() {
    let ca = TestCa::new();
    let table = [
        (
            String::new(),
            "revocation list PEM holds no revocation list",
        ),
        (ca.pem(), "revocation list PEM holds no revocation list"),
        (
            ca.revocation_list().replacen("\nM", "\nA", 1),
            "the revocation list PEM cannot be used",
        ),
    ];
    for (lists, expected) in table {
        let error = ca.tls(&HOST).revocation_lists(lists).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let nowhere = ca.tls(&HOST).revocation_file("/no/such/file");
    assert!(matches!(nowhere, Err(TlsError::Unreadable { .. })));
}
