//! The crypto provider: *ring* or aws-lc-rs, chosen by feature.

use std::sync::Arc;

use rustls::{Error, crypto::CryptoProvider, server::ProducesTickets};

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
use rustls::crypto::aws_lc_rs as crypto;
#[cfg(feature = "ring")]
use rustls::crypto::ring as crypto;

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
compile_error!(
    "erps needs a crypto provider for TLS: enable its feature `ring` (the default) or `aws-lc-rs`"
);

/// Returns the provider that all configurations name. The provider installed for the process is neither used
/// nor changed.
pub(super) fn new() -> CryptoProvider {
    crypto::default_provider()
}

/// Returns an encrypter for session tickets, with a new key.
pub(super) fn ticketer() -> Result<Arc<dyn ProducesTickets>, Error> {
    crypto::Ticketer::new()
}

/// Returns the SHA-256 of `bytes`; `None` if the provider lacks it.
pub(in crate::transport) fn sha256(bytes: &[u8]) -> Option<[u8; 32]> {
    let suite = crypto::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13()?;
    let digest = suite.common.hash_provider.hash(bytes);
    digest.as_ref().try_into().ok()
}
