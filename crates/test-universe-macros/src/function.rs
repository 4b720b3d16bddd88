//! The function that the attribute is on.

use proc_macro::{Ident, Span, TokenStream, TokenTree};

use crate::tokens::{Error, is_punct, is_word};

/// An `async fn name() -> … { … }`.
pub(crate) struct Function {
    pub(crate) attributes: TokenStream,
    pub(crate) is_ignored: bool,
    pub(crate) visibility: TokenStream,
    pub(crate) name: Ident,
    /// The return type and the body.
    pub(crate) output: TokenStream,
}

impl Function {
    pub(crate) fn parse(item: TokenStream) -> Result<Self, Error> {
        let mut tokens = item.into_iter().peekable();
        let mut attributes = TokenStream::new();
        let mut is_ignored = false;
        while let Some(hash) = tokens.next_if(|it| is_punct(it, '#')) {
            let Some(TokenTree::Group(attribute)) = tokens.next() else {
                return Err(Error::at(hash.span(), "an attribute without its brackets"));
            };
            match attribute.stream().into_iter().next() {
                Some(word) if word.to_string() == "test" => {
                    let message = "this attribute makes it a `#[test]` already: remove this";
                    return Err(Error::at(attribute.span(), message));
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
            let message = "this attribute takes an `async fn` and nothing else";
            return Err(Error::at(span, message));
        }
        if !is_async {
            let message = "this attribute takes an `async fn`: write `#[test]` for a plain one";
            return Err(Error::at(span, message));
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
