//! Converts rustls' errors to plain sentences.
//!
//! Their own text has names of enum variants, and bytes of the input.

use std::io;

use rustls::{
    CertRevocationListError, CertificateError, Error, ExtendedKeyPurpose, InvalidMessage,
    PeerIncompatible,
};

use super::reason;
use crate::{
    Alert, HandshakeError, Untrusted,
    transport::text::{MOST, sentence, shown, since_epoch, some, spaced, words},
};

/// Converts the error of a stream, if it is rustls'. `spoke_tls` is true if the peer has sent a valid TLS record.
pub(super) fn handshake_error(error: &io::Error, spoke_tls: bool) -> Option<HandshakeError> {
    let error = error.get_ref()?.downcast_ref()?;
    Some(explain(error, spoke_tls))
}

fn explain(error: &Error, spoke_tls: bool) -> HandshakeError {
    match error {
        Error::AlertReceived(alert) => HandshakeError::Refused(Alert::new(u8::from(*alert))),
        Error::NoCertificatesPresented => HandshakeError::Untrusted(Untrusted::NoCertificate),
        Error::InvalidCertificate(error) => HandshakeError::Untrusted(untrusted(error)),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::InvalidEmptyPayload
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::UnknownProtocolVersion,
        ) if !spoke_tls => HandshakeError::NotTls,
        error => HandshakeError::Protocol(about(error).into()),
    }
}

/// Returns why a certificate is not trusted: the verifier's detailed reason if there is one, else rustls'.
fn untrusted(error: &CertificateError) -> Untrusted {
    if let Some(why) = reason::take(error) {
        return why;
    }
    match error {
        CertificateError::UnknownIssuer => Untrusted::UnknownIssuer {
            subject: String::new(),
            issuer: String::new(),
            roots: 0,
        },
        CertificateError::ExpiredContext { time, not_after } => Untrusted::Expired {
            not_after: since_epoch(not_after.as_secs()),
            now: since_epoch(time.as_secs()),
        },
        CertificateError::NotValidYetContext { time, not_before } => Untrusted::NotYetValid {
            not_before: since_epoch(not_before.as_secs()),
            now: since_epoch(time.as_secs()),
        },
        CertificateError::Revoked => Untrusted::Revoked,
        CertificateError::InvalidOcspResponse
        | CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            Untrusted::RevocationUnknown(about_certificate(error))
        }
        CertificateError::InvalidPurposeContext {
            required,
            presented,
        } => Untrusted::WrongPurpose {
            required: purpose(required),
            presented: presented.iter().take(MOST).map(purpose).collect(),
        },
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let (presented, more) = some(presented.iter().map(|name| bare(name)));
            Untrusted::WrongName {
                expected: shown(&expected.to_str()),
                presented,
                more,
            }
        }
        CertificateError::Other(error) => match error.0.downcast_ref::<Untrusted>() {
            Some(refused) => refused.clone(),
            None => match error.to_string().as_str() {
                "CaUsedAsEndEntity" => Untrusted::CaCertificate,
                other => Untrusted::BadCertificate(about_other(other)),
            },
        },
        error => Untrusted::BadCertificate(about_certificate(error)),
    }
}

/// Returns the name in rustls' text for it: `localhost` in `DnsName("localhost")`.
fn bare(presented: &str) -> String {
    let name = match presented.split_once('(') {
        Some((_, name)) => name.trim_end_matches(')'),
        None => presented,
    };
    name.trim_matches('"').to_owned()
}

fn purpose(purpose: &ExtendedKeyPurpose) -> String {
    match purpose {
        ExtendedKeyPurpose::Other(identifier) => {
            let parts = identifier.iter().take(MOST).map(usize::to_string);
            parts.collect::<Vec<_>>().join(".")
        }
        known => known.to_string(),
    }
}

/// Describes an error, as a clause without a final full stop.
pub(super) fn about(error: &Error) -> String {
    match error {
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the peer sent an unexpected message".into()
        }
        Error::InvalidMessage(why) => {
            format!(
                "the peer sent a message that cannot be read ({})",
                words(why)
            )
        }
        Error::PeerIncompatible(why) => about_incompatible(why),
        Error::PeerMisbehaved(why) => {
            format!("the peer violated the TLS protocol ({})", words(why))
        }
        Error::AlertReceived(alert) => {
            let alert = Alert::new(u8::from(*alert));
            format!("{}: {alert}: {}", alert.summary(), alert.meaning())
        }
        Error::InvalidCertificate(error) => about_certificate(error),
        Error::InvalidCertRevocationList(error) => about_list(error),
        Error::NoCertificatesPresented => "the peer presented no certificate".into(),
        Error::UnsupportedNameType => "the name of the server is of an unsupported kind".into(),
        Error::DecryptError => {
            "a message of the peer cannot be decrypted: it was altered on the way".into()
        }
        Error::EncryptError => "a message cannot be encrypted".into(),
        Error::InvalidEncryptedClientHello(why) => {
            format!("the encrypted client hello cannot be used ({})", words(why))
        }
        Error::PeerSentOversizedRecord => "the peer sent a record that is too long".into(),
        Error::HandshakeNotComplete => "the handshake is not complete".into(),
        Error::NoApplicationProtocol => "both ends have no application protocol in common".into(),
        Error::FailedToGetCurrentTime => {
            "this end's clock cannot be read, or shows a time before 1970".into()
        }
        Error::FailedToGetRandomBytes => "the system gives no random numbers".into(),
        Error::BadMaxFragmentSize => "the size of fragments is out of range".into(),
        Error::InconsistentKeys(_) => "the private key does not belong to the certificate".into(),
        Error::General(why) => format!("the TLS library failed: {}", sentence(why)),
        Error::Other(why) => format!("the TLS library failed: {}", sentence(&why.to_string())),
        error => format!("the TLS library failed ({})", words(error)),
    }
}

fn about_incompatible(why: &PeerIncompatible) -> String {
    use PeerIncompatible as It;
    let what = match why {
        It::NoCipherSuitesInCommon => "no cipher",
        It::NoKxGroupsInCommon
        | It::NamedGroupsExtensionRequired
        | It::KeyShareExtensionRequired => "no key exchange",
        It::NoSignatureSchemesInCommon
        | It::NoCertificateRequestSignatureSchemesInCommon
        | It::SignatureAlgorithmsExtensionRequired => {
            return "both ends have no signature algorithm in common that fits the certificate's key".into();
        }
        It::ServerDoesNotSupportTls12Or13
        | It::ServerTlsVersionIsDisabledByOurConfig
        | It::SupportedVersionsExtensionRequired
        | It::Tls12NotOffered
        | It::Tls12NotOfferedOrEnabled => {
            return "both ends have no version of TLS in common: this end speaks 1.2 and 1.3"
                .into();
        }
        other => return format!("the peer's TLS does not fit this end's ({})", words(other)),
    };
    format!("both ends have {what} in common")
}

/// Describes what is wrong with a certificate, which the text calls `it`.
pub(super) fn about_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::BadEncoding => "it is damaged, or not a certificate",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired, or its validity period is invalid"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet"
        }
        CertificateError::Revoked => "it was revoked",
        CertificateError::UnhandledCriticalExtension => {
            "it has a critical extension that is not supported"
        }
        CertificateError::UnknownIssuer => "its issuer is unknown",
        CertificateError::UnknownRevocationStatus | CertificateError::InvalidOcspResponse => {
            "its revocation status is unknown"
        }
        CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            "the revocation list of its issuer has expired"
        }
        CertificateError::BadSignature => {
            "its signature, or that of the handshake, is wrong: it was altered, or its CA has the name of a trusted CA but another key"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it, or one of its issuers, has a signature or a key of a kind that is not supported (SHA-1 and RSA of less than 2048 bits are not)"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is not valid for the expected name"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its extended key usage does not allow this use"
        }
        CertificateError::ApplicationVerificationFailure => "a check of this end rejected it",
        CertificateError::Other(error) => return about_other(&error.to_string()),
        other => return format!("it is not valid ({})", words(other)),
    }
    .to_owned()
}

/// Describes an error of webpki, rustls' verifier, whose text is the name of a variant.
fn about_other(error: &str) -> String {
    match error.split(['(', ' ', '{']).next().unwrap_or_default() {
        "CaUsedAsEndEntity" => "it is that of a CA (CA:TRUE), which cannot be a peer's own",
        "EndEntityUsedAsCa" => {
            "the certificate of one of its issuers is not that of a CA (CA:TRUE is missing)"
        }
        "EmptyEkuExtension" => "its extended key usage allows nothing",
        "NameConstraintViolation" => "one of its issuers may not issue certificates for its names",
        "PathLenConstraintViolated" => "there are more CAs above it than one of them allows",
        "UnsupportedCertVersion" => "it is of an old version: X.509 version 3 is required",
        "MaximumPathDepthExceeded"
        | "MaximumPathBuildCallsExceeded"
        | "MaximumSignatureChecksExceeded"
        | "MaximumNameConstraintComparisonsExceeded" => "its chain of issuers is too long",
        "InvalidSerialNumber" => "its serial number is not valid",
        "SignatureAlgorithmMismatch" => "it names two signature algorithms",
        "CertDistrusted" => "its key is one that must not be trusted",
        name => {
            return match spaced(name).as_str() {
                "" => "it is not valid".to_owned(),
                words => format!("it is not valid ({words})"),
            };
        }
    }
    .to_owned()
}

/// Describes what is wrong with a revocation list, which the text calls `it`.
pub(super) fn about_list(error: &CertRevocationListError) -> String {
    match error {
        CertRevocationListError::BadSignature => {
            "its signature is wrong: it was altered, or comes from another CA with the same name"
        }
        CertRevocationListError::UnsupportedSignatureAlgorithmContext { .. }
        | CertRevocationListError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its signature is of a kind that is not supported"
        }
        CertRevocationListError::InvalidCrlNumber => "its number is not valid",
        CertRevocationListError::InvalidRevokedCertSerialNumber => {
            "it names a serial number that is not valid"
        }
        CertRevocationListError::IssuerInvalidForCrl => {
            "its issuer may not sign revocation lists: the CA's key usage must allow it"
        }
        CertRevocationListError::ParseError => "it is damaged, or not a revocation list",
        CertRevocationListError::UnsupportedCrlVersion => {
            "it is of an old version: version 2 is required"
        }
        CertRevocationListError::UnsupportedCriticalExtension => {
            "it has a critical extension that is not supported"
        }
        CertRevocationListError::UnsupportedDeltaCrl => {
            "it is a delta list, which is not supported: a complete list is required"
        }
        CertRevocationListError::UnsupportedIndirectCrl => {
            "it is an indirect list (of other CAs), which is not supported"
        }
        CertRevocationListError::UnsupportedRevocationReason => {
            "it is limited to some revocation reasons, which is not supported"
        }
        other => return format!("it is not valid ({})", words(other)),
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
