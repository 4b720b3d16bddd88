//! Pushes: the methods that send them, and the trait of a client's handler.

use proc_macro2::TokenStream;
use quote::quote;

use crate::{
    declaration::Protocol,
    item::{Item, Kind},
    names::local,
};

pub(super) fn expand(protocol: &Protocol) -> TokenStream {
    match protocol.has(Kind::Push) {
        true => [senders(protocol), handler(protocol), dispatch(protocol)]
            .into_iter()
            .collect(),
        false => TokenStream::new(),
    }
}

/// Writes `trait JobsPushes`.
fn senders(protocol: &Protocol) -> TokenStream {
    let library = &protocol.options.library;
    let visibility = &protocol.visibility;
    let name = protocol.named("Pushes");
    let protocol_name = protocol.named("Protocol");
    let says = format!(
        "The pushes of [`{}`], as methods of a `Context`, a `ServerRef` and a `Group`.",
        protocol.name
    );
    let methods = protocol.of(Kind::Push).map(|item| {
        let Item {
            attributes, name, ..
        } = item;
        let parameters = item.parameters();
        let message = protocol.message(item);
        quote! {
            #(#attributes)*
            fn #name(
                &self,
                #parameters
            ) -> impl ::core::future::Future<
                Output = ::core::result::Result<
                    <Self as #library::Pusher<#protocol_name>>::Sent,
                    #library::PushError,
                >
            > + ::core::marker::Send {
                #library::Pusher::<#protocol_name>::push(self, #message)
            }
        }
    });
    quote! {
        #[doc = #says]
        #[allow(clippy::missing_errors_doc, reason = "the errors are those of `Context::push`")]
        #[allow(deprecated, reason = "a deprecated message is still sent")]
        #visibility trait #name: #library::Pusher<#protocol_name> {
            #(#methods)*
        }

        impl<T: #library::Pusher<#protocol_name>> #name for T {}
    }
}

/// Writes `trait JobsHandler`.
fn handler(protocol: &Protocol) -> TokenStream {
    let library = &protocol.options.library;
    let visibility = &protocol.visibility;
    let name = protocol.named("Handler");
    let protocol_name = protocol.named("Protocol");
    let says = format!(
        "Handles the pushes of [`{}`] at a client. Implemented with `erps::handler`.",
        protocol.name
    );
    let cx = local("cx");
    let methods = protocol.of(Kind::Push).map(|item| {
        let Item { attributes, name, .. } = item;
        let parameters = item.parameters();
        quote! {
            #(#attributes)*
            fn #name(
                &mut self,
                #parameters
                #cx: &mut #library::ClientContext<Self>,
            ) -> impl ::core::future::Future<Output = impl #library::IntoReply<()>> + ::core::marker::Send;
        }
    });
    quote! {
        #[doc = #says]
        #[allow(missing_docs, reason = "the methods that send the pushes are documented")]
        #visibility trait #name: #library::ClientHandler<Protocol = #protocol_name> {
            #(#methods)*
        }
    }
}

fn dispatch(protocol: &Protocol) -> TokenStream {
    let library = &protocol.options.library;
    let visibility = &protocol.visibility;
    let name = protocol.named("Handler");
    let protocol_name = protocol.named("Protocol");
    let messages = protocol.messages(Kind::Push);
    let [handler, push, cx] = ["handler", "push", "cx"].map(local);
    let says = format!(
        "Handles a push with the method of [`{name}`], for a `ClientHandler::handle_push` that is written by hand."
    );
    let arms = protocol.of(Kind::Push).map(|item| {
        let cfg = item.cfg();
        let message = protocol.message(item);
        let method = &item.name;
        let names = item.names();
        quote! {
            #(#cfg)*
            #message => #library::IntoReply::<()>::into_reply(#name::#method(#handler, #(#names,)* #cx).await),
        }
    });
    quote! {
        #[allow(deprecated, reason = "a deprecated message is still handled")]
        impl #protocol_name {
            #[doc = #says]
            #[doc = ""]
            #[doc = "# Errors"]
            #[doc = ""]
            #[doc = "The error of the method, which ends the client."]
            #visibility async fn handle_push<H: #name>(
                #handler: &mut H,
                #push: #messages,
                #cx: &mut #library::ClientContext<H>,
            ) -> ::core::result::Result<(), #library::BoxError> {
                match #push { #(#arms)* }
            }
        }
    }
}
