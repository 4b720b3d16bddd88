//! Errors about certificates and keys, and replacing them.

use std::{fs, path::Path};

use erps::{PeerIdentity, TestCa, TestCertificate, Tls, TlsError};
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{HOST, handshake, run};

fn error(ca: &str, certificate: &str, key: &str) -> TlsError {
    Tls::from_pem(ca, certificate, key).unwrap_err()
}

#[test]
fn missing_or_damaged_pem_sections_are_named() {
    let ca = TestCa::new();
    let TestCertificate {
        certificate, key, ..
    } = ca.issue(&HOST);
    let (ca, other) = (ca.pem(), ca.issue(&HOST));
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let cut = &certificate[..certificate.len() / 2];
    let damaged = certificate.replace("MII", "AAA");
    let table = [
        (error("", &certificate, &key), "the CA PEM holds no CA"),
        (error(&key, &certificate, &key), "the CA PEM holds no CA"),
        (error(&ca, "", &key), "the certificate PEM holds no cert"),
        (error(&ca, &key, &key), "the certificate PEM holds no cert"),
        (error(&ca, cut, &key), "the certificate PEM cannot be used"),
        (error(&ca, &damaged, &key), "certificate PEM cannot be used"),
        (error(&damaged, &certificate, &key), "the CA PEM cannot be"),
        (error(&ca, &certificate, ""), "private key PEM holds no pri"),
        (error(&ca, &certificate, &encrypted), "key PEM is encrypted"),
        (
            error(&ca, &certificate, &other.key),
            "the private key PEM does not belong to the certificate PEM",
        ),
    ];
    for (error, expected) in table {
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn error_about_a_file_contains_its_path() {
    let directory = std::env::temp_dir().join(format!("erps-settings-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let ca = TestCa::new();
    let own = ca.issue(&HOST);
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (ca, certificate) = (write("ca", &ca.pem()), write("cert", &own.certificate));
    let (key, empty) = (write("key", &own.key), write("empty", ""));
    Tls::from_files(&ca, &certificate, &key).unwrap();
    let nowhere = Path::new("/no/such/file.pem");
    let missing = Tls::from_files(&ca, nowhere, &key).unwrap_err();
    let bad = Tls::from_files(&ca, &certificate, &empty).unwrap_err();
    fs::remove_dir_all(&directory).unwrap();
    assert!(
        missing
            .to_string()
            .starts_with("cannot read the certificate file /no/such/file.pem: "),
        "{missing}"
    );
    let expected = format!("private key file {} holds no", empty.display());
    assert!(bad.to_string().contains(&expected), "{bad}");
}

#[test]
fn one_file_can_contain_certificate_and_key() {
    let ca = TestCa::new();
    let own = ca.issue(&HOST);
    let both = format!("{}{}", own.key, own.certificate);
    Tls::from_pem(ca.pem(), &both, &both).unwrap();
}

#[test]
fn rotated_certificates_are_used_from_the_next_handshake() {
    run(async {
        let (old, new) = (TestCa::new(), TestCa::new());
        let (server, client) = (old.tls(&HOST), old.tls(&["client"]));
        let running = server.clone();
        let (accepted, connected) = handshake(&running, &client, "localhost").await;
        assert!(accepted.is_ok() && connected.is_ok());
        server.rotate(&new.tls(&HOST));
        let (accepted, connected) = handshake(&running, &client, "localhost").await;
        assert!(accepted.is_err() && connected.is_err());
        client.rotate(&new.tls(&["client"]));
        let (accepted, connected) = handshake(&running, &client, "localhost").await;
        assert!(accepted.is_ok() && connected.is_ok());
    });
}

#[test]
fn process_wide_crypto_provider_is_neither_needed_nor_installed() {
    run(async {
        let ca = TestCa::new();
        let (server, client) = handshake(&ca.tls(&HOST), &ca.tls(&["client"]), "localhost").await;
        assert!(server.is_ok() && client.is_ok());
    });
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}

#[test]
fn peer_identity_has_the_fingerprint_and_der_of_the_certificate() {
    let issued = TestCa::new().issue(&HOST);
    let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let identity = PeerIdentity::from_der(&der).unwrap();
    let digest = ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256
        .tls13()
        .unwrap();
    let digest = digest.common.hash_provider.hash(&der);
    assert_eq!(identity.fingerprint(), digest.as_ref());
    assert_eq!(identity.der(), &*der);
    assert_eq!(identity, PeerIdentity::from_der(&der).unwrap());
    assert!(PeerIdentity::from_der(b"nonsense").is_err());
}
