//! A certificate authority for tests, in memory.

#![expect(
    clippy::missing_panics_doc,
    reason = "what is not documented fails only with a broken provider"
)]

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ED25519, RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm, date_time_ymd,
};

use super::Tls;
use crate::Network;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate authority in memory, for tests. Needs the feature `test-ca`.
///
/// Every authority has its own name and key, and does not trust the certificates of others.
///
/// Keys are ECDSA with P-256, which all peers support. In a [simulated](crate::Universe::simulated) universe they
/// are Ed25519, whose signatures have a constant length. The bytes of a TLS connection still differ from run to
/// run, but their number does not: the same seed gives the same network [events](Network::events).
///
/// # Example
///
/// ```
/// use erps::TestCa;
///
/// let ca = TestCa::new();
/// let server = ca.tls(&["localhost"]);
/// let client = ca.tls(&["some client"]);
/// let late = ca.tls_with(&ca.request(&["late"]).expired().issue());
///
/// let thief = ca.issue(&["thief"]);
/// ca.revoke(&thief);
/// let server = server.revocation_lists(ca.revocation_list())?;
/// # Ok::<(), erps::TlsError>(())
/// ```
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
    algorithm: &'static SignatureAlgorithm,
    serial: u64,
    /// The certificates between this one and the root, in PEM form: none for a root.
    chain: String,
    revoked: Mutex<Vec<u64>>,
}

/// A certificate, its intermediates, and its private key, in PEM form.
#[derive(Clone)]
#[non_exhaustive]
pub struct TestCertificate {
    /// The certificate first, then its intermediates.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    serial: u64,
}

/// A certificate to be issued, made by [`TestCa::request`].
#[must_use = "nothing is issued until `issue` is called"]
pub struct TestRequest<'a> {
    ca: &'a TestCa,
    params: CertificateParams,
}

impl TestCa {
    /// Returns a self-signed authority.
    #[must_use]
    pub fn new() -> Self {
        let algorithm = match Network::current() {
            Some(_) => &PKCS_ED25519,
            None => &PKCS_ECDSA_P256_SHA256,
        };
        let (serial, params) = authority();
        let issuer = CertifiedIssuer::self_signed(params, key(algorithm)).expect("it may sign");
        Self {
            issuer,
            algorithm,
            serial,
            chain: String::new(),
            revoked: Mutex::default(),
        }
    }

    /// Returns an intermediate authority, signed by this one. The certificates it issues include its own as an
    /// intermediate.
    #[must_use]
    pub fn intermediate(&self) -> Self {
        let (serial, params) = authority();
        let issuer = CertifiedIssuer::signed_by(params, key(self.algorithm), &self.issuer);
        let issuer = issuer.expect("it may sign");
        Self {
            chain: issuer.pem() + &self.chain,
            issuer,
            algorithm: self.algorithm,
            serial,
            revoked: Mutex::default(),
        }
    }

    /// Returns the authority's own certificate in PEM form, for peers that trust it.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a certificate for these DNS names and IP addresses. The first is also the common name.
    ///
    /// It is valid for servers and clients, and at all times.
    ///
    /// # Panics
    ///
    /// If a name is not ASCII.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> TestCertificate {
        self.request(names).issue()
    }

    /// Returns a request for such a certificate as [`issue`](Self::issue) returns, to be modified before it is
    /// issued.
    ///
    /// # Panics
    ///
    /// If a name is not ASCII.
    pub fn request(&self, names: &[&str]) -> TestRequest<'_> {
        let owned: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(owned).expect("names in ASCII");
        if let Some(name) = names.first() {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        TestRequest { ca: self, params }
    }

    /// Returns a transport that trusts this authority and presents a certificate for `names`, issued by it.
    ///
    /// # Panics
    ///
    /// If a name is not ASCII.
    #[must_use]
    pub fn tls(&self, names: &[&str]) -> Tls {
        self.tls_with(&self.issue(names))
    }

    /// Returns a transport that trusts this authority and presents `own`.
    #[must_use]
    pub fn tls_with(&self, own: &TestCertificate) -> Tls {
        Tls::from_pem(self.pem(), &own.certificate, &own.key).expect("it is well made")
    }

    /// Revokes a certificate that this authority has issued. Later [revocation lists](Self::revocation_list)
    /// contain it.
    pub fn revoke(&self, certificate: &TestCertificate) {
        self.revoke_serial(certificate.serial);
    }

    /// Revokes the certificate of an [intermediate](Self::intermediate) authority.
    pub fn revoke_intermediate(&self, intermediate: &Self) {
        self.revoke_serial(intermediate.serial);
    }

    fn revoke_serial(&self, serial: u64) {
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.push(serial);
    }

    /// Returns a list of all certificates that this authority has revoked, in PEM form. Valid until 2069.
    #[must_use]
    pub fn revocation_list(&self) -> String {
        self.revocation_list_until(SystemTime::UNIX_EPOCH + 100 * 365 * DAY)
    }

    /// Returns a [`revocation_list`](Self::revocation_list) that expires at `next_update`.
    ///
    /// # Panics
    ///
    /// If the time is before 1981.
    #[must_use]
    pub fn revocation_list_until(&self, next_update: SystemTime) -> String {
        // Each list is newer than the previous one.
        let number = next_number();
        let long_ago = date_time_ymd(1980, 1, 1) + Duration::from_secs(number);
        let revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        let list = CertificateRevocationListParams {
            this_update: long_ago,
            next_update: date_time_ymd(1970, 1, 1) + since_epoch(next_update),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from(*serial),
                    revocation_time: long_ago,
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a time after 1981");
        list.pem().expect("it is well made")
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl TestRequest<'_> {
    /// Sets the common name. Default: the first of the names.
    pub fn common_name(mut self, name: &str) -> Self {
        self.params
            .distinguished_name
            .push(DnType::CommonName, name);
        self
    }

    /// Adds a URI to the alternative names, a SPIFFE id for instance.
    ///
    /// # Panics
    ///
    /// If it is not ASCII.
    pub fn uri(mut self, uri: &str) -> Self {
        let uri = uri.try_into().expect("a URI in ASCII");
        self.params.subject_alt_names.push(SanType::URI(uri));
        self
    }

    /// Sets the validity period, in whole seconds.
    pub fn valid(mut self, not_before: SystemTime, not_after: SystemTime) -> Self {
        let epoch = date_time_ymd(1970, 1, 1);
        self.params.not_before = epoch + since_epoch(not_before);
        self.params.not_after = epoch + since_epoch(not_after);
        self
    }

    /// Makes the certificate expired: it was valid in 2001.
    pub fn expired(mut self) -> Self {
        self.params.not_before = date_time_ymd(2001, 1, 1);
        self.params.not_after = date_time_ymd(2002, 1, 1);
        self
    }

    /// Makes the certificate not valid yet: it will be in 3001.
    pub fn not_yet_valid(mut self) -> Self {
        self.params.not_before = date_time_ymd(3001, 1, 1);
        self.params.not_after = date_time_ymd(3002, 1, 1);
        self
    }

    /// Restricts the certificate to clients, by its extended key usage.
    pub fn for_clients_only(mut self) -> Self {
        self.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self
    }

    /// Restricts the certificate to servers, by its extended key usage.
    pub fn for_servers_only(mut self) -> Self {
        self.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self
    }

    /// Issues the certificate.
    #[must_use]
    pub fn issue(mut self) -> TestCertificate {
        let (key, serial) = (key(self.ca.algorithm), next_serial());
        self.params.serial_number = Some(serial.into());
        let certificate = self.params.signed_by(&key, &self.ca.issuer);
        TestCertificate {
            certificate: certificate.expect("it may sign").pem() + &self.ca.chain,
            key: key.serialize_pem(),
            serial,
        }
    }
}

fn authority() -> (u64, CertificateParams) {
    let serial = next_serial();
    let mut params = CertificateParams::default();
    let name = format!("test authority {serial}");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial.into());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (serial, params)
}

fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).expect("the provider makes keys")
}

/// Returns a serial number. All have the same number of digits and bytes.
fn next_serial() -> u64 {
    100_000_000 + next_number()
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

fn since_epoch(time: SystemTime) -> Duration {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

impl fmt::Debug for TestCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCa")
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TestCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCertificate")
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TestRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRequest")
            .field("names", &self.params.subject_alt_names)
            .finish_non_exhaustive()
    }
}
