//! Splits a block of handlers into the implementations of the protocol's trait and of `Server` or `ClientHandler`.

mod handler;
mod roles;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Error, ImplItem, ImplItemFn, ImplItemType, ItemImpl, Path, Result, Type, spanned::Spanned as _,
};

use crate::{names::unraw, options::ImplOptions};
pub(crate) use roles::{HANDLER, Role, SERVER};

/// What a block consists of.
#[derive(Default)]
struct Parts {
    types: Vec<ImplItemType>,
    callbacks: Vec<ImplItemFn>,
    handlers: TokenStream,
}

pub(crate) fn expand(role: &Role, options: &ImplOptions, block: ItemImpl) -> Result<TokenStream> {
    let library = &options.library;
    let Some((declared, _)) = &block.trait_ else {
        let says = format!(
            "this attribute takes `{} for …`, with the trait of a protocol",
            role.block
        );
        return Err(Error::new(block.impl_token.span, says));
    };
    let mut parts = Parts::default();
    for item in block.items {
        parts.add(role, options, item)?;
    }
    let protocol = parts.protocol(role, declared)?;
    let (generics, _, bounds) = block.generics.split_for_impl();
    let server = &block.self_ty;
    let attributes = &block.attrs;
    let cfg = block.attrs.iter().filter(|it| it.path().is_ident("cfg"));
    let base = format_ident!("{}", role.base);
    let own = parts.base(role, options, &protocol, server)?;
    let handlers = parts.handlers;
    Ok(quote! {
        #(#attributes)*
        #[allow(refining_impl_trait, reason = "a handler returns a reply, or a `Result` of it")]
        impl #generics #declared for #server #bounds {
            #handlers
        }

        #(#cfg)*
        impl #generics #library::#base for #server #bounds {
            #own
        }
    })
}

impl Parts {
    fn add(&mut self, role: &Role, options: &ImplOptions, item: ImplItem) -> Result<()> {
        match item {
            ImplItem::Type(item) => {
                if !role.types.iter().any(|it| item.ident == it) && item.ident != "Protocol" {
                    let says = format!("there is no such type here: there {}", role.types_text);
                    return Err(Error::new_spanned(&item.ident, says));
                }
                self.types.push(item);
            }
            ImplItem::Fn(function) => {
                let name = unraw(&function.sig.ident);
                if role.written.contains(&name.as_str()) {
                    let says = format!(
                        "`{name}` is written by this attribute: {}",
                        role.written_text
                    );
                    return Err(Error::new_spanned(&function.sig.ident, says));
                }
                if role.callbacks.contains(&name.as_str()) {
                    self.callbacks
                        .push(handler::callback(role, options, function)?);
                } else {
                    self.handlers
                        .extend(handler::expand(role, options, function)?);
                }
            }
            other => {
                let says = "this attribute takes functions and types: move this to another `impl`";
                return Err(Error::new_spanned(&other, says));
            }
        }
        Ok(())
    }

    fn given(&self, name: &str) -> Option<&ImplItemType> {
        self.types.iter().find(|it| it.ident == name)
    }

    /// Returns the protocol: `type Protocol`, or the one that belongs to the trait by its name.
    fn protocol(&self, role: &Role, declared: &Path) -> Result<Type> {
        if let Some(given) = self.given("Protocol") {
            return Ok(given.ty.clone());
        }
        let mut path = declared.clone();
        if let Some(last) = path.segments.last_mut() {
            let name = unraw(&last.ident);
            let Some(name) = name.strip_suffix(role.suffix) else {
                let says = format!("the trait of a protocol's pushes ends in `{}`", role.suffix);
                return Err(Error::new_spanned(&last.ident, says));
            };
            last.ident = Ident::new(&format!("{name}Protocol"), last.ident.span());
        }
        Ok(Type::Path(syn::TypePath {
            attrs: Vec::new(),
            qself: None,
            path,
        }))
    }

    /// Returns the items of the implementation of `Server` or `ClientHandler`.
    fn base(
        &self,
        role: &Role,
        options: &ImplOptions,
        protocol: &Type,
        server: &Type,
    ) -> Result<TokenStream> {
        let library = &options.library;
        let types = role.types.iter().map(|name| {
            if let Some(given) = self.given(name) {
                return quote!(#given);
            }
            let name = format_ident!("{name}");
            quote!(type #name = ();)
        });
        let callbacks = &self.callbacks;
        let has_init = callbacks.iter().any(|it| it.sig.ident == "init");
        let init = match role.needs_init && !has_init {
            true => Some(self.default_init(library, server)?),
            false => None,
        };
        let dispatch = (role.dispatch)(library, protocol);
        Ok(quote! {
            type Protocol = #protocol;
            #(#types)*
            #init
            #(#callbacks)*
            #dispatch
        })
    }

    fn default_init(&self, library: &Path, server: &Type) -> Result<TokenStream> {
        if let Some(seed) = self.given("Seed") {
            let says = "nothing takes this seed: write `async fn init(seed: …) -> Result<Self, InitError>`";
            return Err(Error::new_spanned(&seed.ident, says));
        }
        let default =
            quote_spanned!(server.span()=> <#server as ::core::default::Default>::default());
        Ok(quote! {
            async fn init(
                _: (),
                _: &mut #library::Context<Self>,
            ) -> ::core::result::Result<Self, #library::InitError> {
                ::core::result::Result::Ok(#default)
            }
        })
    }
}
