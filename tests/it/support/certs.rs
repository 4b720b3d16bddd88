//! Certificates, made in memory when they are wanted.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use erps::Tls;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

/// A certificate authority that signs whatever it is asked to.
#[derive(Debug)]
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM form.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Ca {
    /// An authority with a name and a key of its own.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let mut params = CertificateParams::default();
        let name = format!("test authority {}", NUMBER.fetch_add(1, Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Its certificate, for those who trust it.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Vouches for these DNS names and IP addresses, the first of which is the common name. Good
    /// for servers and clients.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.sign(params(names))
    }

    /// Like [`issue`](Self::issue), but long out of date.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Issued {
        let mut params = params(names);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(params)
    }

    /// Like [`issue`](Self::issue), but no good for a server.
    pub(crate) fn issue_for_clients_only(&self, names: &[&str]) -> Issued {
        let mut params = params(names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// Vouches for somebody who has a name and a URI, and no host.
    pub(crate) fn issue_client(&self, common_name: &str, uri: &str) -> Issued {
        let mut params = params(&[]);
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params
            .subject_alt_names
            .push(SanType::URI(uri.try_into().unwrap()));
        self.sign(params)
    }

    /// A transport that trusts this authority and presents a certificate of it for `names`.
    pub(crate) fn tls(&self, names: &[&str]) -> Tls {
        self.tls_with(&self.issue(names))
    }

    /// A transport that trusts this authority and presents `own`.
    pub(crate) fn tls_with(&self, own: &Issued) -> Tls {
        Tls::from_pem(self.pem(), &own.certificate, &own.key).unwrap()
    }

    fn sign(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        Issued {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names.clone()).unwrap();
    if let Some(name) = names.into_iter().next() {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params
}
