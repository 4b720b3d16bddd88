//! Names of functions and variables.

use proc_macro2::{Ident, Span};
use quote::format_ident;

/// Returns the name of a function without `r#`.
pub(crate) fn unraw(name: &Ident) -> String {
    let name = name.to_string();
    name.strip_prefix("r#").unwrap_or(&name).to_owned()
}

/// Returns a name that collides with none of the user's.
pub(crate) fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// Returns the name of the method that handles a call with its `ReplyTo`.
pub(crate) fn later(call: &Ident) -> Ident {
    format_ident!("__{}_later", unraw(call), span = call.span())
}
