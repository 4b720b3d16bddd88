//! Error messages that explain why a peer is untrusted and what to do.

use std::time::{Duration, SystemTime};

use erps::{Alert, HandshakeError, TestCa, TestCertificate, Tls, Transport as _, Untrusted};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use smol::io::AsyncWriteExt as _;

use super::{HOST, Outcome, PEER, handshake, pair, run};

/// Names of Rust enum variants must not appear in messages.
pub(super) fn has_camel_case(text: &str) -> bool {
    let text = text.replace("OpenSSL", "").replace("OpenSSH", "");
    let bytes = text.as_bytes();
    bytes
        .windows(2)
        .any(|it| it[0].is_ascii_lowercase() && it[1].is_ascii_uppercase())
}

fn said(outcome: Outcome) -> String {
    let said = outcome.unwrap_err().to_string();
    assert!(!has_camel_case(&said), "{said}");
    assert!(said.len() < 1200, "{} bytes", said.len());
    said
}

fn contains(said: &str, all: &[&str]) {
    for part in all {
        assert!(said.contains(part), "{part}: {said}");
    }
}

fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(HOST.map(String::from).to_vec()).unwrap();
    change(&mut params);
    let own = params.self_signed(&key).unwrap();
    (own.pem(), key.serialize_pem())
}

#[test]
fn expiry_is_reported_with_dates_and_the_clock() {
    let ca = TestCa::new();
    let (late, early) = (
        ca.request(&HOST).expired(),
        ca.request(&HOST).not_yet_valid(),
    );
    let year = |said: &str| said.contains("clock shows 20") && said.matches('Z').count() == 2;
    for (request, date) in [
        (late, "until 2002-01-01T00:00:00Z"),
        (early, "from 3001-01-01T00:00:00Z"),
    ] {
        let own = ca.tls_with(&request.issue());
        let good = ca.tls(&HOST);
        let (server, client) = run(handshake(&own, &good, "localhost"));
        let (client, server) = (said(client), said(server));
        contains(&client, &["the peer is not trusted: ", date]);
        assert!(year(&client), "{client}");
        let alert = "the peer rejected this end's certificate: certificate_expired (45): it has expired or is not valid yet by the peer's clock";
        contains(&server, &[alert]);
        let (server, client) = run(handshake(&good, &own, "localhost"));
        let (client, server) = (said(client), said(server));
        contains(&server, &["the peer is not trusted: ", date]);
        assert!(year(&server), "{server}");
        contains(&client, &[alert]);
    }
}

#[erps::test(simulated)]
async fn expiry_carries_the_clock_of_the_universe() {
    let ca = TestCa::new();
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let old = ca.request(&HOST).valid(SystemTime::UNIX_EPOCH, end).issue();
    let (accepted, connected) = super::simulated_pair().await;
    let (server, client) = (ca.tls_with(&old), ca.tls(&["client"]));
    let (_, outcome) = smol::future::zip(
        server.accept(Box::new(accepted), PEER),
        client.connect(Box::new(connected), "localhost"),
    )
    .await;
    match outcome.unwrap_err() {
        HandshakeError::Untrusted(Untrusted::Expired { not_after, now, .. }) => {
            assert_eq!(not_after, end);
            assert!(now > end);
        }
        error => panic!("{error}"),
    }
}

#[test]
fn ca_certificate_as_own_certificate_is_named_by_both_ends() {
    let (own, key) = self_signed(|it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let tls = Tls::from_pem(&own, &own, &key).unwrap();
    let (server, client) = run(handshake(&tls, &tls, "localhost"));
    contains(&said(client), &["that of a CA", "CA:TRUE", "CA:FALSE"]);
    contains(
        &said(server),
        &["rejected this end's certificate", "of a CA"],
    );
    let ca = TestCa::new();
    let good = ca.issue(&HOST);
    let server = Tls::from_pem(&own, good.certificate, good.key).unwrap();
    let trusting = Tls::from_pem(ca.pem(), &own, &key).unwrap();
    let (server, client) = run(handshake(&server, &trusting, "localhost"));
    let error = server.unwrap_err();
    assert!(matches!(
        error,
        HandshakeError::Untrusted(Untrusted::CaCertificate)
    ));
    contains(
        &said(client),
        &["rejected this end's certificate", "of a CA"],
    );
}

#[test]
fn unknown_issuer_is_named_with_the_number_of_trusted_roots() {
    let (ours, theirs) = (TestCa::new(), TestCa::new());
    let unknown = |it: &TestCertificate| Tls::from_pem(ours.pem(), &it.certificate, &it.key);
    let direct = unknown(&theirs.issue(&HOST)).unwrap();
    let below = unknown(&theirs.intermediate().issue(&HOST)).unwrap();
    let good = ours.tls(&HOST);
    let parts = [
        "(\"CN=localhost\")",
        "\"CN=test authority ",
        "none of the 1 CA ",
    ];
    for own in [direct, below] {
        let (server, client) = run(handshake(&own, &good, "localhost"));
        contains(&said(client), &parts);
        contains(
            &said(server),
            &["unknown_ca (48): it does not trust the CA"],
        );
        let (server, client) = run(handshake(&good, &own, "localhost"));
        contains(&said(server), &parts);
        contains(
            &said(client),
            &["unknown_ca (48): it does not trust the CA"],
        );
    }
    let (own, key) = self_signed(|_| {});
    let two = format!("{}{}", ours.pem(), theirs.pem());
    let own = Tls::from_pem(&two, &own, key).unwrap();
    let client = Tls::from_pem(&two, ours.issue(&HOST).certificate, "");
    assert!(client.is_err());
    let other = ours.issue(&HOST);
    let client = Tls::from_pem(&two, other.certificate, other.key).unwrap();
    let (_, client) = run(handshake(&own, &client, "localhost"));
    contains(&said(client), &["is self-signed", "none of the 2 CAs"]);
}

#[test]
fn unknown_issuer_names_the_last_issuer_in_the_chain() {
    let (ours, theirs) = (TestCa::new(), TestCa::new());
    let own = theirs.intermediate().issue(&HOST);
    let own = Tls::from_pem(ours.pem(), own.certificate, own.key).unwrap();
    let (_, client) = run(handshake(&own, &ours.tls(&HOST), "localhost"));
    let root = format!("{theirs:?}");
    let serial: String = root.chars().filter(char::is_ascii_digit).collect();
    let HandshakeError::Untrusted(Untrusted::UnknownIssuer { issuer, roots, .. }) =
        client.unwrap_err()
    else {
        panic!("another error");
    };
    assert_eq!((issuer, roots), (format!("CN=test authority {serial}"), 1));
}

#[test]
fn wrong_purpose_names_what_is_needed_and_what_is_allowed() {
    let ca = TestCa::new();
    let good = ca.tls(&HOST);
    let clients = ca.tls_with(&ca.request(&HOST).for_clients_only().issue());
    let servers = ca.tls_with(&ca.request(&HOST).for_servers_only().issue());
    let (server, client) = run(handshake(&clients, &good, "localhost"));
    let parts = [
        "for server authentication",
        "allows client authentication only",
    ];
    contains(&said(client), &parts);
    contains(
        &said(server),
        &["(43): it is not for this use: its extended key usage"],
    );
    let (server, client) = run(handshake(&good, &servers, "localhost"));
    let parts = [
        "for client authentication",
        "allows server authentication only",
    ];
    contains(&said(server), &parts);
    contains(&said(client), &["(43)"]);
}

#[test]
fn wrong_name_lists_the_presented_names() {
    let ca = TestCa::new();
    let good = ca.tls(&["client"]);
    let (server, client) = run(handshake(
        &ca.tls(&["a.b", "192.0.2.1"]),
        &good,
        "localhost",
    ));
    contains(
        &said(client),
        &["\"localhost\", only for \"a.b\", \"192.0.2.1\""],
    );
    contains(
        &said(server),
        &["bad_certificate (42)", "alternative names"],
    );
    let unnamed = ca.tls_with(&ca.request(&[]).common_name("localhost").issue());
    let (_, client) = run(handshake(&unnamed, &good, "localhost"));
    contains(
        &said(client),
        &["it has no alternative names (a common name does not count)"],
    );
}

#[test]
fn peer_supplied_names_are_truncated_and_escaped_in_errors() {
    let ca = TestCa::new();
    let many: Vec<_> = (0..500)
        .map(|n| format!("{n}.{}", "x.".repeat(60) + "y"))
        .collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let (_, client) = run(handshake(&ca.tls(&many), &ca.tls(&HOST), "localhost"));
    let error = client.unwrap_err();
    let debug = format!("{error:?}");
    assert!(debug.len() < 6000, "{}", debug.len());
    contains(&said(Err(error)), &[" more"]);
    let (own, key) = self_signed(|it| {
        let name = format!("evil, O=\u{202e}\"{}", "x".repeat(10_000));
        it.distinguished_name.push(DnType::CommonName, name);
    });
    let own = Tls::from_pem(ca.pem(), own, key).unwrap();
    let (_, client) = run(handshake(&own, &ca.tls(&HOST), "localhost"));
    let error = client.unwrap_err();
    assert!(format!("{error:?}").len() < 1500);
    let said = said(Err(error));
    contains(&said, &["CN=evil\\, O\\=\\u{202e}\\\"xxx", "…"]);
    assert!(!said.contains('\u{202e}'), "{said}");
}

#[test]
fn every_alert_has_an_explanation() {
    for code in 0..=255 {
        let alert = Alert::new(code);
        let said = HandshakeError::Refused(alert).to_string();
        assert!(said.starts_with("the peer "), "{said}");
        assert!(
            said.contains(&format!("{} ({code}): ", alert.name())),
            "{said}"
        );
        assert!(!has_camel_case(&said), "{said}");
    }
    for code in [42, 43, 44, 45, 46, 48, 116] {
        let said = HandshakeError::Refused(Alert::new(code)).to_string();
        assert!(
            said.starts_with("the peer rejected this end's certificate: "),
            "{said}"
        );
    }
}

#[test]
fn accept_fails_with_not_tls_for_a_plaintext_client() {
    run(async {
        let (accepted, mut plain) = pair().await;
        plain
            .write_all(b"\x83\x04\x00\x00, some packet or other")
            .await
            .unwrap();
        let server = TestCa::new().tls(&HOST);
        let error = server.accept(Box::new(accepted), PEER).await.unwrap_err();
        assert!(matches!(error, HandshakeError::NotTls), "{error}");
    });
}

#[test]
fn connect_fails_with_not_tls_for_a_plaintext_server() {
    run(async {
        let (mut plain, stream) = pair().await;
        plain
            .write_all(b"220 mail.example ESMTP\r\n")
            .await
            .unwrap();
        let client = TestCa::new().tls(&["client"]);
        let error = client.connect(Box::new(stream), "localhost").await;
        let error = error.unwrap_err();
        assert!(matches!(error, HandshakeError::NotTls), "{error}");
        assert!(!error.is_likely_permanent());
    });
}
