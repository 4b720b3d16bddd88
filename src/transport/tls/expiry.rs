//! Warnings before this end's certificate expires.

use std::time::{Duration, SystemTime};

use super::{Tls, settings::Settings};
use crate::{task, transport::text::utc};

/// Two weeks: enough to renew a certificate by hand.
pub(super) const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 24 * 60 * 60);

impl Tls {
    /// Returns when this end's certificate expires, or one of its intermediates if that is earlier.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.settings().credentials.validity.1
    }

    /// Sets how long before its [expiry](Self::expires) a warning is emitted. Default: 14 days, or a third of the
    /// certificate's validity period if that is shorter.
    ///
    /// The warning (target `erps`) is emitted when a certificate comes into use: by
    /// [`from_files`](Self::from_files), [`from_pem`](Self::from_pem), this method,
    /// [`rotate`](Self::rotate) and [`reload`](Self::reload); and once a day while the files are
    /// [watched](Self::watch). An expired revocation list causes a warning in the same way.
    #[must_use]
    pub fn expiry_warning(self, before: Duration) -> Self {
        let changed = self.change(|options| options.expiry_warning = Some(before));
        changed.settings().warn();
        changed
    }
}

impl Settings {
    /// Warns of a certificate that expires soon or is not valid, of a CA certificate, and of expired revocation
    /// lists.
    pub(super) fn warn(&self) {
        let now = task::wall_clock();
        let (begins, ends) = self.credentials.validity;
        let before = self.options.expiry_warning.unwrap_or_else(|| {
            let period = ends.duration_since(begins).unwrap_or_default();
            EXPIRY_WARNING.min(period / 3)
        });
        let generation = self.generation;
        let clock = utc(now);
        let (not_before, not_after) = (utc(begins), utc(ends));
        match ends.duration_since(now) {
            Ok(left) if left > before => {}
            Ok(left) => tracing::warn!(
                target: "erps", generation, hours_left = left.as_secs() / 3600, not_after, clock,
                "this end's certificate expires soon"
            ),
            Err(_) => tracing::warn!(
                target: "erps", generation, not_after, clock,
                "this end's certificate has expired"
            ),
        }
        if now < begins {
            tracing::warn!(
                target: "erps", generation, not_before, clock,
                "this end's certificate is not valid yet"
            );
        }
        if self.credentials.identity.is_ca() {
            tracing::warn!(
                target: "erps", generation,
                "this end's certificate is that of a CA (CA:TRUE), which most peers reject: have the CA issue another, with CA:FALSE"
            );
        }
        for (issuer, next_update) in self.credentials.lists.expired(now) {
            let next_update = utc(next_update);
            tracing::warn!(
                target: "erps", generation, issuer, next_update, clock,
                "a revocation list has expired"
            );
        }
    }

    /// Warns once, when a server first presents a certificate without alternative names.
    pub(super) fn warn_of_missing_names(&self) {
        if !self.credentials.identity.can_be_verified_by_name() {
            self.missing_names_warning.call_once(|| {
                tracing::warn!(
                    target: "erps", generation = self.generation,
                    "this end's certificate has no alternative names (a common name does not count): clients that verify the server's name reject it"
                );
            });
        }
    }
}
