//! Which certificates were taken back, and until when the lists of them are good.

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

/// The lists in use, the newest first: of two of one CA the first is asked.
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

    /// The issuers of the lists whose time is up, and when it was.
    pub(super) fn expired(&self, now: SystemTime) -> impl Iterator<Item = (&str, SystemTime)> {
        let expired = self.0.iter().filter(move |list| list.next_update < now);
        expired.map(|list| (list.issuer.as_str(), list.next_update))
    }

    /// Where a list is to blame and not the certificate, says so in our words, and sees to it that
    /// the peer is told something that leaves it free to come back. See [`blame`].
    pub(super) fn sort(&self, error: Error) -> Error {
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
        blame(why)
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
            .map_err(|_| "it is damaged, or no revocation list")?;
        let next_update = list.next_update();
        let next_update = next_update.ok_or("it does not say until when it is good")?;
        Ok(Self {
            issuer: distinguished(list.issuer()),
            this_update: system_time(list.last_update()),
            next_update: system_time(next_update),
            der,
        })
    }
}

/// Makes an error that becomes `bad_certificate_status_response` at the peer: that there is no telling
/// whether its certificate was revoked. rustls would say `unknown_ca`, upon which clients give up for
/// good, though the fault is this end's, and will be repaired here.
fn blame(why: Untrusted) -> Error {
    reason::leave(CertificateError::InvalidOcspResponse, why)
}
