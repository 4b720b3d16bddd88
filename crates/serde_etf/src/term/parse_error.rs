//! The error of parsing a term.

use std::error::Error;
use std::fmt;

/// Why a text is not a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseTermError {
    position: usize,
    expected: &'static str,
}

impl ParseTermError {
    pub(super) fn new(position: usize, expected: &'static str) -> Self {
        Self { position, expected }
    }

    /// Returns the byte at which the text stops being a term.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns what was expected there.
    #[must_use]
    pub fn expected(&self) -> &'static str {
        self.expected
    }
}

impl fmt::Display for ParseTermError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, expected } = self;
        write!(f, "expected {expected} at byte {position}")
    }
}

impl Error for ParseTermError {}

pub(super) type Parsed<T> = Result<T, ParseTermError>;
