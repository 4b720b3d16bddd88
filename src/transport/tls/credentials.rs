//! What an end is given: the CA to trust, and a certificate and key of its own.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    ClientConfig, ConfigBuilder, Error, InconsistentKeys, RootCertStore, ServerConfig,
    WantsVerifier,
    client::WebPkiServerVerifier,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{PeerIdentity, revocation::Lists};

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
use rustls::crypto::aws_lc_rs as crypto;
#[cfg(feature = "ring")]
use rustls::crypto::ring as crypto;

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
compile_error!(
    "erps needs a crypto provider for TLS: enable its feature `ring` (the default) or `aws-lc-rs`"
);

/// Everything that has been verified, from which configurations are made without fail.
///
/// The provider stands in it by name: which one the process has installed, if any, is of no
/// interest and is never changed.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) sources: Arc<Sources>,
    /// When this end's own chain begins to be valid, and when it ends.
    pub(super) life: (SystemTime, SystemTime),
    pub(super) lists: Lists,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) roots: Arc<RootCertStore>,
    pub(super) own: Arc<SingleCertAndKey>,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    /// Where there are revocation lists.
    pub(super) servers: Option<Arc<WebPkiServerVerifier>>,
    pub(super) client: ConfigBuilder<ClientConfig, WantsVerifier>,
    pub(super) server: ConfigBuilder<ServerConfig, WantsVerifier>,
}

impl Credentials {
    pub(super) fn new(sources: Sources) -> Result<Self, TlsError> {
        let sources = Arc::new(sources);
        let Sources {
            ca,
            certificate,
            key,
            lists: list,
        } = &*sources;
        let provider = Arc::new(crypto::default_provider());
        let roots = Arc::new(ca.roots()?);
        let chain = certificate.chain()?;
        let life = certificate.life_of(&chain)?;
        let own =
            CertifiedKey::from_der(chain, key.key()?, &provider).map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyMismatch {
                    certificate: certificate.name(),
                    key: key.name(),
                },
                Error::InvalidCertificate(error) => certificate.unusable(error),
                error => key.unusable(error),
            })?;
        let lists = list.as_ref().map(Source::lists).transpose()?;
        let lists = lists.unwrap_or_default();
        // The CA has proved usable: it has roots.
        let to_blame = list.as_ref().unwrap_or(ca);
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .with_crls(lists.ders())
                .enforce_revocation_expiration()
                .build()
                .map_err(|error| to_blame.unusable(error))?;
        let servers =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .with_crls(lists.ders())
                .enforce_revocation_expiration()
                .build()
                .map_err(|error| to_blame.unusable(error))?;
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions();
        Ok(Self {
            life,
            servers: (!lists.is_empty()).then_some(servers),
            lists,
            provider,
            roots,
            own: Arc::new(SingleCertAndKey::from(own)),
            clients,
            client: client.map_err(TlsError::provider)?,
            server: server.map_err(TlsError::provider)?,
            sources,
        })
    }

    /// What encrypts the sessions that a server's clients keep for it, with a key that is new.
    pub(super) fn ticketer(&self) -> Result<Arc<dyn ProducesTickets>, TlsError> {
        crypto::Ticketer::new().map_err(TlsError::provider)
    }
}

/// The SHA-256 of `bytes`, computed by the provider.
pub(in crate::transport) fn sha256(bytes: &[u8]) -> Option<[u8; 32]> {
    let suite = crypto::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13()?;
    let digest = suite.common.hash_provider.hash(bytes);
    digest.as_ref().try_into().ok()
}

/// All that an end is given.
#[derive(Clone, PartialEq)]
pub(super) struct Sources {
    pub(super) ca: Source,
    pub(super) certificate: Source,
    pub(super) key: Source,
    pub(super) lists: Option<Source>,
}

impl Sources {
    /// What the files hold now; what came from none is as it was.
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

/// A PEM text, and how to call it when something is wrong with it.
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
        let pem = fs::read(path).map_err(|source| TlsError::Unreadable {
            role,
            path: path.to_owned(),
            source: Arc::new(source),
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

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots
                .add(certificate)
                .map_err(|error| self.unusable(error))?;
        }
        if roots.is_empty() {
            return Err(TlsError::NoCa(self.name()));
        }
        Ok(roots)
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let chain = self.certificates()?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate(self.name()));
        }
        Ok(chain)
    }

    /// A chain is valid as long as all of it are.
    fn life_of(&self, chain: &[CertificateDer<'_>]) -> Result<(SystemTime, SystemTime), TlsError> {
        let read = |der: &CertificateDer<'_>| PeerIdentity::from_der(der);
        let own = read(&chain[0]).map_err(|error| self.unusable(error))?;
        // Those who do not understand an intermediate may not need it.
        let issuers = chain[1..].iter().filter_map(|der| read(der).ok());
        let life = (own.not_before(), own.not_after());
        Ok(issuers.fold(life, |(begins, ends), it| {
            (begins.max(it.not_before()), ends.min(it.not_after()))
        }))
    }

    fn lists(&self) -> Result<Lists, TlsError> {
        let lists = CertificateRevocationListDer::pem_slice_iter(&self.pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.unusable(error))?;
        if lists.is_empty() {
            return Err(TlsError::NoRevocationList(self.name()));
        }
        Lists::new(lists).map_err(|why| self.unusable(why))
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        CertificateDer::pem_slice_iter(&self.pem)
            .collect::<Result<_, _>>()
            .map_err(|error| self.unusable(error))
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        const ENCRYPTED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
        PrivateKeyDer::from_pem_slice(&self.pem).map_err(|error| match error {
            pem::Error::NoItemsFound
                if self.pem.windows(ENCRYPTED.len()).any(|w| w == ENCRYPTED) =>
            {
                TlsError::EncryptedKey(self.name())
            }
            pem::Error::NoItemsFound => TlsError::NoPrivateKey(self.name()),
            error => self.unusable(error),
        })
    }

    fn unusable(&self, why: impl fmt::Display) -> TlsError {
        TlsError::Unusable {
            what: self.name(),
            why: why.to_string(),
        }
    }

    fn name(&self) -> String {
        match &self.path {
            Some(path) => format!("{} file {}", self.role, path.display()),
            None => format!("{} PEM", self.role),
        }
    }
}

/// Why a [`Tls`](crate::Tls) cannot be made. Each says which input is wrong, and what it lacks.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {role} file {}: {source}", .path.display())]
    Unreadable {
        /// What it was to hold.
        role: &'static str,
        /// Its path as it was given.
        path: PathBuf,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The text for the CA holds no certificate.
    #[error("the {0} holds no CA: it needs a section `-----BEGIN CERTIFICATE-----`")]
    NoCa(String),
    /// The text for this end's certificate holds none.
    #[error("the {0} holds no certificate: it needs a section `-----BEGIN CERTIFICATE-----`")]
    NoCertificate(String),
    /// The text for the private key holds none.
    #[error(
        "the {0} holds no private key: it needs a section `-----BEGIN PRIVATE KEY-----`, `RSA PRIVATE KEY` or `EC PRIVATE KEY`"
    )]
    NoPrivateKey(String),
    /// The text for the revocation lists holds none.
    #[error("the {0} holds no revocation list: it needs a section `-----BEGIN X509 CRL-----`")]
    NoRevocationList(String),
    /// There is nothing to be read again: everything was given as text.
    #[error("nothing of it came from a file, so that there is nothing to read again")]
    NoFiles,
    /// The private key is protected by a password.
    #[error("the {0} is encrypted: decrypt it first, with `openssl pkey` for instance")]
    EncryptedKey(String),
    /// The private key belongs to another certificate.
    #[error(
        "the {key} does not belong to the {certificate}; its first certificate must be the key's"
    )]
    KeyMismatch {
        /// The certificate, and its path if it came from a file.
        certificate: String,
        /// The key, and its path if it came from a file.
        key: String,
    },
    /// What was found is damaged, or of a kind that is not supported.
    #[error("the {what} cannot be used: {why}")]
    Unusable {
        /// Which input, and its path if it came from a file.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The crypto provider does not offer what TLS needs.
    #[error("the crypto provider cannot be used: {0}")]
    Provider(String),
}

impl TlsError {
    fn provider(error: Error) -> Self {
        Self::Provider(error.to_string())
    }
}
