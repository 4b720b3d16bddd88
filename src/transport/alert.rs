//! TLS alerts.

use std::fmt;

/// A TLS alert: the code with which a peer closes a connection, as in RFC 8446.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alert(u8);

impl Alert {
    /// Returns the alert with this code.
    #[must_use]
    pub const fn new(code: u8) -> Self {
        Self(code)
    }

    /// Returns the code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Returns the name in RFC 8446, or in the RFC that defines the alert. `unknown alert` for other codes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// Returns what the alert means, and what to do about it.
    pub(super) const fn meaning(self) -> &'static str {
        self.row().1
    }

    /// Returns what the peer did: rejected a certificate, rejected the connection, or closed it.
    pub(super) const fn summary(self) -> &'static str {
        match self.0 {
            41..=46 | 48 | 49 | 111 | 113 | 114 | 116 => "the peer rejected this end's certificate",
            0 | 90 => "the peer closed the connection",
            _ => "the peer rejected the connection",
        }
    }

    const fn row(self) -> (&'static str, &'static str) {
        match self.0 {
            0 => ("close_notify", "it has closed the connection"),
            10 => (
                "unexpected_message",
                "it received a message that it did not expect",
            ),
            20 => (
                "bad_record_mac",
                "it received data that was altered on the way",
            ),
            21 => (
                "decryption_failed",
                "it received data that it cannot decrypt",
            ),
            22 => ("record_overflow", "it received a record that is too long"),
            30 => (
                "decompression_failure",
                "it received data that it cannot decompress",
            ),
            40 => (
                "handshake_failure",
                "both ends have no cipher, key exchange or signature algorithm in common, or it requires a certificate",
            ),
            41 => ("no_certificate", "it received none"),
            42 => (
                "bad_certificate",
                "it is damaged, or is not for the name that the peer asked for, which must be among its alternative names",
            ),
            43 => (
                "unsupported_certificate",
                "it is not for this use: its extended key usage must allow a server's, or a client's",
            ),
            44 => ("certificate_revoked", "it was revoked"),
            45 => (
                "certificate_expired",
                "it has expired or is not valid yet by the peer's clock: compare its dates with the clocks of both ends",
            ),
            46 => (
                "certificate_unknown",
                "the peer has a check of its own, or gives no reason; a common reason is that it is the certificate of a CA",
            ),
            47 => (
                "illegal_parameter",
                "it received a message with a wrong or contradictory field",
            ),
            48 => (
                "unknown_ca",
                "it does not trust the CA that issued it, or an intermediate certificate is missing",
            ),
            49 => ("access_denied", "it is valid, but has no access"),
            50 => ("decode_error", "it received a message that it cannot read"),
            51 => (
                "decrypt_error",
                "it could not verify a signature or a key: a certificate may come from another CA with the same name",
            ),
            60 => ("export_restriction", "it enforces export restrictions"),
            70 => (
                "protocol_version",
                "both ends have no version of TLS in common: this end speaks 1.2 and 1.3",
            ),
            71 => (
                "insufficient_security",
                "it requires stronger ciphers than this end offers",
            ),
            80 => ("internal_error", "it has an internal error: see its log"),
            86 => (
                "inappropriate_fallback",
                "it supports a newer version of TLS than this end offered",
            ),
            90 => ("user_canceled", "its user has canceled the handshake"),
            100 => ("no_renegotiation", "it does not renegotiate"),
            109 => (
                "missing_extension",
                "it received a message without a field that it requires",
            ),
            110 => (
                "unsupported_extension",
                "it received a message with a field that it did not request",
            ),
            111 => (
                "certificate_unobtainable",
                "it could not fetch it from the address it received",
            ),
            112 => (
                "unrecognized_name",
                "it serves no host with the requested name: see `server_name`",
            ),
            113 => (
                "bad_certificate_status_response",
                "it cannot check whether it was revoked: its revocation list may be missing or expired",
            ),
            114 => (
                "bad_certificate_hash_value",
                "it is not the one that was announced",
            ),
            115 => ("unknown_psk_identity", "it does not know the shared key"),
            116 => ("certificate_required", "it requires one, and received none"),
            120 => (
                "no_application_protocol",
                "both ends have no application protocol in common",
            ),
            121 => ("ech_required", "it requires an encrypted client hello"),
            _ => ("unknown alert", "this library does not know its meaning"),
        }
    }

    /// Returns whether the peer most likely sends the alert again: it is about this end's certificate or
    /// settings, not about this connection.
    pub(super) const fn is_likely_permanent(self) -> bool {
        matches!(self.0, 40 | 42..=46 | 48 | 49 | 70 | 71 | 112 | 116 | 120)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}
