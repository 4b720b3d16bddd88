//! `Result`, which is `{:ok, value}` and `{:error, error}` in Erlang.

use std::borrow::Cow;

use crate::token::{Token, latin1};

const NAME: &str = "Result";
const OK: &str = "Ok";
const ERR: &str = "Err";

/// The atom `nil`, encoded.
pub(super) const NIL: &[u8] = b"\x77\x03nil";

/// Returns whether an enum has the name and the variants of the standard `Result`.
pub(super) fn is(name: &str, variants: &[&str]) -> bool {
    name == NAME && variants == [OK, ERR]
}

/// Returns the atom of a variant.
#[inline]
pub(super) fn encoded(name: &str, variant: &'static str) -> &'static str {
    match variant {
        OK if name == NAME => "ok",
        ERR if name == NAME => "error",
        _ => variant,
    }
}

/// Returns the variant of an atom, which may be its Rust name too.
pub(super) fn decoded(token: Token<'_>) -> Cow<'_, str> {
    match token {
        Token::Atom("ok") => OK.into(),
        Token::Atom("error") => ERR.into(),
        Token::Atom(other) => other.into(),
        Token::Latin1Atom(other) => latin1(other).into(),
        other => other.to_string().into(),
    }
}
