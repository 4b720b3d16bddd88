//! Why this end does not trust its peer.

use std::{fmt, time::SystemTime};

use super::text::{List, utc};

/// Why this end does not trust its peer.
///
/// The names in it are the peer's: they are escaped, and cut to 256 bytes each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untrusted {
    /// It presented no certificate.
    #[error("it presented no certificate")]
    NoCertificate,
    /// Its certificate comes from none of the CAs that this end was given.
    #[error("{}", unknown_issuer(.subject, .issuer, *.roots))]
    #[non_exhaustive]
    UnknownIssuer {
        /// The distinguished name of its certificate. Empty if it cannot be read.
        subject: String,
        /// The distinguished name of the CA that is not known: who issued its certificate, or the
        /// last of the intermediates it sent. Empty if it cannot be read.
        issuer: String,
        /// How many CAs this end was given.
        roots: usize,
    },
    /// Its certificate, or one of its issuers', is no longer valid. One of the clocks may be wrong.
    #[error(
        "its certificate, or one of its issuers', has expired: it was valid until {}, and this end's clock shows {}",
        utc(*.not_after), utc(*.now)
    )]
    #[non_exhaustive]
    Expired {
        /// The last moment at which it was valid.
        not_after: SystemTime,
        /// What this end's clock said.
        now: SystemTime,
    },
    /// Its certificate, or one of its issuers', is not valid yet. One of the clocks may be wrong.
    #[error(
        "its certificate, or one of its issuers', is not valid yet: it is from {} on, and this end's clock shows {}",
        utc(*.not_before), utc(*.now)
    )]
    #[non_exhaustive]
    NotYetValid {
        /// The first moment at which it is valid.
        not_before: SystemTime,
        /// What this end's clock said.
        now: SystemTime,
    },
    /// Its certificate is for other hosts than the one this client asked for. Its common name does
    /// not count.
    #[error("{}", wrong_name(.expected, .presented, *.more))]
    #[non_exhaustive]
    WrongName {
        /// The name the client asked for.
        expected: String,
        /// The alternative names in the certificate, 16 at most.
        presented: Vec<String>,
        /// How many more there are.
        more: usize,
    },
    /// Its certificate may not be used by this kind of peer: a server's by a client, or the
    /// reverse.
    #[error(
        "its certificate may not be used for {required}: its extended key usage allows {}",
        usages(.presented)
    )]
    #[non_exhaustive]
    WrongPurpose {
        /// The use it would need: `server authentication` or `client authentication`.
        required: String,
        /// The uses it is for, 16 at most. Those that have no name here are object identifiers.
        presented: Vec<String>,
    },
    /// Its certificate is that of a CA, which cannot be a peer's own.
    #[error(
        "its certificate is that of a CA (basic constraints CA:TRUE, as `openssl req -x509` makes it), which cannot be a peer's own: have the CA issue another for the peer, with CA:FALSE"
    )]
    CaCertificate,
    /// Its certificate, or one of its issuers', was revoked.
    #[error("its certificate was revoked")]
    Revoked,
    /// There is no telling whether its certificate was revoked: a revocation list that this end was
    /// given should have been replaced by another. The fault is this end's.
    #[error(
        "the revocation list of \"{issuer}\" has expired, so that no certificate of that CA is accepted: there should have been another by {}",
        utc(*.next_update)
    )]
    RevocationListExpired {
        /// Whose list it is: the distinguished name of a CA.
        issuer: String,
        /// When there should have been another.
        next_update: SystemTime,
    },
    /// There is no telling whether its certificate was revoked, for this reason. The fault is this
    /// end's.
    #[error("whether its certificate was revoked is unknown: {0}")]
    RevocationUnknown(String),
    /// [`check_peer`](crate::Tls::check_peer) refused it, with this text.
    #[error("{0}")]
    Check(String),
    /// Its certificate, or the proof that it holds the certificate's key, is wrong.
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
            "its certificate (\"{subject}\") was issued by an unknown CA: it is signed by itself, and is {trusted}"
        )
    } else {
        format!(
            "its certificate (\"{subject}\") was issued by an unknown CA: \"{issuer}\" is {trusted}, or the peer did not send a certificate between both"
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
