//! What rustls reports, in words of our own.
//!
//! Its own would show the names of its variants, and bytes of what it was given.

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

/// Says what an error of a stream means to the caller, if rustls has reported it. `understood`
/// tells whether the peer has said anything in TLS so far.
pub(super) fn reported(error: &io::Error, understood: bool) -> Option<HandshakeError> {
    let error = error.get_ref()?.downcast_ref()?;
    Some(explain(error, understood))
}

fn explain(error: &Error, understood: bool) -> HandshakeError {
    match error {
        Error::AlertReceived(alert) => HandshakeError::Refused(Alert::new(u8::from(*alert))),
        Error::NoCertificatesPresented => HandshakeError::Untrusted(Untrusted::NoCertificate),
        Error::InvalidCertificate(error) => HandshakeError::Untrusted(distrust(error)),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::InvalidEmptyPayload
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::UnknownProtocolVersion,
        ) if !understood => HandshakeError::NotTls,
        error => HandshakeError::Protocol(about(error).into()),
    }
}

/// Says why a certificate is not trusted: as the verifier has, which knows more, or as rustls has.
fn distrust(error: &CertificateError) -> Untrusted {
    if let Some(why) = reason::of(error) {
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

/// Takes the name out of what rustls makes of it: `DnsName("localhost")`.
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

/// Says what is wrong, in half a sentence about no one in particular.
pub(super) fn about(error: &Error) -> String {
    match error {
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the peer sent a message out of turn".into()
        }
        Error::InvalidMessage(why) => {
            format!(
                "the peer sent a message that cannot be read ({})",
                words(why)
            )
        }
        Error::PeerIncompatible(why) => about_incompatible(why),
        Error::PeerMisbehaved(why) => {
            format!("the peer broke a rule of TLS ({})", words(why))
        }
        Error::AlertReceived(alert) => {
            let alert = Alert::new(u8::from(*alert));
            format!("{}: {alert}: {}", alert.verdict(), alert.meaning())
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

/// Says what is wrong with a certificate, which is `it`.
pub(super) fn about_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::BadEncoding => "it is damaged, or no certificate",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired, or ends before it begins"
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
            "a signature of it, or of the handshake, is wrong: it was altered, or the CA that issued it has the name of a trusted one and another key"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it, or one of its issuers, has a signature or a key of a kind that is not supported (SHA-1 and RSA of less than 2048 bits are not)"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is not valid for the name that was asked for"
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

/// Says what the verifier below rustls means, whose words are the names of its variants.
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

/// Says what is wrong with a revocation list, which is `it`.
pub(super) fn about_list(error: &CertRevocationListError) -> String {
    match error {
        CertRevocationListError::BadSignature => {
            "its signature is wrong: it was altered, or comes from another CA of the same name"
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
        CertRevocationListError::ParseError => "it is damaged, or no revocation list",
        CertRevocationListError::UnsupportedCrlVersion => {
            "it is of an old version: version 2 is required"
        }
        CertRevocationListError::UnsupportedCriticalExtension => {
            "it has a critical extension that is not supported"
        }
        CertRevocationListError::UnsupportedDeltaCrl => {
            "it holds changes only, which is not supported: a complete list is required"
        }
        CertRevocationListError::UnsupportedIndirectCrl => {
            "it speaks for other CAs, which is not supported"
        }
        CertRevocationListError::UnsupportedRevocationReason => {
            "it is for some reasons of revocation only, which is not supported"
        }
        other => return format!("it is not valid ({})", words(other)),
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
