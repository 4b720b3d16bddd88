//! The one sorting of what rustls reports.

use std::io;

use rustls::{CertificateError, Error, InvalidMessage};

use super::revocation::blamed;
use crate::{Alert, HandshakeError, Untrusted};

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
        error => HandshakeError::Protocol(error.to_string().into()),
    }
}

fn distrust(error: &CertificateError) -> Untrusted {
    match error {
        CertificateError::UnknownIssuer => Untrusted::UnknownIssuer,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Untrusted::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Untrusted::NotYetValid
        }
        CertificateError::Revoked => Untrusted::Revoked,
        CertificateError::InvalidOcspResponse => blamed(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Untrusted::WrongPurpose
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => Untrusted::WrongName {
            expected: expected.to_str().into_owned(),
            presented: presented.iter().map(|name| bare(name)).collect(),
        },
        CertificateError::Other(error) => match error.0.downcast_ref::<Untrusted>() {
            Some(refused) => refused.clone(),
            None => Untrusted::BadCertificate(error.to_string()),
        },
        error => Untrusted::BadCertificate(error.to_string()),
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
