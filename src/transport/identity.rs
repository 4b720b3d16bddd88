//! Who is at the other end, from the certificate it proved to hold the key of.

use std::{
    error::Error,
    fmt,
    hash::{Hash, Hasher},
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer as _,
    time::ASN1Time,
};

use super::tls::sha256;

/// The peer of a connection, as its certificate names it.
///
/// For the peer of a connection, a CA that this end trusts has vouched for all of it. Clones share
/// one value. Two identities are equal if they come from the same certificate.
#[derive(Clone)]
pub struct PeerIdentity(Arc<Fields>);

struct Fields {
    der: Vec<u8>,
    common_name: Option<String>,
    dns_names: Vec<String>,
    ip_addresses: Vec<IpAddr>,
    uris: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
    fingerprint: [u8; 32],
}

impl PeerIdentity {
    /// Reads the identity in a certificate in DER form. It verifies nothing.
    ///
    /// # Errors
    ///
    /// [`UnreadableCertificate`] if it is not an X.509 certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, UnreadableCertificate> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| UnreadableCertificate::new(&error))?;
        let fingerprint = sha256(der).ok_or(UnreadableCertificate(None))?;
        let validity = certificate.validity();
        let mut fields = Fields {
            der: der.to_vec(),
            common_name: certificate
                .subject()
                .iter_common_name()
                .find_map(|name| name.as_str().ok())
                .map(str::to_owned),
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            uris: Vec::new(),
            not_before: system_time(validity.not_before),
            not_after: system_time(validity.not_after),
            fingerprint,
        };
        for extension in certificate.extensions() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
                names.general_names.iter().for_each(|name| fields.add(name));
            }
        }
        Ok(Self(Arc::new(fields)))
    }

    /// The subject's common name. If there are several, the first.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.0.common_name.as_deref()
    }

    /// The DNS names among the subject's alternative names.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.0.dns_names
    }

    /// The IP addresses among the subject's alternative names.
    #[must_use]
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.0.ip_addresses
    }

    /// The URIs among the subject's alternative names, SPIFFE ids for instance.
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.0.uris
    }

    /// The first moment at which the certificate is valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.0.not_before
    }

    /// The last moment at which the certificate is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }

    /// The SHA-256 of the whole certificate, as `openssl x509 -fingerprint -sha256` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.0.fingerprint
    }

    /// The certificate in DER form, for what is not offered here.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }
}

impl Fields {
    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::IPAddress(bytes) => {
                if let Ok(bytes) = <[u8; 4]>::try_from(*bytes) {
                    self.ip_addresses.push(bytes.into());
                } else if let Ok(bytes) = <[u8; 16]>::try_from(*bytes) {
                    self.ip_addresses.push(bytes.into());
                }
            }
            _ => {}
        }
    }
}

pub(super) fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}

impl PartialEq for PeerIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for PeerIdentity {}

impl Hash for PeerIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.fingerprint.hash(state);
    }
}

impl fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerIdentity")
            .field("common_name", &self.0.common_name)
            .field("dns_names", &self.0.dns_names)
            .field("ip_addresses", &self.0.ip_addresses)
            .field("uris", &self.0.uris)
            .finish_non_exhaustive()
    }
}

/// The bytes are not an X.509 certificate that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableCertificate(Option<String>);

impl UnreadableCertificate {
    fn new(error: &dyn Error) -> Self {
        Self(Some(error.to_string()))
    }
}

impl fmt::Display for UnreadableCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a readable X.509 certificate")?;
        match &self.0 {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

impl Error for UnreadableCertificate {}
