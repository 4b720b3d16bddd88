//! The implementation of `Protocol`, and the enums of the messages.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};

use crate::{
    declaration::Protocol,
    item::{Item, Kind},
    names::local,
};

/// Writes `struct JobsProtocol`.
pub(super) fn protocol(protocol: &Protocol) -> TokenStream {
    let library = &protocol.options.library;
    let visibility = &protocol.visibility;
    let name = protocol.named("Protocol");
    let says = format!(
        "The protocol that [`{}`] declares: its name, its versions and its messages.",
        protocol.name
    );
    let [call, cast, push] = [Kind::Call, Kind::Cast, Kind::Push].map(|it| protocol.messages(it));
    let options = &protocol.options;
    let constants = [
        ("IDENTIFIER", &options.identifier),
        ("VERSION", &options.version),
        ("ACCEPTS", &options.accepts),
    ];
    let constants = constants.iter().filter_map(|(name, value)| {
        let name = local(name);
        let value = value.as_ref()?;
        Some(quote!(const #name: &'static ::core::primitive::str = #value;))
    });
    quote! {
        #[doc = #says]
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        #visibility struct #name;

        impl #library::Protocol for #name {
            #(#constants)*
            type Call = #call;
            type Reply = #library::AnyReply;
            type Cast = #cast;
            type Push = #push;
        }
    }
}

/// Writes `enum JobsCall` and so on.
pub(super) fn enums(protocol: &Protocol) -> TokenStream {
    let kinds = [Kind::Call, Kind::Cast, Kind::Push];
    kinds
        .into_iter()
        .filter(|it| protocol.has(*it))
        .map(|kind| messages(protocol, kind))
        .collect()
}

fn messages(protocol: &Protocol, kind: Kind) -> TokenStream {
    let visibility = &protocol.visibility;
    let library = &protocol.options.library;
    let serde = quote!(#library::__private::serde);
    let serde_path = serde.to_string();
    let name = protocol.named(kind.suffix());
    let plural = match kind {
        Kind::Call => "calls",
        Kind::Cast => "casts",
        Kind::Push => "pushes",
    };
    let says = format!("The {plural} of [`{}`], as they are sent.", protocol.name);
    let variants = protocol.of(kind).map(variant);
    let arms = protocol.of(kind).map(|item| {
        let cfg = item.cfg();
        let variant = item.variant();
        let (pattern, text) = match item.arguments.is_empty() {
            true => (quote!(Self::#variant), variant.to_string()),
            false => (quote!(Self::#variant(..)), format!("{variant}(..)")),
        };
        quote!(#(#cfg)* #pattern => #text,)
    });
    quote! {
        #[doc = #says]
        #[allow(missing_docs, reason = "the trait is documented")]
        #[derive(#serde::Serialize, #serde::Deserialize)]
        #[serde(crate = #serde_path)]
        #visibility enum #name {
            #(#variants)*
        }

        /// The name of the message, without its arguments.
        #[allow(deprecated, reason = "it is still a message")]
        impl ::core::fmt::Debug for #name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(match self { #(#arms)* })
            }
        }
    }
}

fn variant(item: &Item) -> TokenStream {
    let attributes = item.attributes.iter().filter(|it| {
        let path = it.path();
        ["doc", "cfg", "deprecated"]
            .iter()
            .any(|name| path.is_ident(name))
    });
    let name = &item.wire.name.0;
    let aliases = item
        .wire
        .aliases
        .iter()
        .map(|(alias, _)| quote!(, alias = #alias));
    let variant = item.variant().into_token_stream();
    let kinds = item.kinds();
    let fields = match item.arguments.is_empty() {
        true => TokenStream::new(),
        false => quote!((#(#kinds),*)),
    };
    quote! {
        #(#attributes)*
        #[serde(rename = #name #(#aliases)*)]
        #variant #fields,
    }
}
