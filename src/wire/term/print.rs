//! Terms as Elixir's `inspect` prints them.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter, Write};

use super::{BitBinary, Opaque, Term};
use crate::wire::etf::tag;

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::BigInteger(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Atom(name) => atom(f, name),
            Self::Opaque(opaque) => opaque.fmt(f),
            Self::Tuple(elements) => {
                f.write_char('{')?;
                separated(f, elements, |f, element| element.fmt(f))?;
                f.write_char('}')
            }
            Self::Map(pairs) => map(f, pairs),
            Self::List(elements) => {
                f.write_char('[')?;
                match keywords(elements) {
                    Some(pairs) => separated(f, pairs, keyword)?,
                    None => separated(f, elements, |f, element| element.fmt(f))?,
                }
                f.write_char(']')
            }
            Self::ImproperList(elements, tail) => {
                f.write_char('[')?;
                separated(f, elements, |f, element| element.fmt(f))?;
                write!(f, " | {tail}]")
            }
            Self::Binary(bytes) => binary(f, bytes),
            Self::BitBinary(bits) => bits.fmt(f),
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

/// The pairs of a keyword list: `{name, value}` throughout.
fn keywords(elements: &[Term]) -> Option<Vec<(&str, &Term)>> {
    let pairs = elements.iter().map(|element| match element.as_tuple()? {
        [key, value] => Some((key_name(key)?, value)),
        _ => None,
    });
    pairs
        .collect::<Option<Vec<_>>>()
        .filter(|pairs| !pairs.is_empty())
}

/// The name, if the key may stand before a colon.
fn key_name(key: &Term) -> Option<&str> {
    key.as_atom().filter(|name| module(name).is_none())
}

fn keyword(f: &mut Formatter<'_>, (name, value): (&str, &Term)) -> fmt::Result {
    match is_identifier(name) {
        true => f.write_str(name)?,
        false => quoted(f, name)?,
    }
    write!(f, ": {value}")
}

fn map(f: &mut Formatter<'_>, pairs: &BTreeMap<Term, Term>) -> fmt::Result {
    let names: Option<Vec<_>> = pairs
        .iter()
        .map(|(key, value)| Some((key_name(key)?, value)))
        .collect();
    let Some(mut names) = names else {
        f.write_str("%{")?;
        separated(f, pairs, |f, (key, value)| write!(f, "{key} => {value}"))?;
        return f.write_char('}');
    };
    f.write_char('%')?;
    let of_struct = names.iter().position(|&(name, value)| {
        name == "__struct__" && value.as_atom().and_then(module).is_some()
    });
    if let Some(at) = of_struct {
        let (_, name) = names.remove(at);
        name.fmt(f)?;
    }
    f.write_char('{')?;
    separated(f, names, keyword)?;
    f.write_char('}')
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

/// The name of a module as Elixir writes it, without `Elixir.`.
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

/// Whether a name needs no quotes: letters, digits, `_` and `@`, and perhaps `?` or `!` at its end.
fn is_identifier(name: &str) -> bool {
    let stem = name.strip_suffix(['?', '!']).unwrap_or(name);
    stem.starts_with(super::parse::starts_name) && stem.chars().all(super::parse::continues_name)
}

/// Operators that are atoms without quotes, longer before shorter.
pub(super) const OPERATORS: [&str; 36] = [
    "!==", "===", "&&&", "|||", "<<<", ">>>", "<<~", "~>>", "<~>", "+++", "---", "^^^", "!=", "==",
    "=~", "<=", ">=", "&&", "||", "<>", "++", "--", "|>", "<~", "~>", "..", "!", "<", ">", "+",
    "-", "*", "/", "=", "&", "|",
];

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

/// What `String.printable?` takes.
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
