//! The test attribute that test-universe and erps export as `test`. Their documentation describes it.
//!
//! The macro only rewrites tokens; `test_universe::Check` runs the test and reports its failure. It parses no more of a
//! function than it needs, so that the compiler reports mistakes in it at their place, and needs no parser of all of
//! Rust.

mod function;
mod options;
mod tokens;

use proc_macro::{Delimiter, Literal, TokenStream, TokenTree};

use function::Function;
use options::Options;
use tokens::{Error, group, quote};

/// See `test_universe::test`, which re-exports this with its documentation.
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    let library = Library {
        package: "test_universe",
        check: "::Check::new",
        prefix: None,
    };
    expand(&library, options, item)
}

/// Turns an `async fn` into a `#[test]` that runs in a new universe, with the options of `test_universe::test`.
///
/// The environment variables `ERPS_SEED`, `ERPS_SEEDS`, `ERPS_REPLICATION` and `ERPS_TIMEOUT` override those with
/// `UNIVERSE_` instead of `ERPS_`, and the options. The line that reproduces a failure names them.
#[proc_macro_attribute]
pub fn erps_test(options: TokenStream, item: TokenStream) -> TokenStream {
    let library = Library {
        package: "erps",
        check: "::universe::Check::new",
        prefix: Some("ERPS"),
    };
    expand(&library, options, item)
}

/// The library that exports the attribute.
struct Library {
    package: &'static str,
    /// The path of `Check::new` in it.
    check: &'static str,
    /// The prefix of its environment variables, beside `UNIVERSE`.
    prefix: Option<&'static str>,
}

fn expand(library: &Library, options: TokenStream, item: TokenStream) -> TokenStream {
    match rewrite(library, options, item.clone()) {
        Ok(test) => test,
        // The item is kept, so that its other errors, and those of code that uses it, are reported separately.
        Err(error) => [error.into_tokens(), item].into_iter().collect(),
    }
}

fn rewrite(
    library: &Library,
    options: TokenStream,
    item: TokenStream,
) -> Result<TokenStream, Error> {
    let options = Options::parse(options)?;
    let function = Function::parse(item)?;
    let name = TokenStream::from(TokenTree::from(function.name.clone()));
    let text = function.name.to_string();
    let text = Literal::string(text.strip_prefix("r#").unwrap_or(&text));

    let path = options.library;
    let mut check = path.unwrap_or_else(|| quote(&path_of(library.package)));
    check.extend(quote(library.check));
    let path = "::core::concat!(::core::module_path!(), \"::\", ".to_owned() + &text.to_string();
    check.extend(group(Delimiter::Parenthesis, quote(&(path + ")"))));
    check.extend(quote(".package(::core::option_env!(\"CARGO_PKG_NAME\"))"));
    if let Some(prefix) = library.prefix {
        check.extend(quote(&format!(".env_prefix({prefix:?})")));
    }
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
