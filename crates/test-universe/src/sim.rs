//! The state of a simulated universe: its clock, its random numbers, and which of its futures are awake.

pub(crate) mod livelock;
mod timer;
mod times;
pub(crate) mod watch;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use event_listener::{Event, EventListener};
use fastrand::Rng;

use crate::timer::real;
pub(crate) use timer::Timer;
use times::Times;

pub(crate) struct Sim {
    pub(crate) seed: u64,
    pub(crate) times: Times,
    /// How many futures run or are about to. The clock stands still while there is one.
    awake: AtomicUsize,
    /// Whether [`Universe::run`](crate::Universe::run) moves the clock. It also waits until the tasks that it
    /// cancels are dropped.
    driven: AtomicBool,
    /// The thread of that run.
    driver: Mutex<Option<ThreadId>>,
    /// Notified, while driven, when no future is awake.
    asleep: Event,
    random: Mutex<Rng>,
    /// The order of polls is drawn from a generator of its own, so that it does not depend on what programs draw.
    order: Mutex<Rng>,
}

impl Sim {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let order = random.fork();
        Self {
            seed,
            times: Times::starting(Instant::now()),
            awake: AtomicUsize::new(0),
            driven: AtomicBool::new(false),
            driver: Mutex::new(None),
            asleep: Event::new(),
            random: Mutex::new(random),
            order: Mutex::new(order),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.times.now()
    }

    /// The simulated time since the universe was created.
    pub(crate) fn elapsed(&self) -> Duration {
        self.times.elapsed()
    }

    pub(crate) fn draw<R>(&self, draw: impl FnOnce(&mut Rng) -> R) -> R {
        draw(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is_driven(&self) -> bool {
        self.driven.load(SeqCst)
    }

    /// Sets whether a run on this thread moves the clock.
    pub(crate) fn set_driven(&self, driven: bool) {
        *self.driver() = driven.then(|| thread::current().id());
        self.driven.store(driven, SeqCst);
    }

    fn is_driven_here(&self) -> bool {
        *self.driver() == Some(thread::current().id())
    }

    fn driver(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a listener that is notified when no future is awake, while the universe is driven.
    pub(crate) fn asleep(&self) -> EventListener {
        self.asleep.listen()
    }

    /// Ends a wait for [`asleep`](Self::asleep).
    pub(crate) fn notify_driver(&self) {
        self.asleep.notify(usize::MAX);
    }

    /// Advances the clock to the next timer, if no future is awake and that timer is not beyond `limit`. Returns
    /// whether there was one.
    pub(crate) fn advance_to_next(&self, limit: Option<Instant>) -> bool {
        self.awake.load(SeqCst) == 0 && self.times.advance_to_next(limit)
    }

    /// The due time of the next timer, if no future is awake.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        match self.awake.load(SeqCst) {
            0 => self.times.next(None),
            _ => None,
        }
    }

    /// Whether no future is awake and no timer will wake one.
    pub(crate) fn is_stuck(&self) -> bool {
        self.awake.load(SeqCst) == 0 && self.times.next(None).is_none()
    }

    fn wakes(&self) {
        self.awake.fetch_add(1, SeqCst);
    }

    fn sleeps(&self) {
        if self.awake.fetch_sub(1, SeqCst) == 1 {
            match self.is_driven() {
                true => self.notify_driver(),
                false => drop(self.advance_to_next(None)),
            }
        }
    }

    /// Counts a future that has completed on another executor's thread as awake for [`HANDOVER`] longer.
    ///
    /// That executor wakes the waiter of the task after the future has returned. The clock must not advance before,
    /// and nothing reports when it has happened.
    fn sleeps_soon(self: &Arc<Self>) {
        if self.is_driven_here() {
            // The executor of this thread wakes the waiter before the clock may advance.
            return self.sleeps();
        }
        let sim = Arc::clone(self);
        thread::spawn(move || {
            real::block_on(real::sleep(HANDOVER));
            sim.sleeps();
        });
    }

    /// Whether the next poll is deferred: of a few awake futures each is about as likely to be polled as any other.
    fn defers(&self) -> bool {
        let awake = self.awake.load(SeqCst).min(MIXED);
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        awake > 1 && order.usize(..awake) != 0
    }
}

/// Among how many awake futures the next one is drawn evenly. With more, those that have waited longest are mostly
/// next, since each deferral costs a poll.
const MIXED: usize = 8;

/// How long the clock stands still after a future has completed on another executor's thread, in real time: enough for
/// a thread that is not scheduled at the moment to wake the waiter.
///
/// It is a guess: an executor stores the output and wakes the waiter after the future has returned and has been
/// dropped, and calls no code of this crate then. The waiter does not show either for which future it waits.
const HANDOVER: Duration = Duration::from_millis(10);
