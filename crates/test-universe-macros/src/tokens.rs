//! Tokens, and errors at tokens.

use proc_macro::{Delimiter, Group, Literal, Span, TokenStream, TokenTree};

pub(crate) fn spanned(tokens: TokenStream, at: Span) -> TokenStream {
    let at = |mut token: TokenTree| {
        token.set_span(at);
        token
    };
    tokens.into_iter().map(at).collect()
}

pub(crate) fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

pub(crate) fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == word)
}

/// Parses source code of this crate.
pub(crate) fn quote(source: &str) -> TokenStream {
    source.parse().expect("it is written in this crate")
}

pub(crate) fn group(delimiter: Delimiter, inside: TokenStream) -> TokenStream {
    TokenTree::from(Group::new(delimiter, inside)).into()
}

/// A mistake in a test, and where it is.
pub(crate) struct Error {
    at: Span,
    message: String,
}

impl Error {
    pub(crate) fn at(at: Span, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { at, message }
    }

    pub(crate) fn into_tokens(self) -> TokenStream {
        let text = Literal::string(&self.message).to_string();
        spanned(
            quote(&format!("::core::compile_error! {{ {text} }}")),
            self.at,
        )
    }
}
