//! Integers of any size, and floats that are always finite.

use std::cmp::Ordering;
use std::error::Error;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::token::small;

/// An integer beyond 64 bits: sign and magnitude. Created by [`Term::integer`](super::Term::integer).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BigInteger {
    negative: bool,
    magnitude: Box<[u8]>,
}

impl BigInteger {
    /// Returns whether it is below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// Returns the magnitude in little-endian bytes, the last of which is not zero.
    #[must_use]
    pub fn magnitude(&self) -> &[u8] {
        &self.magnitude
    }
}

/// An integer of any size.
pub(super) enum Integer {
    Small(i64),
    Big(BigInteger),
}

/// Returns the integer of a little-endian magnitude, which may end in zeros.
pub(super) fn integer(negative: bool, magnitude: &[u8]) -> Integer {
    let used = magnitude
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |i| i + 1);
    let magnitude = &magnitude[..used];
    match small(negative, magnitude) {
        Some(value) => Integer::Small(value),
        None => Integer::Big(BigInteger {
            negative,
            magnitude: magnitude.into(),
        }),
    }
}

/// The most decimal digits of an integer that is parsed. The time grows with the square of their number, and is some
/// hundredths of a second at the limit.
pub(super) const MAX_DECIMAL_DIGITS: usize = 200_000;

/// Parses at most [`MAX_DECIMAL_DIGITS`] decimal digits.
pub(super) fn of_decimal(negative: bool, digits: &str) -> Integer {
    let mut limbs: Vec<u64> = Vec::new();
    // Nineteen digits fit a limb.
    for group in digits.as_bytes().chunks(19) {
        let scale = u128::from(10_u64.pow(group.len() as u32));
        let mut carry = group
            .iter()
            .fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        for limb in &mut limbs {
            let value = u128::from(*limb) * scale + u128::from(carry);
            *limb = value as u64;
            carry = (value >> 64) as u64;
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let magnitude: Vec<u8> = limbs.into_iter().flat_map(u64::to_le_bytes).collect();
    integer(negative, &magnitude)
}

/// Parses digits of `bits` bits each, 1 to 4, in linear time.
pub(super) fn of_bits(negative: bool, bits: u32, digits: &str) -> Integer {
    let mut magnitude = Vec::with_capacity(digits.len() * bits as usize / 8 + 1);
    let (mut pending, mut count) = (0_u32, 0);
    for digit in digits.chars().rev().filter_map(|c| c.to_digit(1 << bits)) {
        pending |= digit << count;
        count += bits;
        if count >= 8 {
            magnitude.push(pending as u8);
            pending >>= 8;
            count -= 8;
        }
    }
    magnitude.push(pending as u8);
    integer(negative, &magnitude)
}

/// The largest magnitude that is printed in decimal, which takes quadratic time, while a peer chooses the length.
const MAX_DECIMAL_BYTES: usize = 1024;

/// Decimal, or hexadecimal above 1024 bytes.
impl fmt::Display for BigInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        if self.magnitude.len() > MAX_DECIMAL_BYTES {
            f.write_str("0x")?;
            return self
                .magnitude
                .iter()
                .rev()
                .try_for_each(|byte| write!(f, "{byte:02X}"));
        }
        let mut limbs: Vec<u32> = self
            .magnitude
            .chunks(4)
            .map(|chunk| {
                chunk
                    .iter()
                    .rev()
                    .fold(0, |limb, &byte| limb << 8 | u32::from(byte))
            })
            .collect();
        let mut groups = Vec::new();
        while !limbs.is_empty() {
            let mut rest = 0_u64;
            for limb in limbs.iter_mut().rev() {
                let value = rest << 32 | u64::from(*limb);
                *limb = (value / 1_000_000_000) as u32;
                rest = value % 1_000_000_000;
            }
            groups.push(rest);
            while limbs.last() == Some(&0) {
                limbs.pop();
            }
        }
        let mut groups = groups.into_iter().rev();
        write!(f, "{}", groups.next().unwrap_or(0))?;
        groups.try_for_each(|group| write!(f, "{group:09}"))
    }
}

/// A finite float. Equal if the bits are: `0.0` and `-0.0` differ, as they do since OTP 27.
#[derive(Clone, Copy, Debug)]
pub struct Float(f64);

impl Float {
    /// Returns the float.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Float {
    type Error = NotFinite;

    fn try_from(value: f64) -> Result<Self, NotFinite> {
        match value.is_finite() {
            true => Ok(Self(value)),
            false => Err(NotFinite),
        }
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Float {}

impl Hash for Float {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// Prints as Erlang does: the shortest digits that read back the same, in the shorter notation.
impl fmt::Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// From here on not every integer is a float, and Erlang always prints an exponent.
        const EXACT: f64 = 9_007_199_254_740_992.0;

        let mut decimal = self.0.to_string();
        if !decimal.contains('.') {
            decimal += ".0";
        }
        let mut scientific = format!("{:e}", self.0);
        if !scientific.contains('.') {
            scientific = scientific.replacen('e', ".0e", 1);
        }
        match self.0.abs() >= EXACT || scientific.len() < decimal.len() {
            true => f.write_str(&scientific),
            false => f.write_str(&decimal),
        }
    }
}

/// The error for a float that is infinite or not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFinite;

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a finite float")
    }
}

impl Error for NotFinite {}
