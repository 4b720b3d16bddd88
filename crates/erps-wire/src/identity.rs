//! The service identifier and version in each packet, and a receiver's version requirement.
//!
//! Only values that fit the header can be constructed: an identifier of 36 bytes, a version of three single bytes.

use std::fmt;
use std::str::FromStr;

pub use crate::requirement::{VersionReq, VersionReqError};

/// The name of a service, at most 36 bytes of UTF-8.
///
/// It is padded with zero bytes to its full width, in memory as on the wire.
///
/// A received identifier may not be UTF-8. It then equals none that [`new`](Self::new) returns, and is displayed with
/// replacement characters.
///
/// # Example
///
/// ```
/// use erps_wire::identity::Identifier;
///
/// let oracle: Identifier = "oracle".parse()?;
/// assert_eq!(oracle.to_str(), Some("oracle"));
/// assert_eq!(oracle.to_string(), "oracle");
/// # Ok::<(), erps_wire::identity::IdentifierError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identifier([u8; Self::LEN]);

impl Identifier {
    /// The width of the field on the wire, in bytes.
    pub const LEN: usize = 36;

    /// The empty name: 36 zero bytes, which Elixir's servers send.
    pub const EMPTY: Self = Self([0; Self::LEN]);

    /// Creates an identifier. Zero bytes inside a name are kept.
    ///
    /// # Errors
    ///
    /// - [`TooLong`](IdentifierError::TooLong): more than 36 bytes.
    /// - [`EndsInNul`](IdentifierError::EndsInNul): receivers would trim the zero byte.
    pub fn new(name: &str) -> Result<Self, IdentifierError> {
        if name.len() > Self::LEN {
            return Err(IdentifierError::TooLong { len: name.len() });
        }
        if name.ends_with('\0') {
            return Err(IdentifierError::EndsInNul);
        }
        let mut padded = [0; Self::LEN];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self(padded))
    }

    /// Creates an identifier from the header field, which may hold any bytes.
    pub const fn from_wire(field: [u8; Self::LEN]) -> Self {
        Self(field)
    }

    /// Returns the header field, including the padding.
    pub const fn as_wire(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Returns the bytes of the name, without the padding.
    pub fn as_bytes(&self) -> &[u8] {
        let padding = self.0.iter().rev().take_while(|byte| **byte == 0).count();
        &self.0[..Self::LEN - padding]
    }

    /// Returns the name, or `None` if it is not UTF-8.
    pub fn to_str(&self) -> Option<&str> {
        str::from_utf8(self.as_bytes()).ok()
    }
}

impl Default for Identifier {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<&str> for Identifier {
    type Error = IdentifierError;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

/// Writes the name, with replacement characters for what is not UTF-8.
impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identifier")
            .field(&String::from_utf8_lossy(self.as_bytes()))
            .finish()
    }
}

/// A version as the wire carries it: three numbers of one byte each.
///
/// # Example
///
/// ```
/// use erps_wire::identity::Version;
///
/// let version: Version = "0.1.3".parse()?;
/// assert_eq!(version, Version::new(0, 1, 3));
/// assert!(version < Version::new(0, 2, 0));
/// # Ok::<(), erps_wire::identity::VersionError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number, incremented for breaking changes.
    pub major: u8,
    /// The second number, incremented for additions.
    pub minor: u8,
    /// The third number, incremented for fixes.
    pub patch: u8,
}

impl Version {
    /// Creates a version from its three numbers.
    pub const fn new(major: u8, minor: u8, patch: u8) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Parses `1.2.3`: three numbers from 0 to 255 and nothing else.
impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('.').collect();
        let &[major, minor, patch] = parts.as_slice() else {
            return Err(VersionError::NotThreeParts { found: parts.len() });
        };
        Ok(Self::new(byte(major)?, byte(minor)?, byte(patch)?))
    }
}

impl TryFrom<&str> for Version {
    type Error = VersionError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Parses one part of a version.
fn byte(part: &str) -> Result<u8, VersionError> {
    if !is_number(part) {
        return Err(VersionError::NotANumber { part: part.into() });
    }
    part.parse()
        .map_err(|_| VersionError::TooLarge { part: part.into() })
}

/// Returns whether Elixir accepts `part` as a number: digits only, without leading zeros.
pub(super) fn is_number(part: &str) -> bool {
    let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits && (part == "0" || !part.starts_with('0'))
}

/// Why a text is not an [`Identifier`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentifierError {
    /// The name is longer than 36 bytes.
    #[error(
        "an identifier of {len} bytes does not fit the wire's {} bytes",
        Identifier::LEN
    )]
    TooLong {
        /// The length of the name, in bytes.
        len: usize,
    },
    /// The name ends in a zero byte, which receivers take for padding.
    #[error("an identifier must not end in a zero byte, which receivers take for padding")]
    EndsInNul,
}

/// Why a text is not a [`Version`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// The text has more or fewer than three parts.
    #[error("a version has three parts, such as 1.2.3, and not {found}")]
    NotThreeParts {
        /// The number of parts.
        found: usize,
    },
    /// A part is not a plain number. Signs, spaces, tags and leading zeros are rejected, as in Elixir.
    #[error("`{part}` is not a plain number")]
    NotANumber {
        /// The invalid part.
        part: String,
    },
    /// A number is over 255. The original library wraps it silently.
    #[error("{part} does not fit the wire's one byte (0 to 255)")]
    TooLarge {
        /// The invalid part.
        part: String,
    },
}
