//! Clock, timers and random numbers of the current universe, or the real ones.

pub(crate) mod real;

use std::{
    error::Error,
    fmt,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use crate::{
    current,
    sim::{self, Sim},
};

/// Returns the time of the current universe's clock: the simulated one in a [simulated](crate::Universe::simulated)
/// universe, else the system's.
///
/// # Panics
///
/// In a simulated universe, if it is read ten million times in one poll of a task: the clock stands still meanwhile, so that
/// a loop that waits for it never ends.
#[must_use]
#[track_caller]
pub fn now() -> Instant {
    current::now().unwrap_or_else(Instant::now)
}

/// Returns the date and time of the same clock: a simulated universe begins at the real date.
pub fn wall_clock() -> SystemTime {
    let real = SystemTime::now();
    let Some(simulated) = current::now() else {
        return real;
    };
    let instant = Instant::now();
    let moved = if simulated >= instant {
        real.checked_add(simulated - instant)
    } else {
        real.checked_sub(instant - simulated)
    };
    moved.unwrap_or(real)
}

/// A century, which counts as for ever: an instant so far away may have no representation, and the system may refuse a timer
/// for it.
pub const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Returns the instant `limit` after `start`; `None` for a limit of a [century](FOR_EVER) or more, which never passes.
///
/// Compute every deadline of a user's duration with this, or with `checked_add`: `+` panics on overflow.
pub fn deadline(start: Instant, limit: Duration) -> Option<Instant> {
    match limit < FOR_EVER {
        true => start.checked_add(limit),
        false => None,
    }
}

/// Sleeps like [`time::sleep`](crate::time::sleep), without an entry among the live resources.
pub async fn sleep(duration: Duration) {
    let mut timer = Timer::after(duration);
    poll_fn(|cx| timer.poll(cx)).await;
}

/// A future did not complete within its time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl Error for Elapsed {}

/// Limits a future like [`time::timeout`](crate::time::timeout), without an entry among the live resources.
///
/// # Errors
///
/// [`Elapsed`], if it takes longer.
pub async fn timeout<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut future = pin!(future);
    let mut timer = Timer::after(limit);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        timer.poll(cx).map(|()| Err(Elapsed))
    })
    .await
}

/// Returns a random number, uniformly distributed.
///
/// In a [simulated](crate::Universe::simulated) universe it is drawn from the universe's seed.
#[must_use]
pub fn random() -> u64 {
    draw(|rng| rng.u64(..))
}

/// Returns a random duration, uniformly distributed from zero up to but excluding `limit`.
pub fn random_below(limit: Duration) -> Duration {
    let seconds = limit.as_secs_f64() * draw(fastrand::Rng::f64);
    // Rounded up it may be more than there is.
    Duration::try_from_secs_f64(seconds).unwrap_or(limit)
}

fn draw<R>(draw: fn(&mut fastrand::Rng) -> R) -> R {
    match current::sim() {
        Some(sim) => sim.draw(draw),
        None => draw(&mut fastrand::Rng::new()),
    }
}

/// The clock of the universe that was current when this was created, for use from other universes.
#[derive(Clone)]
pub struct Clock(Option<Arc<Sim>>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Clock(simulated)",
            None => "Clock(system)",
        })
    }
}

impl Clock {
    /// Returns the clock of the current universe, or the system's.
    pub fn current() -> Self {
        Self(current::sim())
    }

    /// Changes to the clock of the current universe.
    pub fn follow(&mut self) {
        if !current::is_sim(self.0.as_ref()) {
            *self = Self::current();
        }
    }

    /// Returns the time of this clock.
    pub fn now(&self) -> Instant {
        self.0.as_ref().map_or_else(Instant::now, |sim| sim.now())
    }
}

/// A timer of the clock of the universe it was created in.
#[derive(Debug)]
enum Timer {
    Real(real::Timer),
    Simulated(sim::Timer),
    /// In a [century](FOR_EVER) or later.
    Never,
}

impl Timer {
    fn after(duration: Duration) -> Self {
        deadline(now(), duration).map_or(Self::Never, Self::at)
    }

    fn at(time: Instant) -> Self {
        match current::timer(time) {
            Some(timer) => Self::Simulated(timer),
            None => Self::Real(real::Timer::at(time)),
        }
    }

    fn set_at(&mut self, time: Instant) {
        match self {
            Self::Real(timer) => timer.set_at(time),
            Self::Simulated(timer) => timer.set_at(time),
            Self::Never => *self = Self::at(time),
        }
    }

    fn is_by_current_clock(&self) -> bool {
        match self {
            Self::Real(_) => !current::is_simulated(),
            Self::Simulated(timer) => current::is_sim(Some(timer.sim())),
            Self::Never => true,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Real(timer) => timer.poll(cx),
            Self::Simulated(timer) => timer.poll(cx),
            Self::Never => Poll::Pending,
        }
    }
}

/// A timer for a deadline that often moves.
///
/// Moving the deadline further away costs nothing: the timer stays and is set again when it fires too early. A connection
/// whose deadlines are always far ahead almost never touches the reactor.
#[derive(Debug, Default)]
pub struct Alarm {
    timer: Option<Timer>,
    set_to: Option<Instant>,
}

impl Alarm {
    /// Returns ready when `deadline` has passed; `None` never passes.
    ///
    /// # Panics
    ///
    /// Only in a simulated universe: see [`now`].
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        // The task may have been allowed into another universe.
        if self
            .timer
            .as_ref()
            .is_some_and(|it| !it.is_by_current_clock())
        {
            *self = Self::default();
        }
        loop {
            if self.set_to.is_none_or(|set_to| deadline < set_to) {
                match &mut self.timer {
                    Some(timer) => timer.set_at(deadline),
                    None => self.timer = Some(Timer::at(deadline)),
                }
                self.set_to = Some(deadline);
            }
            let timer = self.timer.as_mut().expect("it has just been set");
            if timer.poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.set_to = None;
            if deadline <= now() {
                return Poll::Ready(());
            }
        }
    }
}
