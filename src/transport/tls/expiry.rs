//! The end of this end's own certificate, said before it comes.

use std::time::{Duration, SystemTime};

use super::{Tls, settings::Settings};
use crate::{task, transport::text::utc};

/// Two weeks: time to find out who renews it, and for them to be on leave for one.
pub(super) const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 24 * 60 * 60);

impl Tls {
    /// When this end's own certificate ends, or the first of its intermediates.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.settings().credentials.life.1
    }

    /// How long before [its end](Self::expires) a certificate is warned of. Default: 14 days, or the
    /// last third of its life if that is shorter.
    ///
    /// The warning is an event of the target `erps`, sent when a certificate comes into use: by
    /// [`from_files`](Self::from_files), [`from_pem`](Self::from_pem), this method,
    /// [`rotate`](Self::rotate) or [`reload`](Self::reload); and once a day as long as the files are
    /// [watched](Self::watch). A revocation list whose time is up is warned of in the same way.
    #[must_use]
    pub fn expiry_warning(self, before: Duration) -> Self {
        let changed = self.change(|options| options.expiry_warning = Some(before));
        changed.settings().warn();
        changed
    }
}

impl Settings {
    /// Says so if something that is in use ends soon, or has ended.
    pub(super) fn warn(&self) {
        let now = task::wall_clock();
        let (begins, ends) = self.credentials.life;
        let before = self.options.expiry_warning.unwrap_or_else(|| {
            let life = ends.duration_since(begins).unwrap_or_default();
            EXPIRY_WARNING.min(life / 3)
        });
        let generation = self.generation;
        let clock = utc(now);
        let (not_before, not_after) = (utc(begins), utc(ends));
        match ends.duration_since(now) {
            Ok(left) if left > before => {}
            Ok(left) => tracing::warn!(
                target: "erps", generation, hours_left = left.as_secs() / 3600, not_after, clock,
                "this end's certificate ends soon"
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

    /// Says once that clients will reject the certificate, when it is first presented to one.
    pub(super) fn warn_as_server(&self) {
        if !self.credentials.identity.can_be_verified_by_name() {
            self.unnamed.call_once(|| {
                tracing::warn!(
                    target: "erps", generation = self.generation,
                    "this end's certificate has no alternative names (a common name does not count): clients that verify the server's name reject it"
                );
            });
        }
    }
}
