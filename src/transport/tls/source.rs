//! The inputs of a [`Tls`](super::Tls): reads and parses them, with a reason for each error.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer},
    server::ParsedCertificate,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{
    PeerIdentity, TlsError,
    fault::about,
    pem::{Fault, Kind, Section, Sections, looks_like_contents, why_no_section, without_mark},
    revocation::Lists,
};

/// All inputs of a `Tls`.
#[derive(Clone, PartialEq)]
pub(super) struct Sources {
    pub(super) ca: Source,
    pub(super) certificate: Source,
    pub(super) key: Source,
    pub(super) lists: Option<Source>,
}

impl Sources {
    /// Reads the files again; inputs given as text are unchanged.
    pub(super) fn read_again(&self) -> Result<Self, TlsError> {
        let all = [&self.ca, &self.certificate, &self.key];
        if !all
            .into_iter()
            .chain(&self.lists)
            .any(|it| it.path.is_some())
        {
            return Err(TlsError::NoFiles);
        }
        let lists = self.lists.as_ref().map(Source::read_again);
        Ok(Self {
            ca: self.ca.read_again()?,
            certificate: self.certificate.read_again()?,
            key: self.key.read_again()?,
            lists: lists.transpose()?,
        })
    }
}

/// A PEM text, and its name in errors.
#[derive(Clone, PartialEq)]
pub(super) struct Source {
    role: &'static str,
    path: Option<PathBuf>,
    pem: Vec<u8>,
}

impl Source {
    pub(super) fn given(role: &'static str, pem: &[u8]) -> Self {
        Self {
            role,
            path: None,
            pem: pem.to_vec(),
        }
    }

    pub(super) fn file(role: &'static str, path: &Path) -> Result<Self, TlsError> {
        let pem = fs::read(path).map_err(|source| {
            if looks_like_contents(path.as_os_str().as_encoded_bytes()) {
                return TlsError::NotAPath { role };
            }
            TlsError::Unreadable {
                role,
                path: path.to_owned(),
                source: Arc::new(source),
            }
        })?;
        Ok(Self {
            role,
            path: Some(path.to_owned()),
            pem,
        })
    }

    fn read_again(&self) -> Result<Self, TlsError> {
        match &self.path {
            Some(path) => Self::file(self.role, path),
            None => Ok(self.clone()),
        }
    }

    pub(super) fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let all = self.certificates(|why| TlsError::NoCa {
            what: self.name(),
            why,
        })?;
        for (certificate, number) in all.into_iter().zip(1..) {
            roots
                .add(certificate)
                .map_err(|error| self.bad_certificate(number, &about(&error)))?;
        }
        Ok(roots)
    }

    pub(super) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        self.certificates(|why| TlsError::NoCertificate {
            what: self.name(),
            why,
        })
    }

    /// Returns the identity of the chain's first certificate, and the validity period of the whole chain.
    pub(super) fn validity_of(
        &self,
        chain: &[CertificateDer<'_>],
    ) -> Result<(PeerIdentity, (SystemTime, SystemTime)), TlsError> {
        let unreadable = |error| self.bad_certificate(1, &format!("it is {error}"));
        let own = PeerIdentity::from_der(&chain[0]).map_err(unreadable)?;
        let mut validity = (own.not_before(), own.not_after());
        for (der, number) in chain[1..].iter().zip(2..) {
            match PeerIdentity::from_der(der) {
                Ok(issuer) => {
                    validity.0 = validity.0.max(issuer.not_before());
                    validity.1 = validity.1.min(issuer.not_after());
                }
                // Peers may support it, or not need it.
                Err(_) if is_certificate(der) => {}
                // Certificates are sent to peers, and these bytes might be a secret.
                Err(error) => return Err(self.bad_certificate(number, &format!("it is {error}"))),
            }
        }
        Ok((own, validity))
    }

    fn bad_certificate(&self, number: usize, why: &str) -> TlsError {
        match number {
            1 => self.unusable(why.to_owned()),
            _ => self.unusable(format!("certificate number {number} in it: {why}")),
        }
    }

    pub(super) fn lists(&self) -> Result<Lists, TlsError> {
        let lists = self.of_kind(Kind::RevocationList, |why| TlsError::NoRevocationList {
            what: self.name(),
            why,
        })?;
        let lists = lists.into_iter().map(CertificateRevocationListDer::from);
        Lists::new(lists.collect()).map_err(|why| self.unusable(why))
    }

    fn certificates(
        &self,
        none: impl FnOnce(String) -> TlsError,
    ) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let ders = self.of_kind(Kind::Certificate, none)?;
        Ok(ders.into_iter().map(CertificateDer::from).collect())
    }

    /// Returns the contents of all sections of a kind; `none` makes the error if there is no such section.
    fn of_kind(
        &self,
        kind: Kind,
        none: impl FnOnce(String) -> TlsError,
    ) -> Result<Vec<Vec<u8>>, TlsError> {
        let text = match without_mark(&self.pem) {
            Ok(text) => text,
            Err(why) => return Err(none(why.into_owned())),
        };
        let sections = Sections::of(text);
        if let Some(why) = sections.fault {
            return Err(self.unusable(why));
        }
        let (wanted, others): (Vec<_>, Vec<_>) =
            sections.all.iter().partition(|it| it.kind == kind);
        if wanted.is_empty() {
            return Err(none(instead(kind, &others, text)));
        }
        let ders: Result<_, _> = wanted.into_iter().map(Section::der).collect();
        ders.map_err(|why| self.unusable(why))
    }

    /// Returns the first key. Ignores what follows it.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let none = |why| TlsError::NoPrivateKey {
            what: self.name(),
            why,
        };
        let text = without_mark(&self.pem).map_err(|why| none(why.into_owned()))?;
        let Sections { all, fault } = Sections::of(text);
        let Some(section) = all.iter().find(|it| it.kind == Kind::PrivateKey) else {
            return Err(match fault {
                Some(why) => self.unusable(why),
                None if all.iter().any(|it| it.kind == Kind::EncryptedKey) => {
                    TlsError::EncryptedKey(self.name())
                }
                None => none(instead(
                    Kind::PrivateKey,
                    &all.iter().collect::<Vec<_>>(),
                    text,
                )),
            });
        };
        let der = section.der().map_err(|why| self.unusable(why))?;
        PrivateKeyDer::try_from(der)
            .map_err(|_| self.unusable("it is damaged, or not a private key"))
    }

    pub(super) fn unusable(&self, why: impl Into<Fault>) -> TlsError {
        TlsError::Unusable {
            what: self.name(),
            why: why.into().into_owned(),
        }
    }

    pub(super) fn name(&self) -> String {
        match &self.path {
            Some(path) => format!("{} file {}", self.role, path.display()),
            None => format!("{} PEM", self.role),
        }
    }
}

/// Describes the contents of a text that lacks a section of the needed kind.
fn instead(kind: Kind, others: &[&Section<'_>], text: &[u8]) -> String {
    let needed = match kind {
        Kind::Certificate => "`-----BEGIN CERTIFICATE-----`",
        Kind::RevocationList => "`-----BEGIN X509 CRL-----`",
        _ => "`-----BEGIN PRIVATE KEY-----`, `RSA PRIVATE KEY` or `EC PRIVATE KEY`",
    };
    let mut names: Vec<_> = others.iter().map(|it| it.kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return why_no_section(text).into_owned();
    }
    let found = names.join(" and ");
    format!("it has {found} instead, and needs a section {needed}")
}

fn is_certificate(der: &CertificateDer<'_>) -> bool {
    ParsedCertificate::try_from(der).is_ok()
        || X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty())
}

/// Describes the kind of a valid key that the provider does not support.
pub(super) fn key_fault(key: &PrivateKeyDer<'_>) -> String {
    // The object identifiers of algorithms and curves, as encoded in a key.
    const KINDS: [(&[u8], &str); 13] = [
        (b"\x2b\x81\x04\x00\x23", "P-521"),
        (b"\x2b\x81\x04\x00\x0a", "secp256k1"),
        (b"\x2b\x81\x04\x00\x21", "P-224"),
        (b"\x2b\x24\x03\x03\x02\x08\x01", "Brainpool"),
        (b"\x2a\x86\x48\xce\x3d\x03\x01\x07", "P-256"),
        (b"\x2b\x81\x04\x00\x22", "P-384"),
        (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", "RSA"),
        (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "RSA-PSS"),
        (b"\x2a\x86\x48\xce\x38\x04\x01", "DSA"),
        (b"\x2b\x65\x71", "Ed448"),
        (b"\x2b\x65\x70", "Ed25519"),
        (b"\x2b\x65\x6e", "X25519"),
        (b"\x2b\x65\x6f", "X448"),
    ];
    let der = key.secret_der();
    let found = match key {
        PrivateKeyDer::Pkcs1(_) => Some("RSA"),
        _ => {
            let has = |oid: &[u8]| {
                let length = u8::try_from(oid.len()).unwrap_or_default();
                let oid = [&[6, length], oid].concat();
                // Brainpool's curves differ in the last byte, which is not compared.
                der.windows(oid.len())
                    .any(|it| it[0] == 6 && it[2..] == oid[2..])
            };
            KINDS
                .iter()
                .find(|(oid, _)| has(oid))
                .map(|(_, kind)| *kind)
        }
    };
    let kind = found.map_or_else(
        || "it is of an unknown kind".to_owned(),
        |kind| format!("it is a key of the kind {kind}"),
    );
    format!(
        "{kind}, and damaged or not supported: RSA of 2048 to 4096 bits, ECDSA with P-256 or P-384, and Ed25519 are"
    )
}
