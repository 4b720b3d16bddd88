//! The options of the attribute.

use proc_macro::{Delimiter, Group, Literal, Span, TokenStream, TokenTree};

use crate::tokens::{Error, group, is_punct, quote, spanned};

/// What is in the parentheses of the attribute.
pub(crate) struct Options {
    /// Calls of methods of `Check`.
    pub(crate) calls: TokenStream,
    /// The path of the library, if it is given.
    pub(crate) library: Option<TokenStream>,
}

/// Whether an option takes a value.
#[derive(Clone, Copy, PartialEq)]
enum Value {
    None,
    Required,
    Optional,
}

/// `name = value`, or `name` alone.
struct Item {
    name: String,
    span: Span,
    value: Vec<TokenTree>,
}

const DURATIONS: [&str; 4] = [
    "timeout",
    "virtual_limit",
    "shutdown_timeout",
    "external_timeout",
];

impl Options {
    pub(crate) fn parse(options: TokenStream) -> Result<Self, Error> {
        let mut calls = TokenStream::new();
        let mut given: Vec<(String, Span)> = Vec::new();
        let mut library = None;
        let mut tokens = options.into_iter().peekable();
        while let Some(word) = tokens.next() {
            let mut value = Vec::new();
            if tokens.next_if(|it| is_punct(it, '=')).is_some() {
                value.extend(std::iter::from_fn(|| {
                    tokens.next_if(|it| !is_punct(it, ','))
                }));
            }
            let item = Item {
                name: word.to_string(),
                span: word.span(),
                value,
            };
            item.check(tokens.peek())?;
            if let Some(other) = tokens.next_if(|it| !is_punct(it, ',')) {
                return Err(Error::at(other.span(), "a comma is missing before this"));
            }
            tokens.next();
            if given.iter().any(|(name, _)| *name == item.name) {
                let message = format!("`{}` is given twice", item.name);
                return Err(Error::at(item.span, message));
            }
            given.push((item.name.clone(), item.span));
            match &*item.name {
                "crate" => library = Some(path(&item.value)?),
                _ => calls.extend(item.into_call()?),
            }
        }
        let of = |name: &str| given.iter().find(|(given, _)| given == name);
        for needs_simulated in ["seeds", "virtual_limit", "external_timeout"] {
            if let (Some((name, span)), None) = (of(needs_simulated), of("simulated")) {
                let message = format!("`{name}` is for `simulated` tests");
                return Err(Error::at(*span, message));
            }
        }
        Ok(Self { calls, library })
    }
}

impl Item {
    fn check(&self, next: Option<&TokenTree>) -> Result<(), Error> {
        let name = &*self.name;
        let error = |message: String| Err(Error::at(self.span, message));
        let takes = match name {
            "simulated" => Value::None,
            "allow_panics" => Value::Optional,
            "seeds" | "panics" | "crate" => Value::Required,
            _ if DURATIONS.contains(&name) => Value::Required,
            "seed" => {
                return error(
                    "one seed is a range of one: `seeds = 7..8`; `UNIVERSE_SEED=7` sets it for one run".to_owned(),
                );
            }
            _ => {
                return error(
                    "unknown option; the options are `simulated`, `seeds = 50`, `timeout = 60`, `panics = \"text\"`, \
                     `allow_panics`, `virtual_limit = \"7d\"`, `shutdown_timeout = 6`, `external_timeout = 2` and \
                     `crate = \"path\"`"
                        .to_owned(),
                );
            }
        };
        match (takes, self.value.is_empty()) {
            (Value::Required, true) => {
                return error(format!("`{name}` needs a value, as in `{name} = 50`"));
            }
            (Value::None, false) => return error(format!("`{name}` takes no value")),
            _ => {}
        }
        if matches!(next, Some(TokenTree::Group(_))) {
            return error(format!(
                "`{name}` is not called; values are given as in `seeds = 50`"
            ));
        }
        if let Some(equals) = inclusive(&self.value) {
            let message = "a range excludes its end here: `seeds = 0..6`";
            return Err(Error::at(equals, message));
        }
        Ok(())
    }

    /// The call of the method of `Check`.
    fn into_call(self) -> Result<TokenStream, Error> {
        let Self { name, value, .. } = self;
        let argument = match &*name {
            "allow_panics" if value.is_empty() => quote("\"\""),
            "seeds" if !is_range(&value) => with_value("0..", value),
            _ if DURATIONS.contains(&&*name) => duration(value)?,
            _ => value.into_iter().collect(),
        };
        let mut call = quote(&format!(".{name}"));
        call.extend(group(Delimiter::Parenthesis, argument));
        Ok(call)
    }
}

/// Seconds, or text with a unit.
fn duration(value: Vec<TokenTree>) -> Result<TokenStream, Error> {
    if let [TokenTree::Literal(literal)] = &value[..] {
        let text = literal.to_string();
        if let Some(text) = unquoted(&text) {
            let nanos = nanoseconds(text).ok_or_else(|| {
                let message = "a duration is a number of seconds, or text as in \"500ms\", \"5s\", \"10m\", \"2h\" or \"7d\"";
                Error::at(literal.span(), message)
            })?;
            let nanos = TokenTree::from(Literal::u64_suffixed(nanos));
            return Ok(with_value(
                "::core::time::Duration::from_nanos",
                vec![nanos],
            ));
        }
        if text.contains('.') {
            return Ok(with_value("::core::time::Duration::from_secs_f64", value));
        }
    }
    Ok(with_value("::core::time::Duration::from_secs", value))
}

fn nanoseconds(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// The path that is written in a string.
fn path(value: &[TokenTree]) -> Result<TokenStream, Error> {
    let at = value[0].span();
    let error = || Error::at(at, "a path is text, as in `crate = \"net\"`");
    let [TokenTree::Literal(literal)] = value else {
        return Err(error());
    };
    let text = literal.to_string();
    let path: TokenStream = unquoted(&text)
        .ok_or_else(error)?
        .parse()
        .map_err(|_| error())?;
    let is_path = |it: &TokenTree| matches!(it, TokenTree::Ident(_)) || is_punct(it, ':');
    match path.is_empty() || !path.clone().into_iter().all(|it| is_path(&it)) {
        true => Err(error()),
        // The compiler reports a wrong path at its place.
        false => Ok(spanned(path, at)),
    }
}

fn unquoted(literal: &str) -> Option<&str> {
    literal.strip_prefix('"')?.strip_suffix('"')
}

/// `function(value)`.
fn with_value(function: &str, value: Vec<TokenTree>) -> TokenStream {
    let at = value[0].span();
    let mut value = Group::new(Delimiter::Parenthesis, value.into_iter().collect());
    value.set_span(at);
    let mut tokens = quote(function);
    tokens.extend([TokenTree::from(value)]);
    tokens
}

fn is_range(value: &[TokenTree]) -> bool {
    value
        .windows(2)
        .any(|two| two.iter().all(|it| is_punct(it, '.')))
}

/// Where a range contains `..=`.
fn inclusive(value: &[TokenTree]) -> Option<Span> {
    let equals = value.iter().position(|it| is_punct(it, '='))?;
    is_range(&value[..equals]).then(|| value[equals].span())
}
