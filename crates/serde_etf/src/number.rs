//! Integers of the format as the numeric types of serde.

use serde::de::Visitor;

use crate::DecodeError;
use crate::token::Token;

#[inline]
pub(super) fn visit_integer<'de, V: Visitor<'de>>(
    value: i64,
    visitor: V,
) -> Result<V::Value, DecodeError> {
    match u64::try_from(value) {
        Ok(value) => visitor.visit_u64(value),
        Err(_) => visitor.visit_i64(value),
    }
}

pub(super) fn visit_big<'de, V: Visitor<'de>>(
    negative: bool,
    magnitude: &[u8],
    visitor: V,
) -> Result<V::Value, DecodeError> {
    let token = Token::Big {
        negative,
        magnitude,
    };
    let Some(wide) = wide(magnitude) else {
        return Err(token.mismatch(&visitor));
    };
    if negative {
        return match 0_i128.checked_sub_unsigned(wide) {
            Some(value) => visitor.visit_i128(value),
            None => Err(token.mismatch(&visitor)),
        };
    }
    match (u64::try_from(wide), i128::try_from(wide)) {
        (Ok(value), _) => visitor.visit_u64(value),
        (_, Ok(value)) => visitor.visit_i128(value),
        _ => visitor.visit_u128(wide),
    }
}

fn wide(magnitude: &[u8]) -> Option<u128> {
    let mut bytes = [0; 16];
    bytes.get_mut(..magnitude.len())?.copy_from_slice(magnitude);
    Some(u128::from_le_bytes(bytes))
}

/// Returns the float nearest to an integer of any size; infinite if it is out of range.
pub(super) fn nearest_f64(negative: bool, magnitude: &[u8]) -> f64 {
    let (high, rest) = top(magnitude);
    let bits = i32::try_from(8 * rest).unwrap_or(i32::MAX);
    // The power of two is exact, and so is the product, unless they are infinite.
    let value = high as f64 * 2_f64.powi(bits);
    if negative { -value } else { value }
}

/// As [`nearest_f64`].
pub(super) fn nearest_f32(negative: bool, magnitude: &[u8]) -> f32 {
    let (high, rest) = top(magnitude);
    let value = if rest > 0 { f32::INFINITY } else { high as f32 };
    if negative { -value } else { value }
}

/// Returns the highest sixteen bytes, and the number of bytes below them. If one of those is not zero, the lowest bit is
/// set, so that a value just above the middle of two floats is rounded up.
fn top(magnitude: &[u8]) -> (u128, usize) {
    let rest = magnitude.len().saturating_sub(16);
    let (low, high) = magnitude.split_at(rest);
    let high = wide(high).unwrap_or(u128::MAX);
    let sticky = low.iter().any(|&byte| byte != 0);
    (high | u128::from(sticky), rest)
}
