//! How long a restart waits.

use std::time::{Duration, Instant};

use crate::{Backoff, task};

/// How long a restart waits. OTP has none: it restarts at once, until it gives up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartDelay {
    /// Not at all. The default, as in OTP.
    #[default]
    None,
    /// Always this long.
    Fixed(Duration),
    /// Between nothing and a bound that doubles with each restart of the same child, drawn anew each
    /// time, until it has run for as long as `stable`.
    Growing {
        /// Up to how long.
        backoff: Backoff,
        /// After this long without a restart it begins anew.
        stable: Duration,
    },
}

/// How often one child was restarted lately.
#[derive(Debug, Default)]
pub(super) struct Unrest {
    restarts: u32,
    last: Option<Instant>,
}

impl Unrest {
    /// Counts a restart; tells how long it is to wait.
    pub(super) fn restart(&mut self, delay: RestartDelay) -> Duration {
        match delay {
            RestartDelay::None => Duration::ZERO,
            RestartDelay::Fixed(pause) => pause,
            RestartDelay::Growing { backoff, stable } => {
                let now = task::now();
                if self.last.is_some_and(|last| now - last >= stable) {
                    self.restarts = 0;
                }
                let pause = task::random_below(backoff.bound(self.restarts));
                self.restarts = self.restarts.saturating_add(1);
                // It cannot run, and be stable, before the pause is over.
                self.last = now.checked_add(pause);
                pause
            }
        }
    }
}
