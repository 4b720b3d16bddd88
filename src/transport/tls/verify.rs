//! Verifies peers: first the certificate chain, then the name or the user's check.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, ProducesTickets,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{PeerIdentity, credentials::Credentials, reason, revocation::Lists};
use crate::{
    BoxError, Untrusted,
    transport::{
        identity::distinguished,
        text::{sentence, shown, some},
    },
};

/// The function given to [`check_peer`](crate::Tls::check_peer).
pub(super) type Check = Arc<dyn Fn(&PeerIdentity) -> Result<(), BoxError> + Send + Sync>;

/// Verifies servers for a client, and clients for a server.
pub(super) struct Verifier {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    clients: Arc<dyn ClientCertVerifier>,
    servers: Option<Arc<WebPkiServerVerifier>>,
    lists: Lists,
    check: Option<Check>,
}

impl Verifier {
    pub(super) fn new(credentials: &Credentials, check: Option<Check>) -> Self {
        Self {
            roots: Arc::clone(&credentials.roots),
            algorithms: credentials.provider.signature_verification_algorithms,
            clients: Arc::clone(&credentials.clients),
            servers: credentials.servers.clone(),
            lists: credentials.lists.clone(),
            check,
        }
    }

    /// Checks the chain against the revocation lists. rustls has no separate function for it: its server verifier
    /// checks the name last, so a wrong name means that the chain is not revoked.
    fn check_revocation(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let Some(servers) = &self.servers else {
            return Ok(());
        };
        match servers.verify_server_cert(end_entity, intermediates, server_name, &[], now) {
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(()),
            Err(error) => Err(self.lists.map_error(error)),
        }
    }

    /// Calls the user's check, if there is one. The identity must be readable in any case, because the connection's
    /// [`PeerInfo`](crate::PeerInfo) contains it.
    fn check_identity(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let Ok(peer) = PeerIdentity::from_der(certificate) else {
            return Err(CertificateError::BadEncoding.into());
        };
        let Some(check) = &self.check else {
            return Ok(());
        };
        check(&peer).map_err(|why| {
            let why = Untrusted::Check(sentence(&why.to_string()));
            CertificateError::Other(OtherError(Arc::new(why))).into()
        })
    }

    /// Adds the unknown issuer to an error, which rustls does not report.
    fn explained(
        &self,
        error: Error,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Error {
        let Error::InvalidCertificate(error @ CertificateError::UnknownIssuer) = error else {
            return error;
        };
        let (subject, issuer) = unknown_issuer(end_entity, intermediates).unwrap_or_default();
        let roots = self.roots.len();
        let why = Untrusted::UnknownIssuer {
            subject,
            issuer,
            roots,
        };
        reason::store(error, why)
    }
}

/// Returns the subject of a certificate, and the issuer at the end of its chain.
fn unknown_issuer(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Option<(String, String)> {
    let read = |der| X509Certificate::from_der(der).ok().map(|(_, it)| it);
    let own = read(end_entity)?;
    let mut others: Vec<_> = intermediates.iter().filter_map(|it| read(it)).collect();
    let mut last = own.clone();
    while let Some(above) = others
        .iter()
        .position(|it| it.subject().as_raw() == last.issuer().as_raw())
    {
        last = others.swap_remove(above);
    }
    Some((distinguished(own.subject()), distinguished(last.issuer())))
}

/// Adds the certificate's names to an error about a wrong name.
fn wrong_name(
    error: Error,
    end_entity: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
) -> Error {
    let Error::InvalidCertificate(
        error @ (CertificateError::NotValidForName
        | CertificateError::NotValidForNameContext { .. }),
    ) = error
    else {
        return error;
    };
    let names = PeerIdentity::from_der(end_entity).map(|peer| {
        let addresses = peer.ip_addresses().iter().map(ToString::to_string);
        let names = peer.dns_names().iter().cloned().chain(addresses);
        some(names.chain(peer.uris().iter().cloned()))
    });
    let (presented, more) = names.unwrap_or_default();
    let why = Untrusted::WrongName {
        expected: shown(&server_name.to_str()),
        presented,
        more,
    };
    reason::store(error, why)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )
        .map_err(|error| self.explained(error, end_entity, intermediates))?;
        self.check_revocation(end_entity, intermediates, server_name, now)?;
        if self.check.is_none() {
            verify_server_name(&certificate, server_name)
                .map_err(|error| wrong_name(error, end_entity, server_name))?;
        }
        self.check_identity(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .clients
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(|error| {
                self.explained(self.lists.map_error(error), end_entity, intermediates)
            })?;
        self.check_identity(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("check", &self.check.is_some())
            .finish_non_exhaustive()
    }
}

/// Produces session tickets that cannot be used for resumption.
///
/// A TLS 1.3 server sends a ticket right after it has verified the client's certificate: the signal that a client
/// waits for. With a lifetime of zero the client discards it, and the server accepts no ticket.
#[derive(Debug)]
pub(super) struct UnusableTicket;

impl ProducesTickets for UnusableTicket {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _session: &[u8]) -> Option<Vec<u8>> {
        Some(b"accepted".to_vec())
    }

    fn decrypt(&self, _ticket: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
