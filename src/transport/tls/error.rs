//! Errors of creating a [`Tls`](super::Tls).

use std::{io, path::PathBuf, sync::Arc};

use rustls::Error;

use super::fault::about;

/// Why a [`Tls`](crate::Tls) could not be created: which input is invalid, and why.
///
/// Neither the text nor `Debug` contains any part of the input, which may be a private key.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {role} file {}: {source}", .path.display())]
    Unreadable {
        /// The expected content, `private key` for instance.
        role: &'static str,
        /// The given path.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The given path looks like the contents of a file. It is not shown: it may be a private key.
    #[error(
        "the path of the {role} file is not a path, but looks like the contents of a file: use `from_pem` for contents"
    )]
    NotAPath {
        /// The expected content.
        role: &'static str,
    },
    /// The input for the CA has no certificate.
    #[error("the {what} holds no CA: {why}")]
    NoCa {
        /// The input, and its path if it came from a file.
        what: String,
        /// What it has instead.
        why: String,
    },
    /// The input for this end's certificate has none.
    #[error("the {what} holds no certificate: {why}")]
    NoCertificate {
        /// The input, and its path if it came from a file.
        what: String,
        /// What it has instead.
        why: String,
    },
    /// The input for the private key has none.
    #[error("the {what} holds no private key: {why}")]
    NoPrivateKey {
        /// The input, and its path if it came from a file.
        what: String,
        /// What it has instead.
        why: String,
    },
    /// The input for the revocation lists has none.
    #[error("the {what} holds no revocation list: {why}")]
    NoRevocationList {
        /// The input, and its path if it came from a file.
        what: String,
        /// What it has instead.
        why: String,
    },
    /// There is nothing to reload: all inputs were given as text.
    #[error("there is no file to reload: all inputs were given as text")]
    NoFiles,
    /// The private key is encrypted with a password.
    #[error(
        "the {0} is encrypted, which is not supported: decrypt it first, with `openssl pkey` for instance"
    )]
    EncryptedKey(String),
    /// The private key belongs to another certificate.
    #[error(
        "the {key} does not belong to the {certificate}: its first certificate must be the key's"
    )]
    KeyMismatch {
        /// The certificate, and its path if it came from a file.
        certificate: String,
        /// The key, and its path if it came from a file.
        key: String,
    },
    /// The input is damaged, or of an unsupported kind.
    #[error("the {what} cannot be used: {why}")]
    Unusable {
        /// The input, and its path if it came from a file.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The crypto provider lacks something that TLS needs.
    #[error("the crypto provider cannot be used: {0}")]
    Provider(String),
}

impl TlsError {
    pub(super) fn provider(error: Error) -> Self {
        Self::Provider(about(&error))
    }
}
