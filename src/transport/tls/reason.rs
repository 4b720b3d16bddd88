//! Detailed reasons for rejected certificates, passed around rustls in a thread-local.
//!
//! rustls chooses the alert for the peer by the variant of the error, and some variants have no field for a reason.
//! The verifier stores the reason here, and it is taken before the poll that verified the certificate returns.

use std::{
    cell::Cell,
    mem::{Discriminant, discriminant},
};

use rustls::{CertificateError, Error};

use crate::Untrusted;

thread_local! {
    static REASON: Cell<Option<(Discriminant<CertificateError>, Untrusted)>> = const { Cell::new(None) };
}

/// Stores the reason for an error of the verifier, and returns the error.
pub(super) fn store(error: CertificateError, why: Untrusted) -> Error {
    REASON.set(Some((discriminant(&error), why)));
    error.into()
}

/// Takes the reason that was stored for this error on this thread.
pub(super) fn take(error: &CertificateError) -> Option<Untrusted> {
    let (of, why) = REASON.take()?;
    (of == discriminant(error)).then_some(why)
}
