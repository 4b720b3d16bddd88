//! Why a certificate was not accepted, where rustls has no room for it.
//!
//! rustls chooses the alert that a peer is told by the variant of the error, and some variants say
//! nothing. What the verifier knows beyond it is left here, and found again before the poll that
//! verified the certificate returns.

use std::{
    cell::Cell,
    mem::{Discriminant, discriminant},
};

use rustls::{CertificateError, Error};

use crate::Untrusted;

thread_local! {
    static WHY: Cell<Option<(Discriminant<CertificateError>, Untrusted)>> = const { Cell::new(None) };
}

/// Leaves the reason for an error of the verifier.
pub(super) fn leave(error: CertificateError, why: Untrusted) -> Error {
    WHY.set(Some((discriminant(&error), why)));
    error.into()
}

/// Returns the reason that was left for this error on this thread.
pub(super) fn of(error: &CertificateError) -> Option<Untrusted> {
    let (of, why) = WHY.take()?;
    (of == discriminant(error)).then_some(why)
}
