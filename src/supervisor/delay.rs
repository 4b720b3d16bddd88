//! Delays before restarts.

use std::time::{Duration, Instant};

use crate::{Backoff, task};

/// The delay before a restart. OTP has none: it restarts at once, up to `max_restarts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartDelay {
    /// No delay. The default, as in OTP.
    #[default]
    None,
    /// A constant delay.
    Fixed(Duration),
    /// A random delay between zero and a bound that doubles with each restart of the same child, until
    /// it has run for `stable`.
    Growing {
        /// The bounds.
        backoff: Backoff,
        /// The bound is reset after this long without a restart.
        stable: Duration,
    },
}

/// The recent restarts of one child, from which its next delay is computed.
#[derive(Debug, Default)]
pub(super) struct RestartDelays {
    restarts: u32,
    last: Option<Instant>,
}

impl RestartDelays {
    /// Counts a restart and returns its delay.
    pub(super) fn next(&mut self, delay: RestartDelay) -> Duration {
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
                // The child cannot run, and be stable, before the delay has passed.
                self.last = now.checked_add(pause);
                pause
            }
        }
    }
}
