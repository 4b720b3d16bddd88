//! A clock that stands still because somebody is always at work, and never gets anywhere.
//!
//! Simulated time passes when all wait. What polls until some time has passed, or until another end of the
//! world has done something, never waits. It is found by what it does between two moves of the clock: it
//! takes very many turns, or reads the clock very often in one.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};

use crate::{Universe, census::title, place, run::fail, sim::Sim};

/// How many turns a task may take while the clock stands still: more than an honest one has use for.
const TURNS: u64 = 1_000_000;

/// How many in a row for which it has woken itself, as one does that yields until something is so.
const OWN_TURNS: u64 = 200_000;

/// How often the clock may be read without a turn or a move in between: the loop that reads it cannot be
/// ended but by a panic.
const READS: u64 = 10_000_000;

/// For how long the clock stands still, as a count of its moves.
#[derive(Default)]
pub(crate) struct Standing {
    moves: AtomicU64,
    reads: AtomicU64,
    spins: AtomicBool,
    /// Who has had too many turns.
    by: OnceLock<String>,
}

/// The turns that one task has had since the clock has moved.
#[derive(Default)]
pub(crate) struct Turns(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    /// How often the clock had moved by then.
    moves: u64,
    all: u64,
    own: u64,
}

impl Standing {
    pub(crate) fn moved(&self) {
        self.moves.fetch_add(1, Relaxed);
        self.reads.store(0, Relaxed);
    }

    /// Counts a turn; tells whether it is one too many.
    pub(crate) fn takes(&self, turns: &Turns) -> bool {
        self.reads.store(0, Relaxed);
        let moves = self.moves.load(Relaxed);
        let mut taken = turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.moves != moves {
            *taken = Taken {
                moves,
                ..Taken::default()
            };
        }
        taken.all += 1;
        taken.all > TURNS || taken.own > OWN_TURNS
    }

    /// Whoever has taken this turn has woken itself meanwhile, or not.
    pub(crate) fn took(&self, turns: &Turns, again: bool) {
        let mut taken = turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.own = if again { taken.own + 1 } else { 0 };
    }

    /// Notes who it is; others that spin too are not told of.
    pub(crate) fn spins(&self, who: impl FnOnce() -> String) {
        self.by.get_or_init(who);
        self.spins.store(true, SeqCst);
    }

    pub(crate) fn is_spun(&self) -> bool {
        self.spins.load(SeqCst)
    }

    /// Who has had too many turns.
    pub(crate) fn by(&self) -> Option<&str> {
        self.by.get().map(String::as_str)
    }

    /// Counts a reading of the clock; tells whether it is one too many.
    fn is_read_too_often(&self) -> bool {
        self.reads.fetch_add(1, Relaxed) >= READS
    }
}

/// To be called when the clock of the current universe is read.
#[track_caller]
pub(crate) fn read(sim: &Sim) {
    if sim.times.standing.is_read_too_often() {
        let trail = place::trail();
        let who = title(trail.as_deref().and_then(|path| path.hops.first()));
        let universe = Universe::current().map(|it| it.title()).unwrap_or_default();
        let (seed, stands) = (sim.seed, sim.elapsed());
        // Those who are to fail with it may read the clock.
        sim.times.standing.moved();
        fail(&format!(
            "{universe} (seed {seed}) spins: {who} has read the clock {READS} times in one turn, and it stands \
             still at {stands:?}: {HINT}"
        ));
    }
}

/// How many turns are too many.
pub(crate) fn limits() -> String {
    format!("more than {TURNS} turns, or {OWN_TURNS} in a row for which it has woken itself,")
}

/// What to do about it.
pub(crate) const HINT: &str = "simulated time passes while all tasks wait, as with `erps::time::sleep`, and not \
                               while one polls";
