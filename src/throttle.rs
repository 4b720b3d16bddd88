//! Rate limiting of log messages by kind. Pure: the caller passes the time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Passes the first message of each kind at once, and then one summary per interval.
///
/// Each kind is stored, so there must be few.
#[derive(Debug)]
pub(crate) struct Throttle<K> {
    interval: Duration,
    kinds: BTreeMap<K, Recent>,
}

#[derive(Debug)]
struct Recent {
    /// When a message or a summary of this kind was logged last.
    logged: Instant,
    /// How many were suppressed since then.
    suppressed: u64,
}

impl<K: Copy + Ord> Throttle<K> {
    pub(crate) fn new(interval: Duration) -> Self {
        let kinds = BTreeMap::new();
        Self { interval, kinds }
    }

    /// Returns whether a message of this kind is to be logged now. If not, it is counted.
    pub(crate) fn admits(&mut self, kind: K, now: Instant) -> bool {
        let interval = self.interval;
        let recent = self.kinds.get_mut(&kind);
        match recent {
            Some(recent) if recent.suppressed > 0 || !recent.is_over(now, interval) => {
                recent.suppressed += 1;
                false
            }
            _ => {
                self.kinds.insert(kind, Recent::new(now));
                true
            }
        }
    }

    /// Returns when the next summary is due.
    pub(crate) fn next_summary(&self) -> Option<Instant> {
        let waiting = self.kinds.values().filter(|it| it.suppressed > 0);
        let due = waiting.filter_map(|it| it.logged.checked_add(self.interval));
        due.min()
    }

    /// Returns the kinds whose summaries are due, and how many messages of each were suppressed.
    pub(crate) fn summaries(&mut self, now: Instant) -> Vec<(K, u64)> {
        let interval = self.interval;
        self.take(now, |it| it.is_over(now, interval))
    }

    /// Returns the summaries that are not due yet as well.
    pub(crate) fn all_summaries(&mut self, now: Instant) -> Vec<(K, u64)> {
        self.take(now, |_| true)
    }

    fn take(&mut self, now: Instant, is_due: impl Fn(&Recent) -> bool) -> Vec<(K, u64)> {
        let mut due = Vec::new();
        for (kind, recent) in &mut self.kinds {
            if recent.suppressed > 0 && is_due(recent) {
                due.push((*kind, recent.suppressed));
                *recent = Recent::new(now);
            }
        }
        due
    }
}

impl Recent {
    fn new(logged: Instant) -> Self {
        Self {
            logged,
            suppressed: 0,
        }
    }

    fn is_over(&self, now: Instant, interval: Duration) -> bool {
        now.saturating_duration_since(self.logged) >= interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_of_each_kind_is_admitted_and_the_others_are_counted() {
        let start = Instant::now();
        let mut throttle = Throttle::new(10 * SECOND);
        assert!(throttle.admits('a', start));
        assert_eq!(throttle.next_summary(), None);
        assert!(!throttle.admits('a', start + SECOND));
        assert!(!throttle.admits('a', start + 2 * SECOND));
        assert!(throttle.admits('b', start + 3 * SECOND));
        let due = start + 10 * SECOND;
        assert_eq!(throttle.next_summary(), Some(due));
        assert_eq!(throttle.summaries(due - SECOND), []);
        assert_eq!(throttle.summaries(due), [('a', 2)]);
        assert_eq!(throttle.next_summary(), None);
    }

    #[test]
    fn a_summary_begins_another_interval() {
        let start = Instant::now();
        let mut throttle = Throttle::new(10 * SECOND);
        assert!(throttle.admits((), start));
        assert!(!throttle.admits((), start));
        assert_eq!(throttle.summaries(start + 10 * SECOND).len(), 1);
        assert!(!throttle.admits((), start + 19 * SECOND));
        // Late, it is still a summary and not another message.
        assert!(!throttle.admits((), start + 99 * SECOND));
        assert_eq!(throttle.summaries(start + 99 * SECOND), [((), 2)]);
        assert!(throttle.admits((), start + 109 * SECOND));
    }

    #[test]
    fn nothing_that_was_suppressed_is_lost_at_the_end() {
        let start = Instant::now();
        let mut throttle = Throttle::new(10 * SECOND);
        assert!(throttle.admits((), start));
        assert_eq!(throttle.all_summaries(start), []);
        assert!(!throttle.admits((), start));
        assert_eq!(throttle.all_summaries(start), [((), 1)]);
    }
}
