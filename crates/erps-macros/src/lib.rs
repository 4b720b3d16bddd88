//! The attributes `erps::protocol`, `erps::server` and `erps::handler`, which erps documents.
//!
//! ```text
//! trait --declaration--> Protocol --messages, client, server, push--> enums, traits, dispatch
//! impl  --implement----> impl of the protocol's trait, impl of `Server` or `ClientHandler`
//! ```

mod declaration;
mod expand;
mod implement;
mod item;
mod library;
mod names;
mod options;
mod reserved;
mod signature;

use proc_macro::TokenStream;
use syn::parse_macro_input;

use declaration::Protocol;
use options::{ImplOptions, ProtocolOptions};

/// See `erps::protocol`.
#[proc_macro_attribute]
pub fn protocol(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as ProtocolOptions);
    let declared = parse_macro_input!(item as syn::ItemTrait);
    match Protocol::read(options, declared) {
        Ok(protocol) => expand::protocol(&protocol).into(),
        Err(error) => error.into_compile_error().into(),
    }
}

/// See `erps::server`.
#[proc_macro_attribute]
pub fn server(options: TokenStream, item: TokenStream) -> TokenStream {
    implement_for(&implement::SERVER, options, item)
}

/// See `erps::handler`.
#[proc_macro_attribute]
pub fn handler(options: TokenStream, item: TokenStream) -> TokenStream {
    implement_for(&implement::HANDLER, options, item)
}

fn implement_for(role: &implement::Role, options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as ImplOptions);
    let block = parse_macro_input!(item as syn::ItemImpl);
    match implement::expand(role, &options, block) {
        Ok(tokens) => tokens.into(),
        Err(error) => error.into_compile_error().into(),
    }
}
