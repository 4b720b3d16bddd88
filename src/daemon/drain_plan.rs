//! The deadlines of a drain or a shutdown. Pure: the caller passes the time.

use std::time::{Duration, Instant};

use crate::{Shutdown, task::FOR_EVER};

/// The longest time for which packets are still read. It covers the longest transit time of a call.
const MAX_READING: Duration = Duration::from_secs(1);
/// The longest time reserved for kills.
const MAX_KILLING: Duration = Duration::from_secs(1);

/// The deadlines of a drain or a shutdown.
#[derive(Clone, Copy, Debug)]
pub(super) struct DrainPlan {
    pub(super) began: Instant,
    /// True for a drain, false for a shutdown.
    pub(super) is_drain: bool,
    pub(super) read_until: Instant,
    pub(super) shut_down_at: Instant,
    /// `None` if the shutdown policy of the servers sets the limit.
    pub(super) kill_at: Option<Instant>,
}

impl DrainPlan {
    pub(super) fn drain(now: Instant, limit: Duration, policy: Shutdown) -> Self {
        let limit = limit.min(FOR_EVER);
        let killing = (limit / 16).min(MAX_KILLING);
        let shutdown = match policy {
            Shutdown::Within(time) => time.min(limit / 4 - killing),
            Shutdown::Infinity => limit / 4 - killing,
            Shutdown::BrutalKill => Duration::ZERO,
        };
        Self {
            began: now,
            is_drain: true,
            read_until: now + (limit / 8).min(MAX_READING),
            shut_down_at: now + (limit - killing - shutdown),
            kill_at: Some(now + (limit - killing)),
        }
    }

    /// For a shutdown: calls that have arrived are answered within `limit`, which is part of the time
    /// that the servers have by their policy.
    pub(super) fn shutdown(now: Instant, limit: Duration, policy: Shutdown) -> Self {
        let (limit, all) = match policy {
            Shutdown::BrutalKill => (Duration::ZERO, None),
            Shutdown::Within(all) => (limit.min(all - all / 4), Some(all.min(FOR_EVER))),
            Shutdown::Infinity => (limit, None),
        };
        Self {
            began: now,
            is_drain: false,
            read_until: now,
            shut_down_at: now + limit.min(FOR_EVER),
            kill_at: all.map(|all| now + all),
        }
    }

    /// Combines two plans: each deadline is the earlier one. The start stays that of the first.
    pub(super) fn earliest(self, other: Self) -> Self {
        Self {
            began: self.began,
            is_drain: self.is_drain || other.is_drain,
            read_until: self.read_until.min(other.read_until),
            shut_down_at: self.shut_down_at.min(other.shut_down_at),
            kill_at: self.kill_at.into_iter().chain(other.kill_at).min(),
        }
    }
}
