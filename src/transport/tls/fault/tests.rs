//! Each error of rustls becomes a sentence.

use std::{sync::Arc, time::Duration};

use rustls::{
    AlertDescription, CertRevocationListError as List, CertificateError as Bad, ContentType,
    EncryptedClientHelloError, Error, ExtendedKeyPurpose, HandshakeType, InconsistentKeys,
    InvalidMessage, OtherError, PeerIncompatible, PeerMisbehaved,
    pki_types::{ServerName, UnixTime},
};

use super::{about, about_other, explain};

const SECRET: &[u8] = b"\x11\x22\x33\x44\x55";

fn other(name: &'static str) -> OtherError {
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Named(&'static str);
    OtherError(Arc::new(Named(name)))
}

fn time(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn certificates() -> Vec<Bad> {
    let signature_algorithm_id = SECRET.to_vec();
    vec![
        Bad::BadEncoding,
        Bad::Expired,
        Bad::ExpiredContext {
            time: time(9),
            not_after: time(5),
        },
        Bad::NotValidYet,
        Bad::NotValidYetContext {
            time: time(5),
            not_before: time(9),
        },
        Bad::Revoked,
        Bad::UnhandledCriticalExtension,
        Bad::UnknownIssuer,
        Bad::UnknownRevocationStatus,
        Bad::ExpiredRevocationList,
        Bad::ExpiredRevocationListContext {
            time: time(9),
            next_update: time(5),
        },
        Bad::BadSignature,
        Bad::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: signature_algorithm_id.clone(),
            supported_algorithms: Vec::new(),
        },
        Bad::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            public_key_algorithm_id: SECRET.to_vec(),
        },
        Bad::NotValidForName,
        Bad::NotValidForNameContext {
            expected: ServerName::try_from("some.host").expect("a name"),
            presented: vec!["DnsName(\"other.host\")".into()],
        },
        Bad::InvalidPurpose,
        Bad::InvalidPurposeContext {
            required: ExtendedKeyPurpose::ClientAuth,
            presented: vec![
                ExtendedKeyPurpose::ServerAuth,
                ExtendedKeyPurpose::Other(vec![1, 3, 6]),
            ],
        },
        Bad::InvalidOcspResponse,
        Bad::ApplicationVerificationFailure,
        Bad::Other(other("CaUsedAsEndEntity")),
        Bad::Other(other("NameConstraintViolation")),
        Bad::Other(other("SomeThingNewOfTheVerifier { bytes: [17, 34, 51] }")),
        Bad::Other(other("")),
    ]
}

fn lists() -> Vec<List> {
    vec![
        List::BadSignature,
        List::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: SECRET.to_vec(),
            supported_algorithms: Vec::new(),
        },
        List::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: SECRET.to_vec(),
            public_key_algorithm_id: SECRET.to_vec(),
        },
        List::InvalidCrlNumber,
        List::InvalidRevokedCertSerialNumber,
        List::IssuerInvalidForCrl,
        List::Other(other("SomeThing")),
        List::ParseError,
        List::UnsupportedCrlVersion,
        List::UnsupportedCriticalExtension,
        List::UnsupportedDeltaCrl,
        List::UnsupportedIndirectCrl,
        List::UnsupportedRevocationReason,
    ]
}

fn all() -> Vec<Error> {
    let incompatible = [
        PeerIncompatible::NoCipherSuitesInCommon,
        PeerIncompatible::NoKxGroupsInCommon,
        PeerIncompatible::NoSignatureSchemesInCommon,
        PeerIncompatible::ServerDoesNotSupportTls12Or13,
        PeerIncompatible::Tls12NotOffered,
        PeerIncompatible::UncompressedEcPointsRequired,
        PeerIncompatible::ServerRejectedEncryptedClientHello(None),
    ];
    let mut all = vec![
        Error::InappropriateMessage {
            expect_types: vec![ContentType::Handshake],
            got_type: ContentType::ApplicationData,
        },
        Error::InappropriateHandshakeMessage {
            expect_types: vec![HandshakeType::ClientHello],
            got_type: HandshakeType::ServerHello,
        },
        Error::InvalidEncryptedClientHello(EncryptedClientHelloError::SniRequired),
        Error::InvalidMessage(InvalidMessage::MissingData("SomeThing")),
        Error::InvalidMessage(InvalidMessage::DuplicateExtension(17)),
        Error::InvalidMessage(InvalidMessage::InvalidContentType),
        Error::NoCertificatesPresented,
        Error::UnsupportedNameType,
        Error::DecryptError,
        Error::EncryptError,
        Error::PeerMisbehaved(PeerMisbehaved::AttemptedDowngradeToTls12WhenTls13IsSupported),
        Error::PeerMisbehaved(PeerMisbehaved::SignedKxWithWrongAlgorithm),
        Error::General("something".into()),
        Error::FailedToGetCurrentTime,
        Error::FailedToGetRandomBytes,
        Error::HandshakeNotComplete,
        Error::PeerSentOversizedRecord,
        Error::NoApplicationProtocol,
        Error::BadMaxFragmentSize,
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch),
        Error::Other(other("something")),
    ];
    all.extend((0..=255).map(|code| Error::AlertReceived(AlertDescription::from(code))));
    all.extend(incompatible.map(Error::PeerIncompatible));
    all.extend(certificates().into_iter().map(Error::InvalidCertificate));
    all.extend(lists().into_iter().map(Error::InvalidCertRevocationList));
    all
}

fn check(said: &str) {
    let plain = |it: &[u8]| !(it[0].is_ascii_lowercase() && it[1].is_ascii_uppercase());
    assert!(said.as_bytes().windows(2).all(plain), "{said}");
    assert!(said.contains(' ') && !said.contains("()"), "{said}");
    assert!(!said.contains(['[', '{']) && !said.contains("17"), "{said}");
}

#[test]
fn each_error_of_rustls_is_a_sentence_without_names_of_variants_or_bytes() {
    for error in all() {
        if let Error::AlertReceived(alert) = &error
            && u8::from(*alert).to_string().contains("17")
        {
            continue;
        }
        check(&about(&error));
        check(&explain(&error, true).to_string());
    }
}

#[test]
fn verifiers_errors_are_told_apart() {
    let known = about_other("PathLenConstraintViolated");
    assert_eq!(known, "there are more CAs above it than one of them allows");
    let unknown = about_other("MalformedExtensions");
    assert_eq!(unknown, "it is not valid (malformed extensions)");
}
