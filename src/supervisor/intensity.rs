//! The restart intensity. Pure: the caller passes the time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The recent restarts, limited to a number within a period.
#[derive(Clone, Debug)]
pub(crate) struct Intensity {
    max: usize,
    within: Duration,
    recent: VecDeque<Instant>,
}

impl Intensity {
    pub(crate) fn new(max: usize, within: Duration) -> Self {
        Self {
            max,
            within,
            recent: VecDeque::new(),
        }
    }

    /// Counts a restart at `now` and returns whether it is within the limit.
    ///
    /// As in OTP, a restart that is exactly as old as the period still counts.
    #[must_use]
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        while let Some(oldest) = self.recent.front()
            && now.duration_since(*oldest) > self.within
        {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.recent.len() <= self.max
    }

    /// Returns how many restarts are within the period.
    pub(crate) fn recent(&self) -> usize {
        self.recent.len()
    }
}

/// Three restarts within five seconds, as in Elixir.
impl Default for Intensity {
    fn default() -> Self {
        Self::new(3, Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn as_many_as_the_limit_are_allowed_and_not_one_more() {
        let now = Instant::now();
        let mut intensity = Intensity::new(3, 5 * SECOND);
        let allowed = [(); 4].map(|()| intensity.allows(now));
        assert_eq!(allowed, [true, true, true, false]);
    }

    #[test]
    fn with_a_limit_of_none_the_first_restart_is_too_many() {
        assert!(!Intensity::new(0, SECOND).allows(Instant::now()));
    }

    #[test]
    fn a_restart_counts_until_it_is_older_than_the_period() {
        let start = Instant::now();
        let outlived = SECOND + Duration::from_nanos(1);
        for (later, allowed) in [(SECOND, false), (outlived, true)] {
            let mut intensity = Intensity::new(1, SECOND);
            assert!(intensity.allows(start));
            assert_eq!(intensity.allows(start + later), allowed);
        }
    }

    #[test]
    fn restarts_at_a_steady_pace_below_the_limit_go_on_for_ever() {
        let start = Instant::now();
        let mut intensity = Intensity::new(2, 5 * SECOND);
        assert!((0..1000).all(|n| intensity.allows(start + n * 3 * SECOND)));
        assert!(intensity.recent.len() <= 2);
    }
}
