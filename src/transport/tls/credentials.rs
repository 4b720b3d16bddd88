//! What an end is given: the CA to trust, and a certificate and key of its own.

use std::{sync::Arc, time::SystemTime};

use rustls::{
    ClientConfig, ConfigBuilder, Error, InconsistentKeys, RootCertStore, ServerConfig,
    WantsVerifier,
    client::WebPkiServerVerifier,
    crypto::CryptoProvider,
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    PeerIdentity, TlsError,
    fault::{about_certificate, about_list},
    provider,
    revocation::Lists,
    source::{Source, Sources, key_fault},
};

/// Everything that has been verified, from which configurations are made without fail.
///
/// The provider stands in it by name: which one the process has installed, if any, is of no
/// interest and is never changed.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) sources: Arc<Sources>,
    /// When this end's own chain begins to be valid, and when it ends.
    pub(super) life: (SystemTime, SystemTime),
    /// This end's own certificate.
    pub(super) identity: PeerIdentity,
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
        let provider = Arc::new(provider::new());
        let roots = Arc::new(ca.roots()?);
        let chain = certificate.chain()?;
        let (identity, life) = certificate.life_of(&chain)?;
        let key_der = key.key()?;
        let own =
            CertifiedKey::from_der(chain, key_der.clone_key(), &provider).map_err(|error| {
                match error {
                    Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                        TlsError::KeyMismatch {
                            certificate: certificate.name(),
                            key: key.name(),
                        }
                    }
                    Error::InvalidCertificate(error) => {
                        certificate.unusable(about_certificate(&error))
                    }
                    _ => key.unusable(key_fault(&key_der)),
                }
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
                .map_err(|error| to_blame.unusable(unbuilt(&error)))?;
        let servers =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .with_crls(lists.ders())
                .enforce_revocation_expiration()
                .build()
                .map_err(|error| to_blame.unusable(unbuilt(&error)))?;
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions();
        Ok(Self {
            life,
            identity,
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
}

fn unbuilt(error: &VerifierBuilderError) -> String {
    match error {
        VerifierBuilderError::InvalidCrl(error) => about_list(error),
        _ => "it holds no CA".to_owned(),
    }
}
