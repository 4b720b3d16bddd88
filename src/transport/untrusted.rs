//! Why a peer's certificate was rejected.

use std::{fmt, time::SystemTime};

use super::text::{List, utc};

/// Why this end rejected the peer's certificate.
///
/// Names are the peer's: they are escaped, and truncated to 256 bytes each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untrusted {
    /// The peer presented no certificate.
    #[error("it presented no certificate")]
    NoCertificate,
    /// No configured CA has issued the certificate.
    #[error("{}", unknown_issuer(.subject, .issuer, *.roots))]
    #[non_exhaustive]
    UnknownIssuer {
        /// The distinguished name of the certificate. Empty if it cannot be read.
        subject: String,
        /// The distinguished name of the unknown CA: the issuer of the certificate, or of the last intermediate
        /// that the peer sent. Empty if it cannot be read.
        issuer: String,
        /// The number of configured CAs.
        roots: usize,
    },
    /// The certificate, or one of its issuers', has expired. One of the clocks may be wrong.
    #[error(
        "its certificate, or one of its issuers', has expired: it was valid until {}, and this end's clock shows {}",
        utc(*.not_after), utc(*.now)
    )]
    #[non_exhaustive]
    Expired {
        /// The last moment at which it was valid.
        not_after: SystemTime,
        /// The time of this end's clock.
        now: SystemTime,
    },
    /// The certificate, or one of its issuers', is not valid yet. One of the clocks may be wrong.
    #[error(
        "its certificate, or one of its issuers', is not valid yet: it is valid from {}, and this end's clock shows {}",
        utc(*.not_before), utc(*.now)
    )]
    #[non_exhaustive]
    NotYetValid {
        /// The first moment at which it is valid.
        not_before: SystemTime,
        /// The time of this end's clock.
        now: SystemTime,
    },
    /// The certificate is not for the host that the client connects to. Its common name is ignored.
    #[error("{}", wrong_name(.expected, .presented, *.more))]
    #[non_exhaustive]
    WrongName {
        /// The name that the client expects.
        expected: String,
        /// The alternative names in the certificate, 16 at most.
        presented: Vec<String>,
        /// The number of further names.
        more: usize,
    },
    /// The certificate's extended key usage does not allow this use: a client presented a server's certificate, or
    /// the reverse.
    #[error(
        "its certificate may not be used for {required}: its extended key usage allows {}",
        usages(.presented)
    )]
    #[non_exhaustive]
    WrongPurpose {
        /// The required use: `server authentication` or `client authentication`.
        required: String,
        /// The allowed uses, 16 at most; object identifiers where there is no name.
        presented: Vec<String>,
    },
    /// The certificate is that of a CA, which is rejected as an end-entity certificate.
    #[error(
        "its certificate is that of a CA (basic constraints CA:TRUE, as `openssl req -x509` makes it), which cannot be a peer's own: have the CA issue another for the peer, with CA:FALSE"
    )]
    CaCertificate,
    /// The certificate, or one of its issuers', was revoked.
    #[error("its certificate was revoked")]
    Revoked,
    /// The revocation status is unknown, because a configured revocation list has expired. Update it on this end.
    #[error(
        "the revocation list of \"{issuer}\" has expired, so that no certificate of that CA is accepted: it should have been replaced by {}",
        utc(*.next_update)
    )]
    RevocationListExpired {
        /// The distinguished name of the CA that issued the list.
        issuer: String,
        /// When the list expired.
        next_update: SystemTime,
    },
    /// The revocation status is unknown for this reason. Update the revocation lists on this end.
    #[error("the revocation status of its certificate is unknown: {0}")]
    RevocationUnknown(String),
    /// [`check_peer`](crate::Tls::check_peer) returned an error with this text.
    #[error("{0}")]
    Check(String),
    /// The certificate is invalid, or the peer's signature with its key is.
    #[error("its certificate is not acceptable: {0}")]
    BadCertificate(String),
}

fn unknown_issuer(subject: &str, issuer: &str, roots: usize) -> String {
    let one = if roots == 1 { "CA" } else { "CAs" };
    let trusted = format!("none of the {roots} {one} that this end trusts");
    if issuer.is_empty() {
        format!("its certificate was issued by an unknown CA, {trusted}")
    } else if subject == issuer {
        format!(
            "its certificate (\"{subject}\") was issued by an unknown CA: it is self-signed, and is {trusted}"
        )
    } else {
        format!(
            "its certificate (\"{subject}\") was issued by an unknown CA: \"{issuer}\" is {trusted}, or the peer did not send an intermediate certificate"
        )
    }
}

fn wrong_name(expected: &str, presented: &[String], more: usize) -> impl fmt::Display {
    if presented.is_empty() {
        format!(
            "its certificate is not valid for \"{expected}\": it has no alternative names (a common name does not count), so that a server cannot use it"
        )
    } else {
        let names = List(presented, more);
        format!("its certificate is not valid for \"{expected}\", only for {names}")
    }
}

fn usages(presented: &[String]) -> String {
    match presented {
        [] => "nothing".to_owned(),
        uses => format!("{} only", uses.join(", ")),
    }
}
