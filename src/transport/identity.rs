//! The identity of a peer, as read from its certificate.

mod name;

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

use super::{
    text::{List, some},
    tls::sha256,
};

pub(super) use name::distinguished;

/// The identity of a peer: the names and the validity of its certificate.
///
/// On a connection, the certificate was verified against the trusted CAs, and the peer has proved that it holds
/// the private key. Clones share one value. Two identities are equal if their certificates are.
#[derive(Clone)]
pub struct PeerIdentity(Arc<Fields>);

struct Fields {
    der: Vec<u8>,
    common_names: Vec<Option<String>>,
    basic: Basic,
    dns_names: Vec<String>,
    ip_addresses: Vec<IpAddr>,
    uris: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
    fingerprint: [u8; 32],
}

/// The permitted uses of a certificate.
#[derive(Clone, Copy)]
struct Basic {
    is_ca: bool,
    is_for_servers: bool,
}

impl PeerIdentity {
    /// Reads the identity in a DER-encoded certificate. Verifies nothing.
    ///
    /// # Errors
    ///
    /// [`UnreadableCertificate`] if the bytes are not exactly one X.509 certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, UnreadableCertificate> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| UnreadableCertificate::of(der))?;
        if !rest.is_empty() {
            return Err(UnreadableCertificate("other bytes follow it"));
        }
        let fingerprint =
            sha256(der).ok_or(UnreadableCertificate("the provider has no SHA-256"))?;
        let validity = certificate.validity();
        let mut fields = Fields {
            der: der.to_vec(),
            common_names: certificate
                .subject()
                .iter_common_name()
                .map(|it| name::text(it.attr_value()))
                .collect(),
            basic: Basic {
                is_ca: certificate.is_ca(),
                is_for_servers: true,
            },
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            uris: Vec::new(),
            not_before: system_time(validity.not_before),
            not_after: system_time(validity.not_after),
            fingerprint,
        };
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => {
                    names.general_names.iter().for_each(|name| fields.add(name));
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    fields.basic.is_for_servers = usage.server_auth || usage.any;
                }
                _ => {}
            }
        }
        Ok(Self(Arc::new(fields)))
    }

    /// Returns the subject's common name. Supports all string types of RFC 5280.
    ///
    /// Returns `None` if there are several ([`common_names`](Self::common_names)), or if it is empty, malformed,
    /// or has a control character. A `TeletexString` is read as Latin-1.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        match &*self.0.common_names {
            [Some(name)] => Some(name),
            _ => None,
        }
    }

    /// Returns the subject's common names, in the order of the certificate: from the most general to the most
    /// specific. Omits empty and malformed ones, and those with a control character.
    ///
    /// Active Directory, for instance, issues certificates to `DC=com, DC=example, CN=Users, CN=some
    /// user`.
    pub fn common_names(&self) -> impl Iterator<Item = &str> {
        self.0.common_names.iter().flatten().map(String::as_str)
    }

    /// Returns the name that logs show: the common name, or else the first DNS name or URI.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let alternative = || self.dns_names().first().or(self.uris().first());
        self.common_name()
            .or_else(|| alternative().map(String::as_str))
    }

    /// Returns the DNS names among the subject's alternative names. Omits names that are not plain ASCII.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.0.dns_names
    }

    /// Returns the IP addresses among the subject's alternative names.
    #[must_use]
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.0.ip_addresses
    }

    /// Returns the URIs among the subject's alternative names, SPIFFE ids for instance. Omits URIs that are not
    /// plain ASCII.
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.0.uris
    }

    /// Returns the first moment at which the certificate is valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.0.not_before
    }

    /// Returns the last moment at which the certificate is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }

    /// Returns the SHA-256 digest of the whole certificate, as `openssl x509 -fingerprint -sha256` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.0.fingerprint
    }

    /// Returns the DER-encoded certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// Returns whether it is the certificate of a CA, which peers reject as an end-entity certificate.
    pub(super) fn is_ca(&self) -> bool {
        self.0.basic.is_ca
    }

    /// Returns false if it is for servers and has no alternative name, so that clients cannot verify the name.
    pub(super) fn can_be_verified_by_name(&self) -> bool {
        let named = !self.0.dns_names.is_empty() || !self.0.ip_addresses.is_empty();
        named || !self.0.basic.is_for_servers
    }
}

impl Fields {
    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.extend(name::ascii_name(name)),
            GeneralName::URI(uri) => self.uris.extend(name::ascii_name(uri)),
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
    /// Truncates the names: a peer chooses their number and length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = |names: &mut dyn Iterator<Item = String>| Names(some(names));
        let it = &self.0;
        f.debug_struct("PeerIdentity")
            .field(
                "common_names",
                &cut(&mut it.common_names.iter().flatten().cloned()),
            )
            .field("dns_names", &cut(&mut it.dns_names.iter().cloned()))
            .field(
                "ip_addresses",
                &cut(&mut it.ip_addresses.iter().map(IpAddr::to_string)),
            )
            .field("uris", &cut(&mut it.uris.iter().cloned()))
            .finish_non_exhaustive()
    }
}

struct Names((Vec<String>, usize));

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (names, more) = &self.0;
        write!(f, "[{}]", List(names, *more))
    }
}

/// The error for bytes that are not a readable X.509 certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableCertificate(&'static str);

impl UnreadableCertificate {
    /// Describes the bytes without showing any.
    fn of(bytes: &[u8]) -> Self {
        Self(if bytes.is_empty() {
            "there are no bytes"
        } else if bytes.windows(11).any(|it| it == b"-----BEGIN ") {
            "it is PEM: decode it to DER first"
        } else {
            "it is damaged, or other DER data"
        })
    }
}

impl fmt::Display for UnreadableCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a readable X.509 certificate: {}", self.0)
    }
}

impl Error for UnreadableCertificate {}
