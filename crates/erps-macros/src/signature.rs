//! Types in signatures.

use syn::{Error, Result, Type, spanned::Spanned as _};

/// Returns an error unless the type may be that of a message: it is received, and so owned.
pub(crate) fn check_owned(kind: &Type, what: &str) -> Result<()> {
    match kind {
        Type::Reference(reference) => {
            let says = match owned_form(&reference.elem) {
                Some(owned) => format!("{what} is received, and so owned: write `{owned}`"),
                None => format!("{what} is received, and so owned: remove the `&`"),
            };
            Err(Error::new_spanned(kind, says))
        }
        Type::ImplTrait(_) => {
            let says = format!("{what} has one form on the wire: write the type instead of `impl`");
            Err(Error::new_spanned(kind, says))
        }
        Type::Infer(_) => Err(Error::new(
            kind.span(),
            format!("write the type: {what} is declared here"),
        )),
        _ => Ok(()),
    }
}

/// Returns the owned form of `str`, a slice, and a path.
fn owned_form(borrowed: &Type) -> Option<&'static str> {
    match borrowed {
        Type::Path(path) if path.path.is_ident("str") => Some("String"),
        Type::Slice(_) => Some("Vec<…>"),
        _ => None,
    }
}

/// Returns true for `&mut …`: the context, as messages are owned.
pub(crate) fn is_context(kind: &Type) -> bool {
    matches!(kind, Type::Reference(reference) if reference.mutability.is_some())
}

/// Returns true for a path that ends in `ReplyTo`.
pub(crate) fn is_reply_to(kind: &Type) -> bool {
    let Type::Path(path) = kind else { return false };
    path.path
        .segments
        .last()
        .is_some_and(|it| it.ident == "ReplyTo")
}
