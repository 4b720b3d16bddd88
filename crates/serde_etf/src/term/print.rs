//! Printing of terms as Elixir's `inspect` does.

use std::collections::{BTreeMap, btree_map};
use std::fmt::{self, Display, Formatter, Write};
use std::{slice, vec};

use super::syntax::{OPERATORS, continues_name, starts_name};
use super::{BitBinary, Opaque, Term};
use crate::tag;

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut todo = vec![Todo::Term(self)];
        while let Some(next) = todo.pop() {
            match next {
                Todo::Term(term) => begin(f, term, &mut todo)?,
                Todo::Text(text) => f.write_str(text)?,
                Todo::Elements(mut rest) => {
                    if let Some(element) = rest.next() {
                        then(&mut todo, rest.len() > 0, Todo::Elements(rest));
                        todo.push(Todo::Term(element));
                    }
                }
                Todo::Named(mut rest) => {
                    if let Some((name, value)) = rest.next() {
                        then(&mut todo, rest.len() > 0, Todo::Named(rest));
                        label(f, name)?;
                        todo.push(Todo::Term(value));
                    }
                }
                Todo::Arrows(mut rest) => {
                    if let Some((key, value)) = rest.next() {
                        then(&mut todo, rest.len() > 0, Todo::Arrows(rest));
                        todo.extend([Todo::Term(value), Todo::Text(" => "), Todo::Term(key)]);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The same as [`Display`], also for `{:#?}`.
impl fmt::Debug for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// Items that are still to be printed, the next one last.
enum Todo<'a> {
    Term(&'a Term),
    Text(&'static str),
    Elements(slice::Iter<'a, Term>),
    /// Pairs whose keys are names, as in `[a: 1]` and `%{a: 1}`.
    Named(vec::IntoIter<(&'a str, &'a Term)>),
    Arrows(btree_map::Iter<'a, Term, Term>),
}

/// Schedules the rest after the next item, if there is more.
fn then<'a>(todo: &mut Vec<Todo<'a>>, more: bool, rest: Todo<'a>) {
    if more {
        todo.extend([rest, Todo::Text(", ")]);
    }
}

fn begin<'a>(f: &mut Formatter<'_>, term: &'a Term, todo: &mut Vec<Todo<'a>>) -> fmt::Result {
    match term {
        Term::Integer(value) => value.fmt(f),
        Term::BigInteger(value) => value.fmt(f),
        Term::Float(value) => value.fmt(f),
        Term::Atom(name) => atom(f, name),
        Term::Opaque(opaque) => opaque.fmt(f),
        Term::Binary(bytes) => binary(f, bytes),
        Term::BitBinary(bits) => bits.fmt(f),
        Term::Map(pairs) => map(f, pairs, todo),
        Term::Tuple(elements) => {
            todo.extend([Todo::Text("}"), Todo::Elements(elements.iter())]);
            f.write_char('{')
        }
        Term::List(elements) => {
            todo.push(Todo::Text("]"));
            todo.push(match keywords(elements) {
                Some(pairs) => Todo::Named(pairs.into_iter()),
                None => Todo::Elements(elements.iter()),
            });
            f.write_char('[')
        }
        Term::ImproperList(elements, tail) => {
            todo.extend([Todo::Text("]"), Todo::Term(tail), Todo::Text(" | ")]);
            todo.push(Todo::Elements(elements.iter()));
            f.write_char('[')
        }
    }
}

impl Display for BitBinary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("<<")?;
        if let [whole @ .., last] = self.as_bytes() {
            whole.iter().try_for_each(|byte| write!(f, "{byte}, "))?;
            write!(f, "{}::size({})", last >> (8 - self.used()), self.used())?;
        }
        f.write_str(">>")
    }
}

/// The kind and the encoded bytes. Elixir has no literal for these, and nothing parses them.
impl Display for Opaque {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (kind, bytes) = match self.as_bytes() {
            [tag::PID | tag::NEW_PID, rest @ ..] => ("PID", rest),
            [tag::PORT | tag::NEW_PORT | tag::V4_PORT, rest @ ..] => ("Port", rest),
            [tag::EXPORT | tag::NEW_FUN | tag::FUN, rest @ ..] => ("Function", rest),
            [_, rest @ ..] => ("Reference", rest),
            [] => ("Nothing", [].as_slice()),
        };
        write!(f, "#{kind}<")?;
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_char('>')
    }
}

fn separated<'f, T>(
    f: &mut Formatter<'f>,
    items: impl IntoIterator<Item = T>,
    mut print: impl FnMut(&mut Formatter<'f>, T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        print(f, item)?;
    }
    Ok(())
}

/// Returns the pairs of a keyword list, whose elements are all `{name, value}`.
fn keywords(elements: &[Term]) -> Option<Vec<(&str, &Term)>> {
    let pairs = elements.iter().map(|element| match element.as_tuple()? {
        [key, value] => Some((key_name(key)?, value)),
        _ => None,
    });
    pairs.collect()
}

/// Returns the name if the key can be printed before a colon.
fn key_name(key: &Term) -> Option<&str> {
    key.as_atom().filter(|name| module(name).is_none())
}

fn label(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    match is_identifier(name) {
        true => f.write_str(name)?,
        false => quoted(f, name)?,
    }
    f.write_str(": ")
}

fn map<'a>(
    f: &mut Formatter<'_>,
    pairs: &'a BTreeMap<Term, Term>,
    todo: &mut Vec<Todo<'a>>,
) -> fmt::Result {
    todo.push(Todo::Text("}"));
    let names: Option<Vec<_>> = pairs
        .iter()
        .map(|(key, value)| Some((key_name(key)?, value)))
        .collect();
    let Some(mut names) = names else {
        todo.push(Todo::Arrows(pairs.iter()));
        return f.write_str("%{");
    };
    f.write_char('%')?;
    let of_struct = names.iter().position(|&(name, value)| {
        name == "__struct__" && value.as_atom().and_then(module).is_some()
    });
    if let Some(at) = of_struct {
        let (_, name) = names.remove(at);
        Display::fmt(name, f)?;
    }
    todo.push(Todo::Named(names.into_iter()));
    f.write_char('{')
}

fn atom(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    if let Some(alias) = module(name) {
        return f.write_str(alias);
    }
    match name {
        "nil" | "true" | "false" => f.write_str(name),
        _ if is_identifier(name) || OPERATORS.contains(&name) => write!(f, ":{name}"),
        _ => {
            f.write_char(':')?;
            quoted(f, name)
        }
    }
}

/// Returns the name of a module as Elixir writes it, without `Elixir.`.
fn module(name: &str) -> Option<&str> {
    if name == "Elixir" {
        return Some(name);
    }
    let alias = name.strip_prefix("Elixir.")?;
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_uppercase())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    // `Elixir.Elixir.A` would read back as `Elixir.A`.
    let reads_back = alias.split('.').all(plain) && alias.split('.').next() != Some("Elixir");
    reads_back.then_some(alias)
}

/// Returns whether a name needs no quotes: letters, digits, `_` and `@`, and perhaps `?` or `!` at its end.
fn is_identifier(name: &str) -> bool {
    let stem = name.strip_suffix(['?', '!']).unwrap_or(name);
    stem.starts_with(starts_name) && stem.chars().all(continues_name)
}

fn binary(f: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_printable) => quoted(f, text),
        _ => {
            f.write_str("<<")?;
            separated(f, bytes, |f, byte| byte.fmt(f))?;
            f.write_str(">>")
        }
    }
}

/// Returns whether `String.printable?` accepts the character.
fn is_printable(c: char) -> bool {
    matches!(
        c,
        ' '..='~' | '\n' | '\r' | '\t' | '\x0b' | '\x08' | '\x0c' | '\x1b' | '\x7f' | '\x07'
    ) || matches!(c, '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}

fn quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '#' if rest.as_str().starts_with('{') => f.write_str("\\#")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\x07' => f.write_str("\\a")?,
            '\x08' => f.write_str("\\b")?,
            '\x0b' => f.write_str("\\v")?,
            '\x0c' => f.write_str("\\f")?,
            '\x1b' => f.write_str("\\e")?,
            '\x7f' => f.write_str("\\d")?,
            '\0' => f.write_str("\\0")?,
            c if is_printable(c) => f.write_char(c)?,
            c => write!(f, "\\u{{{:X}}}", u32::from(c))?,
        }
    }
    f.write_char('"')
}
