//! Growing delays between attempts.

use std::time::Duration;

/// Exponential back-off with full jitter: a random delay between zero and a bound that doubles with
/// every failure.
///
/// The jitter keeps clients that lost the same server from reconnecting at the same time. Default: up to
/// 100 milliseconds after the first failure, doubling up to 30 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

const SHORTEST: Duration = Duration::from_millis(1);

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Returns delays of up to `base` after the first failure, doubling up to `cap`. Both count as a millisecond if
    /// they are shorter: without any delay, attempts would keep the executor busy with nothing else.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap }
    }

    /// Returns the bound of the delay, given the number of failures before the last one.
    pub(crate) fn bound(self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        let (base, cap) = (self.base.max(SHORTEST), self.cap.max(SHORTEST));
        base.saturating_mul(factor).min(cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_and_stays_at_the_cap() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let bounds: Vec<_> = (0..6).map(|n| backoff.bound(n).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.bound(u32::MAX), Duration::from_secs(1));
    }

    #[test]
    fn the_bound_is_never_zero_and_grows_from_a_base_of_zero() {
        let backoff = Backoff::new(Duration::ZERO, Duration::from_secs(1));
        assert_eq!(backoff.bound(0), SHORTEST);
        assert_eq!(backoff.bound(20), Duration::from_secs(1));
        assert_eq!(
            Backoff::new(Duration::MAX, Duration::ZERO).bound(9),
            SHORTEST
        );
        assert_eq!(
            Backoff::new(Duration::MAX, Duration::MAX).bound(9),
            Duration::MAX
        );
    }
}
