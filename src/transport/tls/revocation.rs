//! Certificate revocation lists, and their expiry.

use std::{sync::Arc, time::SystemTime};

use rustls::{
    CertificateError, Error,
    pki_types::{CertificateRevocationListDer, UnixTime},
};
use x509_parser::{prelude::FromDer as _, revocation_list::CertificateRevocationList};

use super::{fault::about_list, pem::Fault, reason};
use crate::{
    Untrusted,
    transport::{
        identity::{distinguished, system_time},
        text::since_epoch,
    },
};

/// The lists in use, newest first: of two lists of one CA the first is used.
#[derive(Clone, Default)]
pub(super) struct Lists(Arc<[List]>);

struct List {
    der: CertificateRevocationListDer<'static>,
    issuer: String,
    this_update: SystemTime,
    next_update: SystemTime,
}

impl Lists {
    pub(super) fn new(ders: Vec<CertificateRevocationListDer<'static>>) -> Result<Self, Fault> {
        let lists: Result<Vec<_>, _> = ders.into_iter().map(List::new).collect();
        let mut lists = lists?;
        lists.sort_by_key(|list| std::cmp::Reverse(list.this_update));
        Ok(Self(lists.into()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn ders(&self) -> impl Iterator<Item = CertificateRevocationListDer<'static>> {
        self.0.iter().map(|list| list.der.clone())
    }

    /// Returns the issuers of the expired lists, and when they expired.
    pub(super) fn expired(&self, now: SystemTime) -> impl Iterator<Item = (&str, SystemTime)> {
        let expired = self.0.iter().filter(move |list| list.next_update < now);
        expired.map(|list| (list.issuer.as_str(), list.next_update))
    }

    /// Replaces an error that is about a list, not about the certificate, by one that lets the peer try again.
    /// See [`unknown_status`].
    pub(super) fn map_error(&self, error: Error) -> Error {
        let why = match &error {
            Error::InvalidCertificate(CertificateError::ExpiredRevocationListContext {
                next_update,
                ..
            }) => self.expired_at(*next_update),
            Error::InvalidCertificate(CertificateError::UnknownRevocationStatus) => {
                Untrusted::RevocationUnknown("no revocation list covers it or its issuers".into())
            }
            Error::InvalidCertRevocationList(why) => Untrusted::RevocationUnknown(format!(
                "a revocation list cannot be used: {}",
                about_list(why)
            )),
            _ => return error,
        };
        unknown_status(why)
    }

    fn expired_at(&self, next_update: UnixTime) -> Untrusted {
        let next_update = since_epoch(next_update.as_secs());
        let mut lists = self.0.iter();
        let list = lists.find(|list| list.next_update == next_update);
        Untrusted::RevocationListExpired {
            issuer: list.map(|list| list.issuer.clone()).unwrap_or_default(),
            next_update,
        }
    }
}

impl List {
    fn new(der: CertificateRevocationListDer<'static>) -> Result<Self, Fault> {
        let (_, list) = CertificateRevocationList::from_der(&der)
            .map_err(|_| "it is damaged, or not a revocation list")?;
        let next_update = list.next_update();
        let next_update = next_update.ok_or("it has no expiry (nextUpdate)")?;
        Ok(Self {
            issuer: distinguished(list.issuer()),
            this_update: system_time(list.last_update()),
            next_update: system_time(next_update),
            der,
        })
    }
}

/// Returns an error for which rustls sends the alert `bad_certificate_status_response`: the revocation status is
/// unknown. By default rustls would send `unknown_ca`, which clients take for permanent, although the fault is
/// this end's.
fn unknown_status(why: Untrusted) -> Error {
    reason::store(CertificateError::InvalidOcspResponse, why)
}
