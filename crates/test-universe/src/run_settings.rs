//! How a test is run: its options, which environment variables override.

use std::{
    env::{self, VarError},
    num::{NonZeroU32, NonZeroUsize},
    ops::Range,
    time::Duration,
};

pub(crate) const SEED: &str = "ERPS_SEED";
pub(crate) const SEEDS: &str = "ERPS_SEEDS";
pub(crate) const REPLICATION: &str = "ERPS_REPLICATION";
pub(crate) const TIMEOUT: &str = "ERPS_TIMEOUT";

/// The settings of a test run.
pub(crate) struct RunSettings {
    /// `None` if it is not simulated.
    pub(crate) seeds: Option<Range<u64>>,
    pub(crate) copies: usize,
    pub(crate) timeout: Duration,
}

impl RunSettings {
    /// Applies the environment to a test's own options; `seeds` is `None` if the test is not simulated.
    ///
    /// All variables are parsed, also those that this test does not use, so that a mistake fails every test.
    pub(crate) fn from_env(
        own_seeds: Option<Range<u64>>,
        own_timeout: Duration,
    ) -> Result<Self, Malformed> {
        let seed = read(SEED, "a seed such as 17 or 0x11", |it| {
            let seed = number(it)?;
            Some(seed..seed.checked_add(1)?)
        })?;
        let seeds = read(
            SEEDS,
            "a number of seeds, or a range such as 100..200",
            seeds,
        )?;
        let copies = read(REPLICATION, "a number of copies", |it| {
            it.parse::<NonZeroUsize>().ok()
        })?;
        let timeout = read(TIMEOUT, "a number of seconds", |it| {
            it.parse::<NonZeroU32>().ok()
        })?;
        let seeds = own_seeds.map(|own| seed.or(seeds).unwrap_or(own));
        if seeds.as_ref().is_some_and(Range::is_empty) {
            return Err(Malformed::NoSeeds);
        }
        let timeout = timeout.map_or(own_timeout, |it| Duration::from_secs(it.get().into()));
        Ok(Self {
            seeds,
            copies: copies.map_or(1, NonZeroUsize::get),
            timeout,
        })
    }
}

/// What the environment says, if it does.
fn read<T>(
    name: &'static str,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Malformed> {
    let malformed = |found: String| Malformed::Variable {
        name,
        found,
        expected,
    };
    match env::var(name) {
        Ok(text) => match parse(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(malformed(format!("{text:?}"))),
        },
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(text)) => Err(malformed(format!("{text:?}"))),
    }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn seeds(text: &str) -> Option<Range<u64>> {
    let (first, end) = match text.split_once("..") {
        Some((first, end)) => (number(first)?, number(end)?),
        None => (0, number(text)?),
    };
    (first < end).then_some(first..end)
}

/// What is asked for makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("{name} is {found}, but has to be {expected}")]
    Variable {
        name: &'static str,
        found: String,
        expected: &'static str,
    },
    #[error("there is no seed to run the test with: its range of seeds is empty")]
    NoSeeds,
}
