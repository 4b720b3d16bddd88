//! The path of erps in the user's crate.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span};
use syn::{Path, parse_quote};

/// Returns the path as the user's `Cargo.toml` has it.
pub(crate) fn path() -> Path {
    match crate_name("erps") {
        Ok(FoundCrate::Name(name)) => {
            let name = Ident::new(&name, Span::call_site());
            parse_quote!(::#name)
        }
        // The library's own tests, builds without cargo, and crates that get it through a re-export.
        Ok(FoundCrate::Itself) | Err(_) => parse_quote!(::erps),
    }
}
