//! The options in the parentheses of the attributes.

use proc_macro2::Ident;
use syn::{
    Error, LitStr, Path, Result, Token,
    parse::{Parse, ParseStream},
};

use crate::library;

/// The longest identifier, in bytes.
const MAX_IDENTIFIER: usize = 36;

/// `identifier = "jobs", version = "1.2.0", accepts = "~> 1.2", crate = "erps"`.
pub(crate) struct ProtocolOptions {
    pub(crate) identifier: Option<LitStr>,
    pub(crate) version: Option<LitStr>,
    pub(crate) accepts: Option<LitStr>,
    pub(crate) library: Path,
}

impl Parse for ProtocolOptions {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let known = ["identifier", "version", "accepts", "crate"];
        let says = "unknown option: there are `identifier = \"jobs\"`, `version = \"1.2.0\"`, \
                    `accepts = \"~> 1.2\"` and `crate = \"erps\"`";
        let [identifier, version, accepts, library] = values(input, known, says)?;
        if let Some(it) = identifier
            .as_ref()
            .filter(|it| it.value().len() > MAX_IDENTIFIER)
        {
            let says = format!("an identifier has at most {MAX_IDENTIFIER} bytes");
            return Err(Error::new(it.span(), says));
        }
        if let Some(it) = version.as_ref().filter(|it| !is_version(&it.value())) {
            let says = "a version is three numbers of up to 255, as in `version = \"1.2.0\"`";
            return Err(Error::new(it.span(), says));
        }
        if let (Some(it), None) = (&accepts, &version) {
            let says = "`accepts` is about versions: add `version = \"1.2.0\"`, which clients send";
            return Err(Error::new(it.span(), says));
        }
        Ok(Self {
            identifier,
            version,
            accepts,
            library: library_path(library)?,
        })
    }
}

/// `crate = "erps"`.
pub(crate) struct ImplOptions {
    pub(crate) library: Path,
}

impl Parse for ImplOptions {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let says = "unknown option: there is `crate = \"erps\"`";
        let [library] = values(input, ["crate"], says)?;
        Ok(Self {
            library: library_path(library)?,
        })
    }
}

fn library_path(given: Option<LitStr>) -> Result<Path> {
    given.map_or_else(|| Ok(library::path()), |it| it.parse())
}

/// Reads `name = "value"` pairs, in any order.
fn values<const N: usize>(
    input: ParseStream<'_>,
    known: [&str; N],
    unknown: &str,
) -> Result<[Option<LitStr>; N]> {
    let mut values = [const { None }; N];
    while !input.is_empty() {
        let name = input.call(<Ident as syn::ext::IdentExt>::parse_any)?;
        let Some(value) = known.iter().position(|it| name == it) else {
            return Err(Error::new(name.span(), unknown));
        };
        if values[value].is_some() {
            return Err(Error::new(name.span(), format!("`{name}` is given twice")));
        }
        let text = input.parse::<Token![=]>().and_then(|_| input.parse());
        let says = |_| {
            Error::new(
                name.span(),
                format!("`{name}` is a text, as in `{name} = \"…\"`"),
            )
        };
        values[value] = Some(text.map_err(says)?);
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(values)
}

fn is_version(text: &str) -> bool {
    let is_number = |it: &str| it.bytes().all(|it| it.is_ascii_digit()) && it.parse::<u8>().is_ok();
    text.split('.').count() == 3 && text.split('.').all(is_number)
}
