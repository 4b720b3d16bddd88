//! Elixir's version requirements, whose operators differ from cargo's.
//!
//! A requirement is parsed into alternatives of comparisons:
//!
//! ```text
//! "~> 0.1.3 or >= 2.0.0 and != 2.0.1"   =   any of   [ >= 0.1.3, <  0.2.0 ]
//!                                                    [ >= 2.0.0, != 2.0.1 ]
//! ```

use std::fmt;
use std::str::FromStr;

use crate::identity::{Version, is_number};

/// A requirement for versions, in the syntax of Elixir's `Version` module.
///
/// | requirement | matches |
/// |---|---|
/// | `1.2.3`, `== 1.2.3` | this version only |
/// | `!= 1.2.3` | all others |
/// | `> 1.2.3`, `>= 1.2.3`, `< 1.2.3`, `<= 1.2.3` | later or earlier versions |
/// | `~> 0.1.3` | `>= 0.1.3 and < 0.2.0` |
/// | `~> 0.1` | `>= 0.1.0 and < 1.0.0` |
///
/// `and` and `or`, with spaces around them, join comparisons; `and` binds tighter, as it does since Elixir
/// 1.13. Other spaces are ignored. Only `~>` accepts a version of two parts. Numbers may be over 255, which no version on the
/// wire reaches. Pre-release and build tags are rejected, because no version on the wire has any.
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
    /// Alternatives, each of which is met if all its comparisons are.
    alternatives: Vec<Vec<Comparison>>,
}

impl VersionReq {
    /// Returns whether `version` meets the requirement.
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

/// Prints the text that the requirement was parsed from.
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

/// Stands for all numbers above 255, which compare alike because no version reaches one.
const OUT_OF_REACH: u16 = 256;

/// The operators; `None` is `~>`, which makes two comparisons. Longer ones come first, so that `>=` is not parsed
/// as `>`.
const SIGNS: [(&str, Option<Operator>); 7] = [
    ("~>", None),
    ("==", Some(Operator::Equal)),
    ("!=", Some(Operator::NotEqual)),
    (">=", Some(Operator::GreaterOrEqual)),
    ("<=", Some(Operator::LessOrEqual)),
    (">", Some(Operator::Greater)),
    ("<", Some(Operator::Less)),
];

/// The parser of a requirement. Errors contain its position.
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

    /// Parses an optional operator and a version.
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

    /// Takes the text up to the next space or operator.
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

/// The bounds that a version in a requirement stands for.
struct Bounds {
    /// The version itself; a missing patch is 0.
    from: Bound,
    /// The first version that `~>` does not match.
    next: Bound,
    /// Whether the version has all three parts.
    exact: bool,
}

impl Bounds {
    /// Parses the version `found` at byte `at`.
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

/// Returns the value of digits, or `OUT_OF_REACH` if it is larger.
fn number(digits: &str) -> u16 {
    digits.parse().unwrap_or(OUT_OF_REACH).min(OUT_OF_REACH)
}

/// Why a text is not a [`VersionReq`]. Positions are in bytes, from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionReqError {
    /// The text ends or has an operator where a version is expected.
    #[error("expected a version such as 1.2.3 at byte {at}")]
    ExpectedVersion {
        /// The position where it is expected.
        at: usize,
    },
    /// The text has something else where a version is expected.
    #[error(
        "`{found}` at byte {at} is not a version: expected one such as 1.2.3, after `~>`, `>=` or the like"
    )]
    NotAVersion {
        /// Its position.
        at: usize,
        /// The invalid text.
        found: String,
    },
    /// The version has two parts but no `~>` before it.
    #[error("`{found}` at byte {at} lacks its third number, which is optional only after `~>`")]
    NoPatch {
        /// Its position.
        at: usize,
        /// The invalid text.
        found: String,
    },
    /// The version has a pre-release or build tag.
    #[error(
        "`{found}` at byte {at} has a pre-release or build tag, which no version on the wire has"
    )]
    Tagged {
        /// Its position.
        at: usize,
        /// The invalid text.
        found: String,
    },
    /// A version is followed by something other than `and` or `or`.
    #[error("expected `and` or `or`, with spaces around it, at byte {at}")]
    ExpectedConnective {
        /// The position where it is expected.
        at: usize,
    },
}
