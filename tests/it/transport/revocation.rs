//! Certificates that were taken back, and lists that have come of age.

use std::time::{Duration, SystemTime};

use erps::{HandshakeError, TestCa, Tls, TlsError, Universe, Untrusted};

use super::{HOST, Outcome, refused_client, refused_server, run, shake};
use crate::support::lab;

const HOUR: Duration = Duration::from_secs(3600);

/// What either end holds against the other, and that the other was told so but may come back.
fn no_telling(refuses: Outcome, is_told: Outcome) -> Untrusted {
    let error = is_told.unwrap_err();
    assert!(!error.is_likely_permanent(), "{error}");
    let HandshakeError::Refused(alert) = error else {
        panic!("{error}");
    };
    assert_eq!(alert.name(), "bad_certificate_status_response");
    super::refusal(refuses)
}

fn asking(tls: Tls, lists: impl AsRef<[u8]>) -> Tls {
    tls.revocation_lists(lists).unwrap()
}

#[test]
fn a_client_that_was_revoked_is_refused_by_those_who_know() {
    run(async {
        let ca = TestCa::new();
        let (good, bad) = (ca.issue(&["good"]), ca.issue(&["bad"]));
        let (good, thief) = (ca.tls_with(&good), ca.tls_with(&bad));
        let before = asking(ca.tls(&HOST), ca.revocation_list());
        ca.revoke(&bad);
        let after = asking(ca.tls(&HOST), ca.revocation_list());
        for (server, client) in [(&before, &thief), (&after, &good), (&ca.tls(&HOST), &thief)] {
            let (server, client) = shake(server, client, "localhost").await;
            assert!(server.is_ok() && client.is_ok());
        }
        let both = shake(&after, &thief, "localhost").await;
        assert_eq!(
            refused_client(both, "certificate_revoked"),
            Untrusted::Revoked
        );
    });
}

#[test]
fn a_server_that_was_revoked_is_not_trusted() {
    run(async {
        let ca = TestCa::new();
        let own = ca.issue(&HOST);
        ca.revoke(&own);
        let client = asking(ca.tls(&["client"]), ca.revocation_list());
        let (server, connected) = shake(&ca.tls(&HOST), &client, "localhost").await;
        assert!(server.is_ok() && connected.is_ok());
        let stolen = ca.tls_with(&own);
        let both = shake(&stolen, &client, "localhost").await;
        assert_eq!(
            refused_server(both, "certificate_revoked"),
            Untrusted::Revoked
        );
        // A check of one's own replaces that of the name, and nothing else.
        let client = client.server_name("else.where");
        let both = shake(&ca.tls(&HOST), &client, "localhost").await;
        refused_server(both, "bad_certificate");
        let client = client.check_peer(|_| Ok::<(), String>(()));
        let (server, connected) = shake(&ca.tls(&HOST), &client, "localhost").await;
        assert!(server.is_ok() && connected.is_ok());
        let both = shake(&stolen, &client, "localhost").await;
        assert_eq!(
            refused_server(both, "certificate_revoked"),
            Untrusted::Revoked
        );
    });
}

#[test]
fn whoever_was_vouched_for_by_a_revoked_authority_is_revoked_too() {
    run(async {
        let root = TestCa::new();
        let middle = root.intermediate();
        let (theirs, ours) = (middle.issue(&HOST), root.tls(&HOST));
        let theirs = root.tls_with(&theirs);
        let lists = || root.revocation_list() + &middle.revocation_list();
        for (server, client) in [(&ours, &theirs), (&theirs, &ours)] {
            let (server, client) = (
                asking(server.clone(), lists()),
                asking(client.clone(), lists()),
            );
            let (server, client) = shake(&server, &client, "localhost").await;
            assert!(server.is_ok() && client.is_ok());
        }
        root.revoke_intermediate(&middle);
        let knows = asking(ours, lists());
        let both = shake(&knows, &theirs, "localhost").await;
        let why = refused_client(both, "certificate_revoked");
        assert_eq!(why, Untrusted::Revoked);
        let both = shake(&theirs, &knows, "localhost").await;
        let why = refused_server(both, "certificate_revoked");
        assert_eq!(why, Untrusted::Revoked);
    });
}

#[test]
fn without_a_list_of_every_issuer_nobody_is_let_in() {
    run(async {
        let root = TestCa::new();
        let middle = root.intermediate();
        let theirs = root.tls_with(&middle.issue(&HOST));
        for lists in [root.revocation_list(), middle.revocation_list()] {
            let ours = asking(root.tls(&HOST), lists);
            let (server, client) = shake(&ours, &theirs, "localhost").await;
            let why = no_telling(server, client);
            assert!(matches!(why, Untrusted::RevocationUnknown(_)), "{why}");
            let (server, client) = shake(&theirs, &ours, "localhost").await;
            let why = no_telling(client, server);
            assert!(matches!(why, Untrusted::RevocationUnknown(_)), "{why}");
        }
    });
}

#[test]
fn a_list_that_has_expired_lets_in_nobody_and_is_named() {
    run(async {
        let (ca, other) = (TestCa::new(), TestCa::new());
        let ended = SystemTime::UNIX_EPOCH + 400_000 * HOUR;
        let lists = other.revocation_list_until(ended - HOUR) + &ca.revocation_list_until(ended);
        let (server, client) = (ca.tls(&HOST), ca.tls(&["client"]));
        let (accepted, connected) =
            shake(&asking(server.clone(), &lists), &client, "localhost").await;
        let here = no_telling(accepted, connected);
        let (accepted, connected) = shake(&server, &asking(client, &lists), "localhost").await;
        let there = no_telling(connected, accepted);
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
        // Not so if the same text holds a newer one.
        let both = lists + &ca.revocation_list();
        let (server, client) =
            shake(&asking(server, both), &ca.tls(&["client"]), "localhost").await;
        assert!(server.is_ok() && client.is_ok());
    });
}

#[test]
fn a_list_is_good_until_the_time_it_names_by_the_clock_of_the_universe() {
    Universe::simulated(1).run(async {
        let ca = TestCa::new();
        let list = ca.revocation_list_until(SystemTime::now() + HOUR);
        let tls = asking(ca.tls(&["localhost"]), list);
        let (builder, _watch) = lab::daemon();
        let daemon = builder.transport(tls.clone()).start_link().await.unwrap();
        let guest = || {
            let papers = ca.tls(&["guest"]).server_name("localhost");
            lab::client(&daemon).transport(papers)
        };
        erps::time::sleep(HOUR * 59 / 60).await;
        guest().connect().await.unwrap();
        erps::time::sleep(HOUR * 2 / 60).await;
        guest().connect().await.unwrap_err();
        tls.rotate(&asking(ca.tls(&["localhost"]), ca.revocation_list()));
        guest().connect().await.unwrap();
    });
}

#[test]
fn lists_that_cannot_be_used_are_named() {
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
