//! What a run fails with, and in which order it is said.

use std::panic::Location;

use crate::{Made, Universe, run::Left, spin};

/// What is wrong with a run whose main future has not panicked.
pub(crate) struct Found {
    /// The main future has not ended.
    pub(crate) stuck: bool,
    /// Something has not ended with it.
    pub(crate) leaks: bool,
    /// What had not ended when all that could be cancelled was.
    pub(crate) left: Left,
    /// What lives even now.
    pub(crate) still: Left,
    /// Panics of tasks that nobody has expected, and expected ones that have not come.
    pub(crate) panics: Option<String>,
}

impl Universe {
    /// What the run fails with.
    pub(crate) fn verdict(&self, found: Found, at: &'static Location<'static>) -> String {
        let Found {
            stuck,
            leaks,
            mut left,
            still,
            panics,
        } = found;
        left.extend(still.clone());
        let spun = self.spun().filter(|_| stuck || leaks);
        let mut says = Vec::new();
        let list = |left: &Left| -> String {
            let line = |(id, made): (&u64, &Made)| {
                let on = match still.contains_key(id) {
                    true => ", which lives on",
                    false => "",
                };
                format!("\n  {made}{on}")
            };
            left.iter().map(line).collect()
        };
        if stuck && spun.is_none() {
            left.insert(0, Made::new(format_args!("the main future"), at));
            let what = "is stuck: these wait, no time-out is due, and nothing comes from outside:";
            let hint = "\n(timers of the real world are not waited for: see `erps::time`)";
            says.push(format!("{}{}{hint}", self.says(what), list(&left)));
        } else if !stuck && leaks {
            let what = "has ended, and these have not:";
            says.push(format!("{}{}", self.says(what), list(&left)));
        }
        says.extend(spun);
        says.extend(panics.map(|list| self.says_panics(&list)));
        says.join("\n")
    }

    /// What is to be said of it, after its name.
    pub(crate) fn says(&self, what: &str) -> String {
        let seed = self.seed().map(|seed| format!(" (seed {seed})"));
        format!("{}{} {what}", self.title(), seed.unwrap_or_default())
    }

    /// Who has not let the clock move.
    fn spun(&self) -> Option<String> {
        let sim = self.world.sim.as_ref()?;
        let (who, stands) = (sim.times.standing.by()?, sim.elapsed());
        let (turns, hint) = (spin::limits(), spin::HINT);
        let what = format!(
            "spins: {who} has taken {turns} while the clock stands still at {stands:?}: {hint}"
        );
        Some(self.says(&what))
    }

    fn says_panics(&self, list: &str) -> String {
        let what = "has panics in its tasks that are not expected, or lacks one that is:";
        let hint = "\n(a panic that belongs to the test is announced: `#[erps::test(panics = \"its text\")]`, or \
                    `Universe::expect_panics`)";
        format!("{}{list}{hint}", self.says(what))
    }

    /// A test that fails by itself may do so because of them.
    #[expect(clippy::print_stderr, reason = "it stands beside a panic's message")]
    pub(crate) fn tell_panics(&self, list: Option<&str>) {
        if let Some(list) = list {
            eprintln!("{}", self.says_panics(list));
        }
    }

    /// A panic that is passed on unchanged does not tell how to see it again.
    #[expect(clippy::print_stderr, reason = "it stands beside a panic's message")]
    pub(crate) fn tell_seed(&self) {
        if let Some(sim) = &self.world.sim {
            let (title, seed, lasted) = (self.title(), sim.seed, sim.elapsed());
            eprintln!("{title} has the seed {seed}, and has lasted {lasted:?} by its clock");
        }
    }
}
