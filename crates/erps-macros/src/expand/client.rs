//! The methods of clients.

use proc_macro2::TokenStream;
use quote::quote;

use crate::{
    declaration::Protocol,
    item::{Item, Kind},
};

/// Writes `trait JobsClient`.
pub(super) fn expand(protocol: &Protocol) -> TokenStream {
    if !protocol.has(Kind::Call) && !protocol.has(Kind::Cast) {
        return TokenStream::new();
    }
    let library = &protocol.options.library;
    let visibility = &protocol.visibility;
    let name = protocol.named("Client");
    let protocol_name = protocol.named("Protocol");
    let says = format!(
        "The calls and casts of [`{}`], as methods of a `Client`, a `ServerRef`, and of either with options.",
        protocol.name
    );
    let items = protocol.items.iter().filter(|it| it.kind != Kind::Push);
    let methods = items.map(|item| method(protocol, item));
    quote! {
        #[doc = #says]
        #[allow(missing_docs, reason = "the trait of the server is documented")]
        #[allow(clippy::missing_errors_doc, reason = "the errors are those of the handle")]
        #[allow(deprecated, reason = "a deprecated message is still sent")]
        #visibility trait #name: #library::Caller<#protocol_name> {
            #(#methods)*
        }

        impl<C: #library::Caller<#protocol_name>> #name for C {}
    }
}

fn method(protocol: &Protocol, item: &Item) -> TokenStream {
    let library = &protocol.options.library;
    let Item {
        attributes,
        name,
        reply,
        ..
    } = item;
    let protocol_name = protocol.named("Protocol");
    let parameters = item.parameters();
    let message = protocol.message(item);
    let (output, body) = match item.kind {
        Kind::Call => (
            quote!(::core::result::Result<#reply, Self::CallError>),
            quote!(#library::Caller::<#protocol_name>::call_as::<#reply>(self, #message)),
        ),
        _ => (
            quote!(::core::result::Result<(), Self::CastError>),
            quote!(#library::Caller::<#protocol_name>::cast(self, #message)),
        ),
    };
    quote! {
        #(#attributes)*
        #[track_caller]
        fn #name(
            &self,
            #parameters
        ) -> impl ::core::future::Future<Output = #output> + ::core::marker::Send {
            #body
        }
    }
}
