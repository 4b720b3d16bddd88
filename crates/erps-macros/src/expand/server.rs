//! The trait that a server implements, and the dispatch to its methods.

use proc_macro2::TokenStream;
use quote::quote;

use crate::{
    declaration::Protocol,
    item::{Item, Kind},
    names::{later, local},
};

pub(super) fn expand(protocol: &Protocol) -> TokenStream {
    let library = &protocol.options.library;
    let visibility = &protocol.visibility;
    let attributes = &protocol.attributes;
    let name = &protocol.name;
    let protocol_name = protocol.named("Protocol");
    let calls = protocol.of(Kind::Call).map(|item| call(protocol, item));
    let casts = protocol.of(Kind::Cast).map(|item| cast(protocol, item));
    let dispatch = [dispatch_call(protocol), dispatch_cast(protocol)];
    quote! {
        #(#attributes)*
        #visibility trait #name: #library::Server<Protocol = #protocol_name> {
            #(#calls)*
            #(#casts)*
        }

        #[allow(deprecated, reason = "a deprecated message is still handled")]
        impl #protocol_name {
            #(#dispatch)*
        }
    }
}

/// Writes the method that handles a call, and the one that `#[reply_later]` makes of it.
fn call(protocol: &Protocol, item: &Item) -> TokenStream {
    let library = &protocol.options.library;
    let Item {
        attributes,
        name,
        reply,
        ..
    } = item;
    let cfg = item.cfg();
    let parameters = item.parameters();
    let names = item.names();
    let [cx, from] = [local("cx"), local("from")];
    let later = later(&item.name);
    quote! {
        #(#attributes)*
        fn #name(
            &mut self,
            #parameters
            #cx: &mut #library::Context<Self>,
        ) -> impl ::core::future::Future<Output = impl #library::IntoReply<#reply>> + ::core::marker::Send;

        #(#cfg)*
        #[doc(hidden)]
        #[allow(deprecated, reason = "a deprecated message is still handled")]
        fn #later(
            &mut self,
            #parameters
            #from: #library::ReplyTo<#reply>,
            #cx: &mut #library::Context<Self>,
        ) -> impl ::core::future::Future<Output = impl #library::IntoReply<()>> + ::core::marker::Send {
            async move {
                let reply = #library::IntoReply::<#reply>::into_reply(self.#name(#(#names,)* #cx).await)?;
                #from.reply(reply);
                ::core::result::Result::<(), #library::BoxError>::Ok(())
            }
        }
    }
}

fn cast(protocol: &Protocol, item: &Item) -> TokenStream {
    let library = &protocol.options.library;
    let Item {
        attributes, name, ..
    } = item;
    let parameters = item.parameters();
    let cx = local("cx");
    quote! {
        #(#attributes)*
        fn #name(
            &mut self,
            #parameters
            #cx: &mut #library::Context<Self>,
        ) -> impl ::core::future::Future<Output = impl #library::IntoReply<()>> + ::core::marker::Send;
    }
}

fn dispatch_call(protocol: &Protocol) -> TokenStream {
    let library = &protocol.options.library;
    let visibility = &protocol.visibility;
    let name = &protocol.name;
    let messages = protocol.messages(Kind::Call);
    let [server, call, from, cx] = ["server", "call", "from", "cx"].map(local);
    let says = format!(
        "Handles a call with the method of [`{name}`], for a `Server::handle_call` that is written by hand."
    );
    let arms = protocol.of(Kind::Call).map(|item| {
        let cfg = item.cfg();
        let message = protocol.message(item);
        let later = later(&item.name);
        let names = item.names();
        quote! {
            #(#cfg)*
            #message => #library::IntoReply::<()>::into_reply(
                #name::#later(#server, #(#names,)* #from.typed(), #cx).await
            ),
        }
    });
    quote! {
        #[doc = #says]
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = ""]
        #[doc = "The error of the method, which stops the server."]
        #[allow(unused_variables, clippy::unused_async, reason = "a protocol may have no calls")]
        #visibility async fn handle_call<S: #name>(
            #server: &mut S,
            #call: #messages,
            #from: #library::ReplyTo<#library::AnyReply>,
            #cx: &mut #library::Context<S>,
        ) -> ::core::result::Result<(), #library::BoxError> {
            match #call { #(#arms)* }
        }
    }
}

fn dispatch_cast(protocol: &Protocol) -> TokenStream {
    let library = &protocol.options.library;
    let visibility = &protocol.visibility;
    let name = &protocol.name;
    let messages = protocol.messages(Kind::Cast);
    let [server, cast, cx] = ["server", "cast", "cx"].map(local);
    let says = format!(
        "Handles a cast with the method of [`{name}`], for a `Server::handle_cast` that is written by hand."
    );
    let arms = protocol.of(Kind::Cast).map(|item| {
        let cfg = item.cfg();
        let message = protocol.message(item);
        let method = &item.name;
        let names = item.names();
        quote! {
            #(#cfg)*
            #message => #library::IntoReply::<()>::into_reply(#name::#method(#server, #(#names,)* #cx).await),
        }
    });
    quote! {
        #[doc = #says]
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = ""]
        #[doc = "The error of the method, which stops the server."]
        #[allow(unused_variables, clippy::unused_async, reason = "a protocol may have no casts")]
        #visibility async fn handle_cast<S: #name>(
            #server: &mut S,
            #cast: #messages,
            #cx: &mut #library::Context<S>,
        ) -> ::core::result::Result<(), #library::BoxError> {
            match #cast { #(#arms)* }
        }
    }
}
