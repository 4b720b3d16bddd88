//! Error messages for texts that are not the expected PEM.

use erps::{TestCa, TestCertificate, Tls, TlsError};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::{HOST, handshake, run};
use crate::support::{events::Warnings, pem::Pem};

struct Given {
    ca: TestCa,
    own: TestCertificate,
}

impl Given {
    fn new() -> Self {
        let ca = TestCa::new();
        let own = ca.issue(&HOST);
        Self { ca, own }
    }

    fn with_key(&self, key: impl AsRef<[u8]>) -> Result<Tls, TlsError> {
        Tls::from_pem(self.ca.pem(), &self.own.certificate, key)
    }

    fn with_certificate(&self, certificate: impl AsRef<[u8]>) -> Result<Tls, TlsError> {
        Tls::from_pem(self.ca.pem(), certificate, &self.own.key)
    }

    fn with_ca(&self, ca: impl AsRef<[u8]>) -> Result<Tls, TlsError> {
        Tls::from_pem(ca, &self.own.certificate, &self.own.key)
    }
}

fn check(result: Result<Tls, TlsError>, input: &str, expected: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(input), "{input}: {error}");
    assert!(error.contains(expected), "{expected}: {error}");
}

/// Replaces the label of all PEM sections.
fn labelled(pem: &str, label: &str) -> String {
    let label = |line: &str| match line.strip_prefix("-----").and_then(|it| it.split_once(' ')) {
        Some((word, _)) => format!("-----{word} {label}-----\n"),
        None => format!("{line}\n"),
    };
    pem.lines().map(label).collect()
}

fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::pem::{PemObject as _, SectionKind};
    <(SectionKind, Vec<u8>)>::from_pem_slice(pem.as_bytes())
        .unwrap()
        .1
}

fn utf16(text: &str, little: bool, mark: bool) -> Vec<u8> {
    let mark = if mark { "\u{feff}" } else { "" };
    let units = mark.encode_utf16().chain(text.encode_utf16());
    match little {
        true => units.flat_map(u16::to_le_bytes).collect(),
        false => units.flat_map(u16::to_be_bytes).collect(),
    }
}

#[test]
fn private_key_in_another_form_is_diagnosed() {
    let given = Given::new();
    let key = &given.own.key;
    let old_style = key.replacen(
        "KEY-----\n",
        "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n",
        1,
    );
    let body: String = key.lines().filter(|it| !it.starts_with('-')).collect();
    let label = |label| labelled(key, label);
    let table: [(Vec<u8>, &str); 32] = [
        (label("ENCRYPTED PRIVATE KEY").into(), "is encrypted"),
        (old_style.into(), "is encrypted"),
        (der(key), "it is DER"),
        (
            [&[0x30, 0x82, 9, 9, 2, 1, 3, 0x30][..], &[0; 9]].concat(),
            "PKCS #12",
        ),
        (utf16(key, true, true), "UTF-16"),
        (utf16(key, false, true), "UTF-16"),
        (utf16(key, true, false), "UTF-16"),
        (utf16(key, false, false), "UTF-16"),
        (
            key.replace('\n', "\\n").into(),
            "two characters `\\` and `n`",
        ),
        (
            key.replace('\n', "\\r\\n").into(),
            "two characters `\\` and `n`",
        ),
        (
            format!("\"{}\"", key.replace('\n', "\\n")).into(),
            "two characters",
        ),
        (key.replacen('\n', "\\n", 1).into(), "two characters"),
        (key.replace('\n', " ").into(), "lines have been joined"),
        (key.replace('\n', "").into(), "lines have been joined"),
        (format!("\"{key}\"").into(), "a quotation mark for instance"),
        (format!("KEY={key}").into(), "text before `-----BEGIN`"),
        (key[..key.len() / 2].into(), "cut off"),
        (key[..key.len() - 3].into(), "END line, is damaged"),
        ("".into(), "it is empty"),
        (" \r\n\t\n".into(), "it is empty"),
        ("\u{feff}".into(), "it is empty"),
        (
            given.own.certificate.clone().into(),
            "it has a certificate instead",
        ),
        (label("PUBLIC KEY").into(), "has a public key instead"),
        (
            label("CERTIFICATE REQUEST").into(),
            "has a certificate request",
        ),
        (label("EC PARAMETERS").into(), "parameters of a curve"),
        (label("OPENSSH PRIVATE KEY").into(), "ssh-keygen -p"),
        (label("X509 CRL").into(), "has a revocation list instead"),
        (label("SOME THING").into(), "a section of an unknown kind"),
        (body.clone().into(), "base64 without BEGIN and END lines"),
        (key.replace("-----BEGIN", "----BEGIN").into(), "five dashes"),
        (key.replacen('M', "*", 1).into(), "line 2 has a character"),
        ("{\"kty\": \"EC\"}".into(), "it is JSON"),
    ];
    for (text, expected) in table {
        check(given.with_key(text), "private key PEM", expected);
    }
}

#[test]
fn path_instead_of_pem_and_pem_instead_of_path_are_diagnosed() {
    let given = Given::new();
    for path in [
        "/etc/ssl/private/server.key",
        "./certs/server",
        "../a",
        "~/key",
        "server-key.pem",
        "C:\\certs\\server.key",
    ] {
        check(given.with_key(path), "private key PEM", "path of a file");
        check(given.with_ca(path), "CA PEM", "path of a file");
    }
    let pem = Pem::new(&given.ca, &given.own);
    let file = |name| pem.path().join(name);
    let text = Tls::from_files(file("ca"), file("certificate"), &given.own.key);
    assert!(matches!(text, Err(TlsError::NotAPath { .. })), "{text:?}");
    check(text, "private key file", "`from_pem`");
    // A path to a missing file is shown.
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    for wrong in ["no/such/MyServerCertificates2025/key", hash] {
        let error = Tls::from_files(file("ca"), file("certificate"), wrong);
        check(error, wrong, "cannot read the private key file");
    }
}

#[test]
fn swapped_and_wrong_texts_are_named_by_their_role() {
    let given = Given::new();
    let Given { ca, own } = &given;
    let certificate = &own.certificate;
    check(
        given.with_ca(&own.key),
        "CA PEM holds no CA",
        "a private key instead",
    );
    check(
        given.with_certificate(&own.key),
        "certificate PEM holds no certificate",
        "a private key instead",
    );
    check(
        given.with_certificate(ca.revocation_list()),
        "certificate PEM holds no certificate",
        "a revocation list instead",
    );
    let trusted = labelled(certificate, "TRUSTED CERTIFICATE");
    check(
        given.with_certificate(trusted),
        "certificate PEM",
        "`openssl x509`",
    );
    check(
        given.with_certificate(der(certificate)),
        "certificate PEM",
        "it is DER",
    );
    let damaged = labelled(&own.key, "CERTIFICATE");
    check(
        given.with_certificate(damaged),
        "certificate PEM",
        "it is not a readable",
    );
    let lists = ca.tls_with(own).revocation_lists(certificate);
    check(
        lists,
        "revocation list PEM holds no",
        "a certificate instead",
    );
    let lists = ca.tls_with(own).revocation_lists("");
    check(lists, "revocation list PEM holds no", "it is empty");
    let lists = ca
        .tls_with(own)
        .revocation_lists(labelled(certificate, "X509 CRL"));
    check(lists, "revocation list PEM cannot", "not a revocation list");
    let mut lines: Vec<_> = certificate.lines().collect();
    lines.remove(3);
    let less = lines.join("\n");
    check(
        given.with_certificate(&less),
        "certificate PEM",
        "lacks some of its lines",
    );
    lines.splice(3..3, [lines[2]; 2]);
    check(
        given.with_certificate(lines.join("\n")),
        "certificate PEM",
        "more lines",
    );
}

#[test]
fn private_key_is_never_read_as_part_of_a_certificate() {
    let given = Given::new();
    let Given { own, .. } = &given;
    let half = &own.key[..own.key.len() / 2];
    let joined = format!("{}{half}\n{}", own.certificate, own.certificate);
    check(
        given.with_certificate(joined),
        "certificate PEM",
        "private key is cut off",
    );
    // Nor can a key be sent to peers as a certificate under another label.
    let hidden = labelled(&own.key, "CERTIFICATE");
    let chain = format!("{}{hidden}", own.certificate);
    check(
        given.with_certificate(chain),
        "certificate PEM",
        "certificate number 2",
    );
}

#[test]
fn unsupported_key_is_named_by_its_kind() {
    let given = Given::new();
    // Replaces the identifier of the curve by another of the same length.
    let good = der(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .unwrap()
        .serialize_pem());
    let at = good.windows(2).position(|it| it == [3, 1]).unwrap();
    let mut unknown = good.clone();
    unknown[at + 2] = 99;
    let mut damaged = good;
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    for (der, expected) in [(unknown, "unknown kind"), (damaged, "the kind P-256")] {
        let key = rustls_pem(&der);
        check(given.with_key(key), "private key PEM", expected);
    }
}

fn rustls_pem(der: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut body = String::new();
    for three in der.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes(padded);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            let sign = char::from(ALPHABET[index as usize]);
            body.push(if place > three.len() as u32 {
                '='
            } else {
                sign
            });
        }
    }
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

#[test]
fn harmless_differences_are_accepted() {
    let Given { ca, own } = Given::new();
    let all = |change: &dyn Fn(&str) -> String| {
        let (root, certificate) = (change(&ca.pem()), change(&own.certificate));
        Tls::from_pem(root, certificate, change(&own.key))
    };
    all(&|pem| pem.replace('\n', "\r\n")).unwrap();
    all(&|pem| pem.replace('\n', "\r")).unwrap();
    all(&|pem| format!("\u{feff}{pem}")).unwrap();
    all(&|pem| pem.replace('\n', "\n    ")).unwrap();
    all(&|pem| pem.trim_end().to_owned()).unwrap();
    all(&|pem| format!("some text: -----BEGIN\n\n{pem}\nmore")).unwrap();
    all(&|pem| format!("{}{pem}", labelled(&own.key, "OPENSSH PRIVATE KEY"))).unwrap();
    // Two files joined, each with a byte-order mark, the first without a final line break.
    let two = format!(
        "\u{feff}{}\u{feff}{}",
        TestCa::new().pem().trim_end(),
        ca.pem()
    );
    let tls = Tls::from_pem(two, &own.certificate, &own.key).unwrap();
    let both = run(handshake(&tls, &ca.tls(&HOST), "localhost"));
    assert!(both.0.is_ok() && both.1.is_ok());
}

#[test]
fn own_ca_certificate_logs_a_warning() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(HOST.map(String::from).to_vec()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let own = params.self_signed(&key).unwrap().pem();
    let warnings = Warnings::capture(|warnings| {
        Tls::from_pem(&own, &own, key.serialize_pem()).unwrap();
        warnings.take()
    });
    assert!(
        warnings.iter().any(|it| it.contains("CA:TRUE")),
        "{warnings:?}"
    );
    let warnings = Warnings::capture(|warnings| {
        let _ = TestCa::new().tls(&HOST);
        warnings.take()
    });
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn own_certificate_outside_its_validity_logs_a_warning_with_dates() {
    let ca = TestCa::new();
    let (late, early) = (
        ca.request(&HOST).expired(),
        ca.request(&HOST).not_yet_valid(),
    );
    for (request, expected) in [
        (late, "has expired not_after=\"2002-01-01T00:00:00Z\""),
        (early, "not valid yet not_before=\"3001-01-01T00:00:00Z\""),
    ] {
        let own = request.issue();
        let warnings = Warnings::capture(|warnings| {
            let _ = ca.tls_with(&own);
            warnings.take().concat()
        });
        let date = expected.split_once(" not_").unwrap();
        assert!(warnings.contains(date.0), "{warnings}");
        assert!(warnings.contains(date.1), "{warnings}");
        assert!(warnings.contains("clock="), "{warnings}");
    }
}

#[test]
fn server_certificate_without_alternative_names_logs_one_warning() {
    let ca = TestCa::new();
    let unnamed = ca.tls_with(&ca.request(&[]).common_name("localhost").issue());
    let client = ca.tls(&["client"]);
    let warnings = Warnings::capture(|warnings| {
        run(async {
            // A client needs no alternative names.
            handshake(&ca.tls(&HOST), &unnamed, "localhost")
                .await
                .0
                .unwrap();
            assert_eq!(warnings.take().len(), 0);
            for _ in 0..2 {
                handshake(&unnamed, &client, "localhost")
                    .await
                    .0
                    .unwrap_err();
            }
        });
        warnings.take()
    });
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("no alternative names"), "{warnings:?}");
}
