//! The attribute that test-universe and erps export as `test`, which says what it is for.
//!
//! It only rewrites. What a test is, how it is run and what is said when it fails, is in
//! `test_universe::Check`. An item is taken apart as far as needed and no further, so that mistakes
//! in it are reported by the compiler, at their place; that needs no parser of all of Rust.

use proc_macro::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};

/// See `test_universe::test`.
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    expand("test_universe", "::Check::new", options, item)
}

/// See `erps::test`.
#[proc_macro_attribute]
pub fn erps_test(options: TokenStream, item: TokenStream) -> TokenStream {
    expand("erps", "::universe::Check::new", options, item)
}

fn expand(library: &str, check: &str, options: TokenStream, item: TokenStream) -> TokenStream {
    match rewrite(library, check, options, item.clone()) {
        Ok(test) => test,
        // The item itself is kept: what else is wrong in it, and what names it, is told apart from this.
        Err(error) => [error.into_tokens(), item].into_iter().collect(),
    }
}

fn rewrite(
    library: &str,
    new: &str,
    options: TokenStream,
    item: TokenStream,
) -> Result<TokenStream, Error> {
    let options = Options::parse(options)?;
    let function = Function::parse(item)?;
    let name = TokenStream::from(TokenTree::from(function.name.clone()));
    let text = function.name.to_string();
    let text = Literal::string(text.strip_prefix("r#").unwrap_or(&text));

    let mut check = options.library.unwrap_or_else(|| quote(&path_of(library)));
    check.extend(quote(new));
    let path = "::core::concat!(::core::module_path!(), \"::\", ".to_owned() + &text.to_string();
    check.extend(group(Delimiter::Parenthesis, quote(&(path + ")"))));
    check.extend(quote(".package(::core::option_env!(\"CARGO_PKG_NAME\"))"));
    check.extend(options.calls);
    if function.is_ignored {
        check.extend(quote(".ignored()"));
    }
    check.extend(quote(".run"));
    check.extend(group(Delimiter::Parenthesis, name.clone()));

    let mut body = quote("async fn");
    body.extend(name.clone());
    body.extend(group(Delimiter::Parenthesis, TokenStream::new()));
    body.extend(function.output);
    body.extend(check);

    let mut test = function.attributes;
    test.extend(quote("#[::core::prelude::v1::test]"));
    test.extend(function.visibility);
    test.extend(quote("fn"));
    test.extend(name);
    test.extend(group(Delimiter::Parenthesis, TokenStream::new()));
    test.extend(group(Delimiter::Brace, body));
    Ok(test)
}

/// An `async fn name() -> … { … }`.
struct Function {
    attributes: TokenStream,
    is_ignored: bool,
    visibility: TokenStream,
    name: Ident,
    /// The return type and the body.
    output: TokenStream,
}

impl Function {
    fn parse(item: TokenStream) -> Result<Self, Error> {
        let mut tokens = item.into_iter().peekable();
        let mut attributes = TokenStream::new();
        let mut is_ignored = false;
        while let Some(hash) = tokens.next_if(|it| is_punct(it, '#')) {
            let Some(TokenTree::Group(attribute)) = tokens.next() else {
                return Err(Error::at(hash.span(), "an attribute without its brackets"));
            };
            match attribute.stream().into_iter().next() {
                Some(word) if word.to_string() == "test" => {
                    let says = "this attribute makes it a `#[test]` already: remove this";
                    return Err(Error::at(attribute.span(), says));
                }
                Some(word) => is_ignored |= word.to_string() == "ignore",
                None => {}
            }
            attributes.extend([hash, attribute.into()]);
        }
        let mut visibility = TokenStream::new();
        if let Some(public) = tokens.next_if(|it| is_word(it, "pub")) {
            visibility.extend([public]);
            visibility.extend(tokens.next_if(|it| matches!(it, TokenTree::Group(_))));
        }
        let is_async = tokens.next_if(|it| is_word(it, "async")).is_some();
        let word = tokens.next();
        let span = word.as_ref().map_or_else(Span::call_site, TokenTree::span);
        if !word.is_some_and(|it| is_word(&it, "fn")) {
            let says = "this attribute takes an `async fn` and nothing else";
            return Err(Error::at(span, says));
        }
        if !is_async {
            let says = "this attribute takes an `async fn`: write `#[test]` for a plain one";
            return Err(Error::at(span, says));
        }
        let Some(TokenTree::Ident(name)) = tokens.next() else {
            return Err(Error::at(span, "a function without a name"));
        };
        let arguments = match tokens.next() {
            Some(TokenTree::Group(arguments)) => arguments,
            other => {
                let span = other.map_or(span, |it| it.span());
                return Err(Error::at(
                    span,
                    "a test has no parameters of types or lifetimes",
                ));
            }
        };
        if let Some(first) = arguments.stream().into_iter().next() {
            return Err(Error::at(first.span(), "a test has no arguments"));
        }
        Ok(Self {
            attributes,
            is_ignored,
            visibility,
            name,
            output: tokens.collect(),
        })
    }
}

/// What is in the parentheses of the attribute, as calls of methods.
struct Options {
    calls: TokenStream,
    /// The path of the library, if it is given.
    library: Option<TokenStream>,
}

impl Options {
    fn parse(options: TokenStream) -> Result<Self, Error> {
        let mut calls = TokenStream::new();
        let mut given = Vec::new();
        let mut library = None;
        let mut tokens = options.into_iter().peekable();
        while let Some(word) = tokens.next() {
            let (name, span) = (word.to_string(), word.span());
            let takes_value = match &*name {
                "simulated" => Some(false),
                "seeds" | "timeout" | "panics" | "crate" => Some(true),
                "allow_panics" => None,
                "seed" => {
                    let says = "one seed is a range of one: `seeds = 7..8`; `ERPS_SEED=7` does it for once";
                    return Err(Error::at(span, says));
                }
                _ => {
                    let says = "unknown option: there are `simulated`, `seeds = 50`, `timeout = 60`, `panics = \"text\"`, \
                         `allow_panics` and `crate = \"erps\"`";
                    return Err(Error::at(span, says));
                }
            };
            let mut value = Vec::new();
            if tokens.next_if(|it| is_punct(it, '=')).is_some() {
                value.extend(std::iter::from_fn(|| {
                    tokens.next_if(|it| !is_punct(it, ','))
                }));
            }
            if let Some(takes_value) = takes_value
                && takes_value == value.is_empty()
            {
                let says = match takes_value {
                    true => format!("`{name}` has a value, as in `{name} = 50`"),
                    false => format!("`{name}` has no value"),
                };
                return Err(Error::at(span, says));
            }
            if matches!(tokens.peek(), Some(TokenTree::Group(_))) {
                let says = format!("`{name}` is not called; values are as in `seeds = 50`");
                return Err(Error::at(span, says));
            }
            if let Some(other) = tokens.next_if(|it| !is_punct(it, ',')) {
                return Err(Error::at(other.span(), "a comma is missing before this"));
            }
            tokens.next();
            if given.iter().any(|(before, _)| *before == name) {
                return Err(Error::at(span, format!("`{name}` is given twice")));
            }
            if let Some(equals) = inclusive(&value) {
                let says = "the end of this range is not in it: `seeds = 0..6`";
                return Err(Error::at(equals, says));
            }
            given.push((name.clone(), span));
            if name == "crate" {
                library = Some(path(&value)?);
                continue;
            }
            calls.extend(quote(&format!(".{name}")));
            let value = match &*name {
                "allow_panics" if value.is_empty() => quote("\"\""),
                "timeout" => with_value("::core::time::Duration::from_secs", value),
                // A number of seeds means the first ones.
                "seeds" if !is_range(&value) => with_value("0..", value),
                _ => value.into_iter().collect(),
            };
            calls.extend(group(Delimiter::Parenthesis, value));
        }
        let of = |name: &str| given.iter().find(|(given, _)| given == name);
        match (of("seeds"), of("simulated")) {
            (Some((_, span)), None) => {
                let says = "`seeds` is for `simulated` tests: the real world has none";
                Err(Error::at(*span, says))
            }
            _ => Ok(Self { calls, library }),
        }
    }
}

/// The path of the library, as the user's `Cargo.toml` has it.
#[cfg(feature = "renamed")]
fn path_of(library: &str) -> String {
    use proc_macro_crate::{FoundCrate, crate_name};

    match crate_name(&library.replace('_', "-")) {
        Ok(FoundCrate::Name(name)) => format!("::{name}"),
        // The library's own tests, builds without cargo, and crates that get it through a re-export.
        Ok(FoundCrate::Itself) | Err(_) => format!("::{library}"),
    }
}

/// The path of the library, if it is not renamed.
#[cfg(not(feature = "renamed"))]
fn path_of(library: &str) -> String {
    format!("::{library}")
}

/// The path that is written in a string.
fn path(value: &[TokenTree]) -> Result<TokenStream, Error> {
    let at = value[0].span();
    let error = || Error::at(at, "a path is text, as in `crate = \"net\"`");
    let [TokenTree::Literal(literal)] = value else {
        return Err(error());
    };
    let text = literal.to_string();
    let text = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let path: TokenStream = text.ok_or_else(error)?.parse().map_err(|_| error())?;
    let is_path = |it: &TokenTree| matches!(it, TokenTree::Ident(_)) || is_punct(it, ':');
    match path.is_empty() || !path.clone().into_iter().all(|it| is_path(&it)) {
        true => Err(error()),
        // So that the compiler says of a wrong one where it is.
        false => Ok(spanned(path, at)),
    }
}

fn spanned(tokens: TokenStream, at: Span) -> TokenStream {
    let at = |mut token: TokenTree| {
        token.set_span(at);
        token
    };
    tokens.into_iter().map(at).collect()
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

/// Where a range says `..=`.
fn inclusive(value: &[TokenTree]) -> Option<Span> {
    let equals = value.iter().position(|it| is_punct(it, '='))?;
    is_range(&value[..equals]).then(|| value[equals].span())
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == word)
}

/// Tokens from source code of this file.
fn quote(source: &str) -> TokenStream {
    source.parse().expect("it is written in this file")
}

fn group(delimiter: Delimiter, inside: TokenStream) -> TokenStream {
    TokenTree::from(Group::new(delimiter, inside)).into()
}

/// What is wrong with a test, and where.
struct Error {
    at: Span,
    says: String,
}

impl Error {
    fn at(at: Span, says: impl Into<String>) -> Self {
        let says = says.into();
        Self { at, says }
    }

    fn into_tokens(self) -> TokenStream {
        let text = Literal::string(&self.says).to_string();
        spanned(
            quote(&format!("::core::compile_error! {{ {text} }}")),
            self.at,
        )
    }
}
