//! Why a [`Tls`](super::Tls) cannot be made.

use std::{io, path::PathBuf, sync::Arc};

use rustls::Error;

use super::fault::about;

/// Why a [`Tls`](crate::Tls) cannot be made. Each says which input is wrong, and what it lacks.
///
/// None repeats any part of an input, which may be a private key, in its text or its `Debug`.
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
    /// What was given as the path of a file is the text that a file holds, or something else that is
    /// no path. It is not shown: it may be a private key.
    #[error(
        "the path of the {role} file is no path, but looks like what the file holds: `from_pem` takes that"
    )]
    NotAPath {
        /// What the file was to hold.
        role: &'static str,
    },
    /// The text for the CA holds no certificate.
    #[error("the {what} holds no CA: {why}")]
    NoCa {
        /// Which input, and its path if it came from a file.
        what: String,
        /// What it holds instead.
        why: String,
    },
    /// The text for this end's certificate holds none.
    #[error("the {what} holds no certificate: {why}")]
    NoCertificate {
        /// Which input, and its path if it came from a file.
        what: String,
        /// What it holds instead.
        why: String,
    },
    /// The text for the private key holds none.
    #[error("the {what} holds no private key: {why}")]
    NoPrivateKey {
        /// Which input, and its path if it came from a file.
        what: String,
        /// What it holds instead.
        why: String,
    },
    /// The text for the revocation lists holds none.
    #[error("the {what} holds no revocation list: {why}")]
    NoRevocationList {
        /// Which input, and its path if it came from a file.
        what: String,
        /// What it holds instead.
        why: String,
    },
    /// There is nothing to be read again: everything was given as text.
    #[error("nothing of it came from a file, so that there is nothing to read again")]
    NoFiles,
    /// The private key is protected by a password.
    #[error(
        "the {0} is encrypted: its password cannot be asked for; decrypt it first, with `openssl pkey` for instance"
    )]
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
    pub(super) fn provider(error: Error) -> Self {
        Self::Provider(about(&error))
    }
}
