//! Completes the signatures of handlers: the context may be left out, and a reply may be given later.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Error, FnArg, GenericArgument, ImplItemFn, PathArguments, Result, Type, parse_quote};

use super::roles::Role;
use crate::{names, options::ImplOptions, signature};

/// Completes a function of `Server` or `ClientHandler`.
pub(super) fn callback(
    role: &Role,
    options: &ImplOptions,
    mut function: ImplItemFn,
) -> Result<ImplItemFn> {
    let library = &options.library;
    let is_init = role.needs_init && function.sig.ident == "init";
    let seed_is_missing = match function.sig.inputs.first() {
        None => true,
        Some(FnArg::Typed(first)) => signature::is_context(&first.ty),
        Some(FnArg::Receiver(receiver)) if is_init => {
            let says = "remove `self`: `init` makes it";
            return Err(Error::new_spanned(receiver, says));
        }
        Some(_) => false,
    };
    if is_init && seed_is_missing {
        let seed = parse_quote!(_: <Self as #library::Server>::Seed);
        function.sig.inputs.insert(0, seed);
    }
    add_context(role, options, &mut function);
    Ok(function)
}

/// Completes the handler of a call, cast or push.
pub(super) fn expand(
    role: &Role,
    options: &ImplOptions,
    mut function: ImplItemFn,
) -> Result<TokenStream> {
    if !matches!(function.sig.inputs.first(), Some(FnArg::Receiver(_))) {
        let says = "a handler takes `&mut self` first; move other functions to an `impl` without the attribute";
        return Err(Error::new_spanned(&function.sig.ident, says));
    }
    let is_later = |it: &syn::Attribute| it.path().is_ident("reply_later");
    let later = function.attrs.iter().position(is_later);
    add_context(role, options, &mut function);
    let reply_to = reply_to(&function);
    match (later, reply_to) {
        (None, None) => Ok(quote!(#function)),
        (None, Some((_, parameter))) => {
            let says = "a handler that is given a `ReplyTo` has the attribute `#[reply_later]`";
            Err(Error::new_spanned(&parameter, says))
        }
        (Some(at), None) => {
            let says = "with `#[reply_later]` a handler takes `from: ReplyTo<…>` after the arguments of the call";
            Err(Error::new_spanned(&function.attrs[at], says))
        }
        (Some(at), Some((position, parameter))) => {
            let reply = reply(&parameter)?;
            function.attrs.remove(at);
            Ok(replies_later(options, function, position, &reply))
        }
    }
}

/// Adds the context as the last parameter, unless it is there.
fn add_context(role: &Role, options: &ImplOptions, function: &mut ImplItemFn) {
    let has_context = match function.sig.inputs.last() {
        Some(FnArg::Typed(last)) => signature::is_context(&last.ty),
        _ => false,
    };
    if !has_context {
        let library = &options.library;
        let context = format_ident!("{}", role.context);
        function
            .sig
            .inputs
            .push(parse_quote!(_: &mut #library::#context<Self>));
    }
}

/// Returns the parameter of type `ReplyTo`, the last before the context, and its position.
fn reply_to(function: &ImplItemFn) -> Option<(usize, Type)> {
    let position = function.sig.inputs.len().checked_sub(2)?;
    match &function.sig.inputs[position] {
        FnArg::Typed(parameter) if signature::is_reply_to(&parameter.ty) => {
            Some((position, (*parameter.ty).clone()))
        }
        _ => None,
    }
}

/// Returns the `T` of a `ReplyTo<T>`.
fn reply(reply_to: &Type) -> Result<Type> {
    if let Type::Path(path) = reply_to
        && let Some(last) = path.path.segments.last()
        && let PathArguments::AngleBracketed(arguments) = &last.arguments
        && let Some(GenericArgument::Type(reply)) = arguments.args.first()
    {
        return Ok(reply.clone());
    }
    let says = "write the type of the reply, as in `ReplyTo<u64>`";
    Err(Error::new_spanned(reply_to, says))
}

/// Returns the method that takes the `ReplyTo`, and the one that would return the reply, which is never called.
fn replies_later(
    options: &ImplOptions,
    mut function: ImplItemFn,
    position: usize,
    reply: &Type,
) -> TokenStream {
    let library = &options.library;
    let cfg = function.attrs.iter().filter(|it| it.path().is_ident("cfg"));
    let cfg = quote!(#(#cfg)*);
    let name = function.sig.ident.clone();
    let kinds = function
        .sig
        .inputs
        .iter()
        .enumerate()
        .filter_map(|(at, input)| match input {
            FnArg::Typed(parameter) if at != position => Some(&parameter.ty),
            _ => None,
        });
    let returns = quote! {
        #cfg
        async fn #name(&mut self, #(_: #kinds),*) -> #reply {
            #library::__private::replies_later()
        }
    };
    function.sig.ident = names::later(&name);
    quote!(#returns #function)
}
