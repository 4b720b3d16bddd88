//! Encoded bytes into a `Term`, without recursion and in time proportional to their number.

use serde::de::Error as _;

use super::build::{Builder, DuplicateKey, Shape};
use super::{Float, Opaque, Term};
use crate::DecodeError;
use crate::token::{Cursor, Token, latin1};

/// Reads one whole term.
///
/// Its memory was checked before. Here an announced length reserves no more than the number of bytes that are left.
pub(super) fn read(bytes: &[u8]) -> Result<Term, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let mut builder = Builder::default();
    loop {
        let before = cursor;
        let token = cursor.token()?;
        let reserved = |terms: u64| {
            cursor
                .remaining()
                .min(usize::try_from(terms).unwrap_or(usize::MAX))
        };
        let children = token.children();
        let done = match token {
            // A list as the tail of a list continues it.
            Token::Nil if builder.at_tail() => builder.close_list(),
            Token::List(_) if builder.at_tail() => {
                builder.extend(children, reserved(children));
                continue;
            }
            Token::Charlist(bytes) if builder.at_tail() => {
                builder.extend(bytes.len() as u64 + 1, bytes.len() + 1);
                let added = integers(bytes).try_for_each(|byte| builder.add(byte).map(drop));
                added.and_then(|()| builder.close_list())
            }
            Token::List(_) => {
                builder.open(Shape::Cons, children, reserved(children));
                continue;
            }
            Token::Tuple(1..) => {
                builder.open(Shape::Tuple, children, reserved(children));
                continue;
            }
            Token::Map(1..) => {
                builder.open(Shape::Map, children, reserved(children));
                continue;
            }
            Token::Opaque { .. } | Token::OldFun(_) => {
                cursor = before;
                builder.add(Term::Opaque(Opaque {
                    bytes: cursor.skip()?.into(),
                }))
            }
            leaf => builder.add(leaf_of(leaf)?),
        };
        match done {
            Ok(None) => {}
            Ok(Some(term)) => return Ok(term),
            Err(DuplicateKey) => return Err(DecodeError::DuplicateKey),
        }
    }
}

fn leaf_of(token: Token<'_>) -> Result<Term, DecodeError> {
    Ok(match token {
        Token::Integer(value) => Term::Integer(value),
        Token::Big {
            negative,
            magnitude,
        } => Term::integer(negative, magnitude),
        Token::Float(value) => Term::Float(Float::try_from(value).map_err(DecodeError::custom)?),
        Token::Atom(name) => Term::atom(name),
        Token::Latin1Atom(name) => Term::Atom(latin1(name).into()),
        Token::Charlist(bytes) => Term::List(integers(bytes).collect()),
        Token::Tuple(_) => Term::Tuple(Vec::new()),
        Token::Map(_) => Term::map([]),
        Token::Binary(bytes) => Term::binary(bytes),
        Token::Bits(bytes, used) => Term::bits(bytes, used),
        Token::Nil | Token::List(_) | Token::Opaque { .. } | Token::OldFun(_) => {
            Term::List(Vec::new())
        }
    })
}

fn integers(bytes: &[u8]) -> impl Iterator<Item = Term> {
    bytes.iter().map(|&byte| Term::Integer(byte.into()))
}
