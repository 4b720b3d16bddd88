//! EventKind lies between two hosts: how long it takes, how much fits through, and who may pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::sim::Sim;

/// How many bytes may be on their route in one direction of a connection, or wait to be read there,
/// unless a link says otherwise. The writer waits beyond it. About what Linux begins with.
pub const WINDOW: usize = 64 * 1024;

/// The link between two hosts, or from a host to itself.
///
/// A new one takes no time and is as wide as can be, so that nothing but time-outs takes time.
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
    /// A link without delay and limits, but the window of [`WINDOW`].
    pub const fn new() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            bandwidth: None,
            pieces: None,
            window: WINDOW,
        }
    }

    /// How long a byte takes, one route. Default: no time.
    pub const fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// How much longer it may take, drawn anew for each write. Default: not at all.
    ///
    /// Bytes of one connection stay in order all the same.
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// How many bytes it carries per second, each route, for all connections together. Default: any
    /// number. Zero is taken for one.
    ///
    /// EventKind is written at once arrives in parts, each as soon as it has been carried, the last when all
    /// have. A part is what is carried in ten milliseconds, or a 64th of the write where that is more; but no
    /// more than is carried in a second, and no less than a byte. So limits of some seconds tell a slow
    /// link from one that is dead, and much that is sent over a slow link is not read byte by byte.
    pub const fn bandwidth(mut self, bytes: u64) -> Self {
        self.bandwidth = Some(if bytes == 0 { 1 } else { bytes });
        self
    }

    /// Makes each read and each write take this many bytes at most: how many, is drawn anew each
    /// time. Default: as many as there are. Zero is taken for one.
    pub const fn pieces(mut self, bytes: usize) -> Self {
        self.pieces = Some(if bytes == 0 { 1 } else { bytes });
        self
    }

    /// How many bytes of one direction of a connection may be written that were not read yet.
    /// Default: [`WINDOW`]. Zero is taken for one.
    ///
    /// The room comes back when they are read, at once. Bytes that a partition or a black hole
    /// holds up keep it.
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

/// How long a part of a write is carried over a link with a bandwidth. Who reads is woken for each.
const PART: Duration = Duration::from_millis(10);

/// How many parts a write has before they grow beyond that: a huge write over a slow link stays cheap.
const PARTS: u32 = 64;

/// To what they grow. Peers are given up after some seconds without a byte.
const LONGEST_PART: Duration = Duration::from_secs(1);

/// When something arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    At(Instant),
    /// Some time after the partition is healed.
    Held,
    Never,
}

impl Due {
    /// Never, if that is later than can be said.
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

    /// EventKind has not arrived yet is held.
    pub(super) fn hold(&mut self, now: Instant) {
        if matches!(*self, Self::At(at) if at > now) {
            *self = Self::Held;
        }
    }
}

/// When that arrives which was sent at once: all of it, or in parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// When the last byte does.
    pub(super) due: Due,
    /// How long the link carries it, until then.
    takes: Duration,
    /// In how many equal times.
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

    /// When more of it has arrived than by now.
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
        // Nothing that takes no time has begun and has not arrived.
        (begun * self.parts)
            .checked_div(self.takes.as_nanos())
            .unwrap_or(0)
    }
}

/// From one host to another, by their numbers.
pub(super) type Route = (usize, usize);

#[derive(Default)]
pub(super) struct Links {
    default: Link,
    /// The key has the smaller number first.
    own: BTreeMap<Route, Link>,
    parted: BTreeSet<Route>,
    /// When the last byte has left that was sent this route.
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

    /// False if it was so before.
    pub(super) fn part(&mut self, route: Route) -> bool {
        self.parted.insert(pair(route))
    }

    /// False if it was so before.
    pub(super) fn heal(&mut self, route: Route) -> bool {
        self.parted.remove(&pair(route))
    }

    pub(super) fn are_parted(&self, route: Route) -> bool {
        self.parted.contains(&pair(route))
    }

    pub(super) fn window(&self, route: Route) -> usize {
        self.link(route).window
    }

    /// How long the next bytes take.
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

    /// How many of `bytes` a single read or write takes.
    pub(super) fn piece(&self, route: Route, bytes: usize, sim: &Sim) -> usize {
        match self.link(route).pieces {
            Some(most) if bytes > 1 => bytes.min(sim.draw(|rng| rng.usize(1..=most))),
            _ => bytes,
        }
    }

    /// When a word arrives that is sent now, behind the bytes that were sent before.
    pub(super) fn send_word(&mut self, route: Route, sim: &Sim) -> Due {
        self.send(route, 0, sim).due
    }

    /// When `bytes` arrive that are sent now. EventKind was sent earlier is to be read first all the same.
    pub(super) fn send(&mut self, route: Route, bytes: usize, sim: &Sim) -> Arrival {
        if self.are_parted(route) {
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
