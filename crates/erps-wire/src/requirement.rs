//! Elixir's version requirements, which are not cargo's.
//!
//! A requirement is read once, into alternatives of comparisons; matching a version is then a walk over them:
//!
//! ```text
//! "~> 0.1.3 or >= 2.0.0 and != 2.0.1"   =   any of   [ >= 0.1.3, <  0.2.0 ]
//!                                                    [ >= 2.0.0, != 2.0.1 ]
//! ```

use std::fmt;
use std::str::FromStr;

use crate::identity::{Version, is_number};

/// Which versions a receiver takes, in the words of Elixir's `Version` module.
///
/// | requirement | takes |
/// |---|---|
/// | `1.2.3`, `== 1.2.3` | this version alone |
/// | `!= 1.2.3` | every other |
/// | `> 1.2.3`, `>= 1.2.3`, `< 1.2.3`, `<= 1.2.3` | what comes after or before |
/// | `~> 0.1.3` | `>= 0.1.3 and < 0.2.0` |
/// | `~> 0.1` | `>= 0.1.0 and < 1.0.0` |
///
/// `and` and `or`, with spaces around them, join comparisons; `and` binds tighter, as it does since Elixir
/// 1.13. Other spaces mean nothing. Only `~>` takes a version of two parts. Numbers may be over 255; no
/// version on the wire reaches those. Pre-release and build tags are refused, because no version on the wire
/// has any.
///
/// Two requirements are equal if their texts are.
///
/// # Example
///
/// ```
/// use erps_wire::identity::{Version, VersionReq};
///
/// let req: VersionReq = "~> 0.1.3".parse()?;
/// assert!(req.matches(&Version::new(0, 1, 9)));
/// assert!(!req.matches(&Version::new(0, 2, 0)));
/// # Ok::<(), erps_wire::identity::VersionReqError>(())
/// ```
#[derive(Clone, Debug)]
pub struct VersionReq {
    text: String,
    /// Any of these; in each, all of its comparisons.
    alternatives: Vec<Vec<Comparison>>,
}

impl VersionReq {
    /// Whether `version` meets the requirement.
    pub fn matches(&self, version: &Version) -> bool {
        self.alternatives
            .iter()
            .any(|all| all.iter().all(|comparison| comparison.holds(version)))
    }
}

impl PartialEq for VersionReq {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for VersionReq {}

/// Gives back the text the requirement was read from.
impl fmt::Display for VersionReq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for VersionReq {
    type Err = VersionReqError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self {
            alternatives: Reader { text, at: 0 }.alternatives()?,
            text: text.into(),
        })
    }
}

impl TryFrom<&str> for VersionReq {
    type Error = VersionReqError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// One comparison of a version with a fixed one.
#[derive(Clone, Copy, Debug)]
struct Comparison {
    operator: Operator,
    bound: Bound,
}

impl Comparison {
    fn holds(&self, version: &Version) -> bool {
        let version = [version.major, version.minor, version.patch].map(u16::from);
        match self.operator {
            Operator::Equal => version == self.bound,
            Operator::NotEqual => version != self.bound,
            Operator::Greater => version > self.bound,
            Operator::GreaterOrEqual => version >= self.bound,
            Operator::Less => version < self.bound,
            Operator::LessOrEqual => version <= self.bound,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// A version to compare with. Its numbers may be over 255.
type Bound = [u16; 3];

/// Stands for every number above 255: no version reaches one, so all of them compare alike.
const OUT_OF_REACH: u16 = 256;

/// What may stand in front of a version; `None` is `~>`, which makes two comparisons. Longer signs come
/// first, so that `>=` is not read as `>`.
const SIGNS: [(&str, Option<Operator>); 7] = [
    ("~>", None),
    ("==", Some(Operator::Equal)),
    ("!=", Some(Operator::NotEqual)),
    (">=", Some(Operator::GreaterOrEqual)),
    ("<=", Some(Operator::LessOrEqual)),
    (">", Some(Operator::Greater)),
    ("<", Some(Operator::Less)),
];

/// Reads a requirement from left to right, and knows where it stands for the sake of the errors.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn alternatives(mut self) -> Result<Vec<Vec<Comparison>>, VersionReqError> {
        let mut alternatives = Vec::new();
        let mut all = Vec::new();
        loop {
            self.comparison(&mut all)?;
            self.skip_spaces();
            if self.rest().is_empty() {
                alternatives.push(all);
                return Ok(alternatives);
            } else if self.take("or ") {
                alternatives.push(std::mem::take(&mut all));
            } else if !self.take("and ") {
                return Err(VersionReqError::ExpectedConnective { at: self.at });
            }
        }
    }

    /// Reads a sign, or none, and its version.
    fn comparison(&mut self, all: &mut Vec<Comparison>) -> Result<(), VersionReqError> {
        self.skip_spaces();
        let sign = SIGNS.iter().find(|(sign, _)| self.take(sign));
        let operator = sign.map_or(Some(Operator::Equal), |(_, operator)| *operator);
        self.skip_spaces();
        let at = self.at;
        let found = self.word();
        let Bounds { from, next, exact } = Bounds::read(found, at)?;
        match operator {
            None => all.extend([
                Comparison {
                    operator: Operator::GreaterOrEqual,
                    bound: from,
                },
                Comparison {
                    operator: Operator::Less,
                    bound: next,
                },
            ]),
            Some(operator) if exact => all.push(Comparison {
                operator,
                bound: from,
            }),
            Some(_) => {
                let found = found.into();
                return Err(VersionReqError::NoPatch { at, found });
            }
        }
        Ok(())
    }

    /// Takes everything up to the next space or sign.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest
            .find([' ', '~', '=', '!', '<', '>'])
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn take(&mut self, expected: &str) -> bool {
        let taken = self.rest().starts_with(expected);
        if taken {
            self.at += expected.len();
        }
        taken
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(' ').len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
}

/// What a version in a requirement means.
struct Bounds {
    /// The version itself; a missing patch is 0.
    from: Bound,
    /// The first version that `~>` no longer takes.
    next: Bound,
    /// Whether all three parts are there.
    exact: bool,
}

impl Bounds {
    /// Reads the version `found` at byte `at`.
    fn read(found: &str, at: usize) -> Result<Self, VersionReqError> {
        if found.is_empty() {
            return Err(VersionReqError::ExpectedVersion { at });
        }
        let parts: Vec<&str> = found.split('.').collect();
        if parts.iter().all(|part| is_number(part)) {
            match *parts.as_slice() {
                [major, minor, patch] => {
                    let [major, minor, patch] = [major, minor, patch].map(number);
                    return Ok(Self {
                        from: [major, minor, patch],
                        next: [major, minor + 1, 0],
                        exact: true,
                    });
                }
                [major, minor] => {
                    let [major, minor] = [major, minor].map(number);
                    return Ok(Self {
                        from: [major, minor, 0],
                        next: [major + 1, 0, 0],
                        exact: false,
                    });
                }
                _ => {}
            }
        }
        let (tagged, found) = (found.contains(['-', '+']), found.into());
        Err(if tagged {
            VersionReqError::Tagged { at, found }
        } else {
            VersionReqError::NotAVersion { at, found }
        })
    }
}

/// The value of some digits. What `u16` cannot hold is out of reach as well.
fn number(digits: &str) -> u16 {
    digits.parse().unwrap_or(OUT_OF_REACH).min(OUT_OF_REACH)
}

/// Why a text is not a [`VersionReq`]. Places are counted in bytes, from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionReqError {
    /// The text ends, or goes on with a sign, where a version should be.
    #[error("expected a version such as 1.2.3 at byte {at}")]
    ExpectedVersion {
        /// Where the version should be.
        at: usize,
    },
    /// There is something in the place of a version, but not a version.
    #[error(
        "`{found}` at byte {at} is not a version: expected one such as 1.2.3, after `~>`, `>=` or the like"
    )]
    NotAVersion {
        /// Where it stands.
        at: usize,
        /// What stands there.
        found: String,
    },
    /// The version has two parts, and no `~>` in front.
    #[error("`{found}` at byte {at} lacks its third number, which only `~>` can do without")]
    NoPatch {
        /// Where it stands.
        at: usize,
        /// What stands there.
        found: String,
    },
    /// The version has a pre-release or build tag.
    #[error(
        "`{found}` at byte {at} has a pre-release or build tag, which no version on the wire has"
    )]
    Tagged {
        /// Where it stands.
        at: usize,
        /// What stands there.
        found: String,
    },
    /// Something other than `and` or `or` follows a version.
    #[error("expected `and` or `or`, with spaces around it, at byte {at}")]
    ExpectedConnective {
        /// Where the word should be.
        at: usize,
    },
}
