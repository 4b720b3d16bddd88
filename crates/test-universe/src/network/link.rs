//! Links between hosts: latency, bandwidth, window, partitions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::sim::Sim;

/// The default window: how many bytes of one direction of a connection may be in flight or unread. A writer waits beyond
/// it. About the initial value of Linux.
pub const WINDOW: usize = 64 * 1024;

/// The link between two hosts, or from a host to itself.
///
/// The default link has no latency and unlimited bandwidth.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use test_universe::{Network, Universe, network::Link};
///
/// Universe::simulated(1).run(async {
///     let network = Network::current().unwrap();
///     let far = Link::new()
///         .latency(Duration::from_millis(80))
///         .jitter(Duration::from_millis(5))
///         .bandwidth(1_000_000);
///     network.set_link("alpha", "beta", far);
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Link {
    latency: Duration,
    jitter: Duration,
    bandwidth: Option<u64>,
    pieces: Option<usize>,
    window: usize,
}

impl Link {
    /// Creates a link without latency, with unlimited bandwidth and a window of [`WINDOW`].
    pub const fn new() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            bandwidth: None,
            pieces: None,
            window: WINDOW,
        }
    }

    /// Sets the latency of one direction. Default: none.
    pub const fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Sets the largest additional latency, drawn for each write. Default: none.
    ///
    /// Bytes of one connection stay in order.
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the bytes per second of each direction, for all connections together. Default: unlimited. Zero counts as one.
    ///
    /// The data of one write arrives in parts. A part is what the link carries in ten milliseconds, or a 64th of the write if
    /// that is more; at most what it carries in a second, and at least a byte. So a time limit of some seconds distinguishes a
    /// slow link from a dead one, and a large write over a slow link is not read byte by byte.
    pub const fn bandwidth(mut self, bytes: u64) -> Self {
        self.bandwidth = Some(if bytes == 0 { 1 } else { bytes });
        self
    }

    /// Limits each read and each write to a random number of bytes up to this. Default: unlimited. Zero counts as one.
    pub const fn pieces(mut self, bytes: usize) -> Self {
        self.pieces = Some(if bytes == 0 { 1 } else { bytes });
        self
    }

    /// Sets how many bytes of one direction of a connection may be written and not yet read. Default: [`WINDOW`]. Zero counts
    /// as one.
    ///
    /// Reading frees the window at once. Bytes that a partition or a black hole holds back occupy it.
    pub const fn window(mut self, bytes: usize) -> Self {
        self.window = if bytes == 0 { 1 } else { bytes };
        self
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

/// How long a link with a bandwidth carries a part of a write. The reader is woken for each.
const PART: Duration = Duration::from_millis(10);

/// How many parts a write has before they become larger: a huge write over a slow link stays cheap.
const PARTS: u32 = 64;

/// The largest part. Peers time out after some seconds without a byte.
const LONGEST_PART: Duration = Duration::from_secs(1);

/// When data arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    At(Instant),
    /// Some time after the partition is healed.
    Held,
    Never,
}

impl Due {
    /// `Never` if an `Instant` cannot represent the time.
    pub(super) fn after(start: Instant, duration: Duration) -> Self {
        start.checked_add(duration).map_or(Self::Never, Self::At)
    }

    pub(super) fn is_by(self, now: Instant) -> bool {
        matches!(self, Self::At(at) if at <= now)
    }

    pub(super) const fn time(self) -> Option<Instant> {
        match self {
            Self::At(at) => Some(at),
            Self::Held | Self::Never => None,
        }
    }

    /// Holds back what has not arrived yet.
    pub(super) fn hold(&mut self, now: Instant) {
        if matches!(*self, Self::At(at) if at > now) {
            *self = Self::Held;
        }
    }
}

/// When the data of one write arrives: at once, or in parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// When the last byte arrives.
    pub(super) due: Due,
    /// How long the link carries it.
    takes: Duration,
    /// The number of parts, which take equal times.
    parts: u128,
}

impl Arrival {
    pub(super) const fn whole(due: Due) -> Self {
        Self {
            due,
            takes: Duration::ZERO,
            parts: 1,
        }
    }

    fn of(bytes: usize, due: Due, takes: Duration) -> Self {
        let part = (takes / PARTS).clamp(PART, LONGEST_PART);
        let parts = takes.as_nanos().div_ceil(part.as_nanos());
        Self {
            due,
            takes,
            parts: parts.min(bytes as u128).max(1),
        }
    }

    /// How many of the `bytes` have arrived.
    pub(super) fn arrived(self, bytes: usize, now: Instant) -> usize {
        let arrived = bytes as u128 * self.parts_by(now) / self.parts;
        usize::try_from(arrived).unwrap_or(bytes)
    }

    /// When the next part arrives.
    pub(super) fn next(self, now: Instant) -> Option<Instant> {
        let due = self.due.time()?;
        let left = self.parts.saturating_sub(self.parts_by(now) + 1);
        // Rounded down, so that the part has arrived by then.
        let left = self.takes.as_nanos() * left / self.parts;
        due.checked_sub(Duration::from_nanos(u64::try_from(left).unwrap_or(0)))
    }

    fn parts_by(self, now: Instant) -> u128 {
        let Some(due) = self.due.time() else {
            return 0;
        };
        let left = due.saturating_duration_since(now);
        if left.is_zero() {
            return self.parts;
        }
        let begun = self.takes.saturating_sub(left).as_nanos();
        // What takes no time has either arrived or not begun.
        (begun * self.parts)
            .checked_div(self.takes.as_nanos())
            .unwrap_or(0)
    }
}

/// A direction: the numbers of the sending and of the receiving host.
pub(super) type Route = (usize, usize);

#[derive(Default)]
pub(super) struct Links {
    default: Link,
    /// The key has the smaller number first.
    own: BTreeMap<Route, Link>,
    partitioned: BTreeSet<Route>,
    /// When the last byte leaves that was sent in this direction.
    free_at: BTreeMap<Route, Instant>,
}

fn pair((a, b): Route) -> Route {
    (a.min(b), a.max(b))
}

impl Links {
    pub(super) fn set_default(&mut self, link: Link) {
        self.default = link;
    }

    pub(super) fn set(&mut self, route: Route, link: Link) {
        self.own.insert(pair(route), link);
    }

    fn link(&self, route: Route) -> &Link {
        self.own.get(&pair(route)).unwrap_or(&self.default)
    }

    /// Returns false if they were partitioned already.
    pub(super) fn partition(&mut self, route: Route) -> bool {
        self.partitioned.insert(pair(route))
    }

    /// Returns false if they were not partitioned.
    pub(super) fn heal(&mut self, route: Route) -> bool {
        self.partitioned.remove(&pair(route))
    }

    pub(super) fn are_partitioned(&self, route: Route) -> bool {
        self.partitioned.contains(&pair(route))
    }

    pub(super) fn window(&self, route: Route) -> usize {
        self.link(route).window
    }

    /// The latency of the next bytes.
    pub(super) fn latency(&self, route: Route, sim: &Sim) -> Duration {
        let Link {
            latency, jitter, ..
        } = *self.link(route);
        if jitter.is_zero() {
            return latency;
        }
        let drawn = jitter.as_secs_f64() * sim.draw(|rng| rng.f64());
        latency.saturating_add(Duration::try_from_secs_f64(drawn).unwrap_or(Duration::MAX))
    }

    /// How many of `bytes` one read or write takes.
    pub(super) fn piece(&self, route: Route, bytes: usize, sim: &Sim) -> usize {
        match self.link(route).pieces {
            Some(most) if bytes > 1 => bytes.min(sim.draw(|rng| rng.usize(1..=most))),
            _ => bytes,
        }
    }

    /// When a control packet arrives that is sent now, behind the bytes that were sent before.
    pub(super) fn send_control(&mut self, route: Route, sim: &Sim) -> Due {
        self.send(route, 0, sim).due
    }

    /// When `bytes` arrive that are sent now. What was sent earlier is read first in any case.
    pub(super) fn send(&mut self, route: Route, bytes: usize, sim: &Sim) -> Arrival {
        if self.are_partitioned(route) {
            return Arrival::whole(Due::Held);
        }
        let mut leaves = sim.now();
        let mut takes = Duration::ZERO;
        if let Some(bandwidth) = self.link(route).bandwidth {
            let nanos = bytes as u128 * 1_000_000_000 / u128::from(bandwidth);
            takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            let free_at = self.free_at.entry(route).or_insert(leaves);
            let Some(free) = leaves.max(*free_at).checked_add(takes) else {
                return Arrival::whole(Due::Never);
            };
            leaves = free;
            *free_at = leaves;
        }
        Arrival::of(bytes, Due::after(leaves, self.latency(route, sim)), takes)
    }
}
