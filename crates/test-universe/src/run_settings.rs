//! How a test is run: its options, which environment variables override.

use std::{
    env::{self, VarError},
    fmt,
    num::{NonZeroU32, NonZeroUsize},
    ops::Range,
    time::Duration,
};

/// The prefix of the environment variables that all tests read.
pub(crate) const PREFIX: &str = "UNIVERSE";

pub(crate) const SEED: &str = "SEED";
pub(crate) const SEEDS: &str = "SEEDS";
pub(crate) const REPLICATION: &str = "REPLICATION";
pub(crate) const TIMEOUT: &str = "TIMEOUT";

/// The settings of a test run.
pub(crate) struct RunSettings {
    /// `None` if the test is not simulated.
    pub(crate) seeds: Option<Range<u64>>,
    pub(crate) copies: usize,
    pub(crate) timeout: Duration,
}

impl RunSettings {
    /// Applies the environment to a test's own options; `seeds` is `None` if the test is not simulated.
    ///
    /// A variable with `prefix` overrides the one with [`PREFIX`]. All variables are parsed, also those that this test does
    /// not use, so that a mistake fails every test.
    pub(crate) fn from_env(
        prefix: &str,
        own_seeds: Option<Range<u64>>,
        own_timeout: Duration,
    ) -> Result<Self, SettingsError> {
        let seed = read(prefix, SEED, "a seed such as 17 or 0x11", |it| {
            let seed = number(it)?;
            Some(seed..seed.checked_add(1)?)
        })?;
        let expected = "a number of seeds, or a range such as 100..200";
        let seeds = read(prefix, SEEDS, expected, seeds)?;
        let copies = read(prefix, REPLICATION, "a number of copies", |it| {
            it.parse::<NonZeroUsize>().ok()
        })?;
        let timeout = read(prefix, TIMEOUT, "a number of seconds", |it| {
            it.parse::<NonZeroU32>().ok()
        })?;
        let seeds = own_seeds.map(|own| seed.or(seeds).unwrap_or(own));
        if seeds.as_ref().is_some_and(Range::is_empty) {
            return Err(SettingsError::NoSeeds);
        }
        let timeout = timeout.map_or(own_timeout, |it| Duration::from_secs(it.get().into()));
        Ok(Self {
            seeds,
            copies: copies.map_or(1, NonZeroUsize::get),
            timeout,
        })
    }
}

/// The name of a variable.
pub(crate) fn variable(prefix: &str, setting: &str) -> String {
    format!("{prefix}_{setting}")
}

/// Reads a setting from the environment; `None` if it is not set.
fn read<T>(
    prefix: &str,
    setting: &str,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, SettingsError> {
    let prefixes = [prefix, PREFIX];
    let mut value = None;
    // Both are parsed, for the mistakes in them.
    for prefix in &prefixes[usize::from(prefix == PREFIX)..] {
        let name = variable(prefix, setting);
        let found = match env::var(&name) {
            Err(VarError::NotPresent) => continue,
            Err(VarError::NotUnicode(text)) => Err(format!("{text:?}")),
            Ok(text) => parse(&text).ok_or_else(|| format!("{text:?}")),
        };
        let found = found.map_err(|found| SettingsError::Malformed {
            name,
            found,
            expected,
        })?;
        value.get_or_insert(found);
    }
    Ok(value)
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

/// Why a test cannot be run as asked.
#[derive(Debug)]
pub(crate) enum SettingsError {
    Malformed {
        name: String,
        found: String,
        expected: &'static str,
    },
    NoSeeds,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed {
                name,
                found,
                expected,
            } => write!(f, "{name} is {found}, but has to be {expected}"),
            Self::NoSeeds => {
                f.write_str("there is no seed to run the test with: its range of seeds is empty")
            }
        }
    }
}
