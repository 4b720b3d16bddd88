//! The two kinds of blocks: the handlers of a server, and those of a client.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Path, Type};

/// What differs between a server and a client's handler.
pub(crate) struct Role {
    /// How a block begins.
    pub(super) block: &'static str,
    /// The trait of erps that is implemented too.
    pub(super) base: &'static str,
    /// What the name of the protocol's trait ends in.
    pub(super) suffix: &'static str,
    /// The type of the last parameter.
    pub(super) context: &'static str,
    /// The associated types of `base`, each `()` if it is not given.
    pub(super) types: &'static [&'static str],
    pub(super) types_text: &'static str,
    /// The functions of `base` that may be given.
    pub(super) callbacks: &'static [&'static str],
    /// The functions of `base` that are written.
    pub(super) written: &'static [&'static str],
    pub(super) written_text: &'static str,
    /// Whether `base` has an `init` that makes the value.
    pub(super) needs_init: bool,
    /// Writes those functions.
    pub(super) dispatch: fn(&Path, &Type) -> TokenStream,
}

pub(crate) const SERVER: Role = Role {
    block: "impl Jobs",
    base: "Server",
    suffix: "",
    context: "Context",
    types: &["Seed", "Info"],
    types_text: "are `Seed`, `Info` and `Protocol`",
    callbacks: &[
        "init",
        "handle_info",
        "handle_timeout",
        "handle_drain",
        "terminate",
    ],
    written: &["handle_call", "handle_cast"],
    written_text: "write a method for each call and cast",
    needs_init: true,
    dispatch: server,
};

pub(crate) const HANDLER: Role = Role {
    block: "impl JobsHandler",
    base: "ClientHandler",
    suffix: "Handler",
    context: "ClientContext",
    types: &["Info"],
    types_text: "are `Info` and `Protocol`",
    callbacks: &[
        "init",
        "handle_connect",
        "handle_disconnect",
        "handle_error",
        "handle_info",
        "terminate",
    ],
    written: &["handle_push"],
    written_text: "write a method for each push",
    needs_init: false,
    dispatch: client,
};

fn server(library: &Path, protocol: &Type) -> TokenStream {
    quote! {
        fn handle_call(
            &mut self,
            call: <#protocol as #library::Protocol>::Call,
            from: #library::ReplyTo<<#protocol as #library::Protocol>::Reply>,
            cx: &mut #library::Context<Self>,
        ) -> impl ::core::future::Future<Output = ::core::result::Result<(), #library::BoxError>> + ::core::marker::Send {
            <#protocol>::handle_call(self, call, from, cx)
        }

        fn handle_cast(
            &mut self,
            cast: <#protocol as #library::Protocol>::Cast,
            cx: &mut #library::Context<Self>,
        ) -> impl ::core::future::Future<Output = ::core::result::Result<(), #library::BoxError>> + ::core::marker::Send {
            <#protocol>::handle_cast(self, cast, cx)
        }
    }
}

fn client(library: &Path, protocol: &Type) -> TokenStream {
    quote! {
        fn handle_push(
            &mut self,
            push: <#protocol as #library::Protocol>::Push,
            cx: &mut #library::ClientContext<Self>,
        ) -> impl ::core::future::Future<Output = ::core::result::Result<(), #library::BoxError>> + ::core::marker::Send {
            <#protocol>::handle_push(self, push, cx)
        }
    }
}
