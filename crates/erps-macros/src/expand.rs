//! Writes what a protocol consists of.

mod client;
mod messages;
mod push;
mod server;

use proc_macro2::TokenStream;
use quote::quote;

use crate::{
    declaration::Protocol,
    item::{Item, Kind},
};

pub(crate) fn protocol(protocol: &Protocol) -> TokenStream {
    [
        messages::protocol(protocol),
        messages::enums(protocol),
        server::expand(protocol),
        client::expand(protocol),
        push::expand(protocol),
    ]
    .into_iter()
    .collect()
}

impl Protocol {
    /// Returns the type of the messages of a kind.
    fn messages(&self, kind: Kind) -> TokenStream {
        if self.has(kind) {
            let name = self.named(kind.suffix());
            return quote!(#name);
        }
        let library = &self.options.library;
        quote!(#library::Never)
    }

    /// Returns the message as an expression or a pattern: `JobsCall::Submit(job)`.
    fn message(&self, item: &Item) -> TokenStream {
        let messages = self.named(item.kind.suffix());
        let variant = item.variant();
        if item.arguments.is_empty() {
            return quote!(#messages::#variant);
        }
        let names = item.names();
        quote!(#messages::#variant(#(#names),*))
    }
}

impl Item {
    /// Returns the arguments as parameters, each with a comma after it.
    fn parameters(&self) -> TokenStream {
        let (names, kinds) = (self.names(), self.kinds());
        quote!(#(#names: #kinds,)*)
    }
}
