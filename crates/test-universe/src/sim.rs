//! What a simulated universe has to itself: its clock, its chance, and who in it is awake.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use event_listener::{Event, EventListener};
use fastrand::Rng;

use crate::{
    census::title,
    clock::{Timer, Times},
    place::{self, Place},
    spin::Turns,
};

pub(crate) struct Sim {
    pub(crate) seed: u64,
    pub(crate) times: Times,
    /// How many of its futures run or are about to.
    awake: AtomicUsize,
    /// Whether [`Universe::run`](crate::Universe::run) looks after the clock. It waits for the tasks
    /// that are to be dropped, too; nobody else knows of them.
    driven: AtomicBool,
    /// The thread that does so.
    driver: Mutex<Option<ThreadId>>,
    /// Notified, while driven, when nobody is awake.
    asleep: Event,
    chance: Mutex<Rng>,
    /// Who runs first is drawn apart from what programs draw.
    order: Mutex<Rng>,
}

impl Sim {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Rng::with_seed(seed);
        let order = chance.fork();
        Self {
            seed,
            times: Times::starting(Instant::now()),
            awake: AtomicUsize::new(0),
            driven: AtomicBool::new(false),
            driver: Mutex::new(None),
            asleep: Event::new(),
            chance: Mutex::new(chance),
            order: Mutex::new(order),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.times.now()
    }

    /// How long the universe has lasted.
    pub(crate) fn elapsed(&self) -> Duration {
        self.times.elapsed()
    }

    pub(crate) fn timer(self: &Arc<Self>, at: Instant) -> Timer {
        Timer::new(Arc::clone(self), at)
    }

    pub(crate) fn draw<R>(&self, draw: impl FnOnce(&mut Rng) -> R) -> R {
        draw(&mut self.chance.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is_driven(&self) -> bool {
        self.driven.load(SeqCst)
    }

    /// Says that this thread looks after the clock, or no longer does.
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

    /// Told when nobody is awake, in a universe that is driven.
    pub(crate) fn asleep(&self) -> EventListener {
        self.asleep.listen()
    }

    /// If nobody is awake, moves the clock to the next time somebody waits for, if that is not
    /// beyond `limit`. Tells whether there was one.
    pub(crate) fn leap(&self, limit: Option<Instant>) -> bool {
        self.awake.load(SeqCst) == 0 && self.times.leap(limit)
    }

    /// Whether nobody is awake, and nobody is going to be by time alone, up to `limit`.
    pub(crate) fn is_stuck(&self, limit: Option<Instant>) -> bool {
        self.awake.load(SeqCst) == 0 && self.times.nearest(limit).is_none()
    }

    /// Counts one as awake for a moment longer that has ended on a thread of others.
    ///
    /// Whoever waits for it is woken by its executor or pool, once its end has returned. Nobody tells
    /// when, and the clock must not move before.
    fn sleeps_soon(self: &Arc<Self>) {
        if self.is_driven_here() {
            // The executor of this thread wakes whom it has to before the clock may move.
            return self.sleeps();
        }
        let sim = Arc::clone(self);
        thread::spawn(move || {
            async_io::block_on(async_io::Timer::after(HANDOVER));
            sim.sleeps();
        });
    }

    fn wakes(&self) {
        self.awake.fetch_add(1, SeqCst);
    }

    fn sleeps(&self) {
        if self.awake.fetch_sub(1, SeqCst) == 1 {
            match self.is_driven() {
                true => drop(self.asleep.notify(usize::MAX)),
                false => drop(self.leap(None)),
            }
        }
    }

    /// Whether whoever is to run now is to wait for another turn: of a few who are awake each is about as
    /// likely to run as any other.
    fn defers(&self) -> bool {
        let awake = self.awake.load(SeqCst).min(MIXED);
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        awake > 1 && order.usize(..awake) != 0
    }
}

/// Of how many who are awake each may well be the next to run. Of more, mostly those who have waited longest:
/// who is passed over has cost a turn.
const MIXED: usize = 8;

/// How long the clock stands still after something has ended on a thread of others, in real time: enough
/// for a thread that is not running at the moment to wake whoever waits.
///
/// A guess, and it stays one: an executor stores the output and wakes the waiter after the future has
/// returned it and has been dropped, and calls nothing of ours in between or then. Nor can it be seen from
/// the waiter which of those it waits for is the one that has ended.
const HANDOVER: Duration = Duration::from_millis(10);

/// Watches when a future of a simulated universe is awake; does nothing in others.
#[derive(Debug, Default)]
pub(crate) struct Watch(Option<(Arc<Watched>, Waker)>);

struct Watched {
    sim: Arc<Sim>,
    /// Others spawn it, and wake those who wait for its end.
    abroad: bool,
    state: AtomicU8,
    turns: Turns,
    /// Who polls the future.
    outer: Mutex<Option<Waker>>,
}

/// It waits. In all other states but the last it counts as awake.
const ASLEEP: u8 = 0;
/// It is about to be polled.
const WOKEN: u8 = 1;
/// It is being polled.
const RUNNING: u8 = 2;
/// It is being polled, and was woken since.
const WOKEN_AGAIN: u8 = 3;
/// It is over.
const DONE: u8 = 4;
/// It goes on elsewhere, and some may still wake it from here.
const GONE: u8 = 5;

impl Watch {
    /// Watches from now on, and takes the future for one that is about to be polled.
    pub(crate) fn begin(sim: Option<&Arc<Sim>>) -> Self {
        Self::new(sim, false)
    }

    /// As [`begin`](Self::begin), for what others run, and may wait for the end of.
    pub(crate) fn begin_abroad(sim: Option<&Arc<Sim>>) -> Self {
        Self::new(sim, true)
    }

    fn new(sim: Option<&Arc<Sim>>, abroad: bool) -> Self {
        Self(sim.map(|sim| {
            sim.wakes();
            let watched = Arc::new(Watched {
                sim: Arc::clone(sim),
                abroad,
                state: AtomicU8::new(WOKEN),
                turns: Turns::default(),
                outer: Mutex::new(None),
            });
            let waker = Waker::from(Arc::clone(&watched));
            (watched, waker)
        }))
    }

    /// Polls a future that is in this place.
    ///
    /// One that is polled by another of its universe is awake when that one is.
    pub(crate) fn poll<R>(
        &mut self,
        place: &Place,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        let Some(sim) = place.sim() else {
            return poll(cx);
        };
        if place::with_sim(|current| current.is_some_and(|it| Arc::ptr_eq(it, sim))) {
            self.leave(cx.waker());
            return poll(cx);
        }
        if self.0.is_none() {
            *self = Self::begin(Some(sim));
        }
        let (watched, waker) = self.0.as_ref().expect("it has just been set");
        if !watched.starts(cx.waker()) {
            return Poll::Pending;
        }
        if sim.is_driven() && sim.defers() {
            cx.waker().wake_by_ref();
            watched.state.store(WOKEN, SeqCst);
            return Poll::Pending;
        }
        if sim.times.standing.takes(&watched.turns) && sim.is_driven() {
            let path = place.trail.as_deref();
            let who = || title(path.and_then(|path| path.hops.first()));
            sim.times.standing.spins(who);
            sim.asleep.notify(usize::MAX);
        }
        let outcome = poll(&mut Context::from_waker(waker));
        if outcome.is_pending() {
            watched.pauses();
        }
        outcome
    }

    /// To be called when the future goes on, but not in the sight of this. Its former wakers still
    /// wake it.
    pub(crate) fn leave(&mut self, waker: &Waker) {
        if let Some((watched, _)) = self.0.take() {
            watched.leaves(waker);
        }
    }

    /// To be called when the future is gone: what it did last may have woken others.
    pub(crate) fn end(&mut self) {
        if let Some((watched, _)) = self.0.take() {
            watched.ends();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

impl Watched {
    /// False if it is polled though nobody woke it, as those are who are joined with others. While
    /// the universe is driven it sleeps on then: what drives it waits beside it for all to be
    /// asleep, and would be told so by the very poll that this causes, again and again.
    fn starts(&self, outer: &Waker) -> bool {
        let former = self.outer().replace(outer.clone());
        drop(former);
        if self.sim.is_driven() && self.state.load(SeqCst) == ASLEEP {
            return false;
        }
        if self.state.swap(RUNNING, SeqCst) == ASLEEP {
            self.sim.wakes();
        }
        true
    }

    fn pauses(&self) {
        let slept = self
            .state
            .compare_exchange(RUNNING, ASLEEP, SeqCst, SeqCst)
            .is_ok();
        self.sim.times.standing.took(&self.turns, !slept);
        if slept {
            self.sim.sleeps();
        } else {
            self.state.store(WOKEN, SeqCst);
        }
    }

    fn ends(&self) {
        // It may own the future that owns this.
        let outer = self.outer().take();
        drop(outer);
        if self.state.swap(DONE, SeqCst) != ASLEEP {
            match self.abroad {
                true => self.sim.sleeps_soon(),
                false => self.sim.sleeps(),
            }
        }
    }

    fn leaves(&self, outer: &Waker) {
        let former = self.outer().replace(outer.clone());
        drop(former);
        if self.state.swap(GONE, SeqCst) != ASLEEP {
            self.sim.sleeps();
        }
    }

    fn outer(&self) -> MutexGuard<'_, Option<Waker>> {
        self.outer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Watched {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        loop {
            let state = self.state.load(SeqCst);
            let next = match state {
                ASLEEP => WOKEN,
                RUNNING => WOKEN_AGAIN,
                DONE => return,
                GONE => {
                    let outer = self.outer().clone();
                    return outer.into_iter().for_each(Waker::wake);
                }
                other => other,
            };
            // Counted before anybody can see it, and taken back if it was in vain.
            if state == ASLEEP {
                self.sim.wakes();
            }
            let changed = self.state.compare_exchange(state, next, SeqCst, SeqCst);
            if changed.is_ok() {
                break;
            }
            if state == ASLEEP {
                self.sim.sleeps();
            }
        }
        if let Some(outer) = self.outer().take() {
            outer.wake();
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.state).finish()
    }
}
