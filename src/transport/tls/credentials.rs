//! Verified credentials: trusted CAs, and this end's own certificate and key.

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

/// Verified credentials, from which rustls configurations are built.
///
/// The crypto provider is explicit: a provider installed for the process is neither used nor changed.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) sources: Arc<Sources>,
    /// The validity period of this end's whole chain.
    pub(super) validity: (SystemTime, SystemTime),
    /// This end's own certificate.
    pub(super) identity: PeerIdentity,
    pub(super) lists: Lists,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) roots: Arc<RootCertStore>,
    pub(super) own: Arc<SingleCertAndKey>,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    /// `None` without revocation lists.
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
        let (identity, validity) = certificate.validity_of(&chain)?;
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
        // The CA was verified above, so an error is about the lists.
        let faulty = list.as_ref().unwrap_or(ca);
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .with_crls(lists.ders())
                .enforce_revocation_expiration()
                .build()
                .map_err(|error| faulty.unusable(describe_builder_error(&error)))?;
        let servers =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .with_crls(lists.ders())
                .enforce_revocation_expiration()
                .build()
                .map_err(|error| faulty.unusable(describe_builder_error(&error)))?;
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions();
        Ok(Self {
            validity,
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

fn describe_builder_error(error: &VerifierBuilderError) -> String {
    match error {
        VerifierBuilderError::InvalidCrl(error) => about_list(error),
        _ => "it holds no CA".to_owned(),
    }
}
