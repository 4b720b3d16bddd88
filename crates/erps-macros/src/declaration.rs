//! Reads the declaration of a protocol, a trait.

use std::collections::HashMap;

use proc_macro2::{Ident, Span};
use quote::format_ident;
use syn::{
    Attribute, Error, FnArg, ItemTrait, LitStr, Pat, Result, ReturnType, TraitItem, TraitItemFn,
    Visibility, parse_quote,
};

use crate::{
    item::{Argument, Item, Kind, Wire},
    names::unraw,
    options::ProtocolOptions,
    reserved, signature,
};

/// A protocol as declared.
pub(crate) struct Protocol {
    pub(crate) options: ProtocolOptions,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    pub(crate) items: Vec<Item>,
}

impl Protocol {
    pub(crate) fn read(options: ProtocolOptions, declared: ItemTrait) -> Result<Self> {
        if let Some(first) = declared.generics.params.first() {
            return Err(Error::new_spanned(
                first,
                "a protocol has no parameters: its messages have one form",
            ));
        }
        if let Some(first) = declared.supertraits.first() {
            let says = "remove this: a protocol declares messages, and depends on no other trait";
            return Err(Error::new_spanned(first, says));
        }
        let mut items = Vec::new();
        let mut errors = None::<Error>;
        for item in declared.items {
            match read_item(item) {
                Ok(item) => items.push(item),
                Err(error) => match &mut errors {
                    Some(errors) => errors.combine(error),
                    None => errors = Some(error),
                },
            }
        }
        if let Some(errors) = errors {
            return Err(errors);
        }
        check_names(&items)?;
        Ok(Self {
            options,
            attributes: declared.attrs,
            visibility: declared.vis,
            name: declared.ident,
            items,
        })
    }

    /// Returns the name of something that is written for the protocol: `JobsClient`.
    pub(crate) fn named(&self, suffix: &str) -> Ident {
        format_ident!("{}{suffix}", self.name)
    }

    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Item> + Clone {
        self.items.iter().filter(move |it| it.kind == kind)
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.of(kind).next().is_some()
    }
}

fn read_item(item: TraitItem) -> Result<Item> {
    let TraitItem::Fn(function) = item else {
        let says = "a protocol consists of functions: `async fn` for a call, `#[cast] fn` and `#[push] fn`";
        return Err(Error::new_spanned(&item, says));
    };
    let (kind, wire, attributes) = read_attributes(&function)?;
    check_form(&function)?;
    let name = function.sig.ident;
    reserved::check(kind, &name)?;
    let mut arguments = Vec::new();
    for argument in function.sig.inputs {
        arguments.push(read_argument(kind, argument)?);
    }
    let reply = match (kind, function.sig.output) {
        (_, ReturnType::Default) => parse_quote!(()),
        (Kind::Call, ReturnType::Type(_, reply)) => {
            signature::check_owned(&reply, "a reply")?;
            *reply
        }
        (kind, ReturnType::Type(_, reply)) => {
            let noun = kind.noun();
            let says = match kind {
                Kind::Cast => {
                    "a cast has no reply: remove this, or declare a call, `async fn`".to_owned()
                }
                _ => format!("a {noun} has no reply: remove this"),
            };
            return Err(Error::new_spanned(&reply, says));
        }
    };
    Ok(Item {
        kind,
        attributes,
        wire: Wire {
            name: wire.name.unwrap_or_else(|| (unraw(&name), name.span())),
            aliases: wire.aliases,
        },
        name,
        arguments,
        reply,
    })
}

#[derive(Default)]
struct GivenNames {
    name: Option<(String, Span)>,
    aliases: Vec<(String, Span)>,
}

/// Returns the kind of a function, its names on the wire, and its other attributes.
fn read_attributes(function: &TraitItemFn) -> Result<(Kind, GivenNames, Vec<Attribute>)> {
    let mut kind = None;
    let mut names = GivenNames::default();
    let mut others = Vec::new();
    for attribute in &function.attrs {
        let path = attribute.path();
        let marked = if path.is_ident("cast") {
            Kind::Cast
        } else if path.is_ident("push") {
            Kind::Push
        } else if path.is_ident("wire") {
            read_wire(attribute, &mut names)?;
            continue;
        } else if path.is_ident("reply_later") {
            let says = "this belongs to the handler: write it in the `#[erps::server]` block";
            return Err(Error::new_spanned(attribute, says));
        } else {
            others.push(attribute.clone());
            continue;
        };
        attribute.meta.require_path_only()?;
        if kind.replace(marked).is_some() {
            return Err(Error::new_spanned(
                attribute,
                "a function is either a cast or a push: remove one",
            ));
        }
    }
    let asyncness = &function.sig.asyncness;
    let kind = match (kind, asyncness) {
        (None, Some(_)) => Kind::Call,
        (Some(kind), None) => kind,
        (Some(kind), Some(token)) => {
            let noun = kind.noun();
            let says = format!("a {noun} has no reply to wait for: write `fn`, without `async`");
            return Err(Error::new_spanned(token, says));
        }
        (None, None) => {
            let says =
                "write `async fn` for a call, `#[cast] fn` for a cast, or `#[push] fn` for a push";
            return Err(Error::new(function.sig.fn_token.span, says));
        }
    };
    Ok((kind, names, others))
}

fn read_wire(attribute: &Attribute, names: &mut GivenNames) -> Result<()> {
    attribute.parse_nested_meta(|meta| {
        let is_name = meta.path.is_ident("name");
        if !is_name && !meta.path.is_ident("alias") {
            let says = "unknown option: there are `#[wire(name = \"submit\")]` and `#[wire(alias = \"add\")]`";
            return Err(meta.error(says));
        }
        let text: LitStr = meta.value()?.parse()?;
        let name = (text.value(), text.span());
        if name.0.is_empty() || name.0.chars().count() > 255 {
            return Err(Error::new(name.1, "an atom has 1 to 255 characters"));
        }
        if !is_name {
            names.aliases.push(name);
        } else if names.name.replace(name).is_some() {
            return Err(meta.error("`name` is given twice: further names are `alias = \"…\"`"));
        }
        Ok(())
    })
}

fn check_form(function: &TraitItemFn) -> Result<()> {
    let signature = &function.sig;
    if let Some(body) = &function.default {
        let says = "remove the body: a protocol only declares, and the server handles";
        return Err(Error::new_spanned(body, says));
    }
    if let Some(first) = signature.generics.params.first() {
        return Err(Error::new_spanned(
            first,
            "a message has no parameters: it has one form on the wire",
        ));
    }
    if let Some(abi) = &signature.abi {
        return Err(Error::new_spanned(
            abi,
            "a message is a plain `fn`: remove this",
        ));
    }
    if let Some(token) = &signature.constness {
        return Err(Error::new_spanned(
            token,
            "a message is a plain `fn`: remove this",
        ));
    }
    if let Some(variadic) = &signature.variadic {
        return Err(Error::new_spanned(
            variadic,
            "a message has a fixed number of arguments: use a `Vec`",
        ));
    }
    Ok(())
}

fn read_argument(kind: Kind, argument: FnArg) -> Result<Argument> {
    let noun = kind.noun();
    let argument = match argument {
        FnArg::Typed(argument) => argument,
        FnArg::Receiver(receiver) => {
            let says = format!("remove `self`: a {noun} declares what is sent");
            return Err(Error::new_spanned(&receiver, says));
        }
    };
    if let Some(attribute) = argument.attrs.first() {
        return Err(Error::new_spanned(
            attribute,
            "an argument has no attributes",
        ));
    }
    let Pat::Ident(name) = &*argument.pat else {
        return Err(Error::new_spanned(
            &argument.pat,
            "an argument has a plain name, as in `job: Job`",
        ));
    };
    if let Some(token) = &name.mutability {
        return Err(Error::new_spanned(
            token,
            "an argument has a plain name: remove `mut`",
        ));
    }
    signature::check_owned(&argument.ty, "an argument")?;
    Ok(Argument {
        name: name.ident.clone(),
        kind: *argument.ty,
    })
}

/// Checks that no two messages of a kind have the same name, in Rust or on the wire.
fn check_names(items: &[Item]) -> Result<()> {
    for kind in [Kind::Call, Kind::Cast, Kind::Push] {
        let mut wire = HashMap::new();
        let mut variants = HashMap::new();
        for item in items.iter().filter(|it| it.kind == kind) {
            // One of two under different `#[cfg]`s may be left out.
            if item.cfg().next().is_some() {
                continue;
            }
            let names = item.wire.aliases.iter().chain([&item.wire.name]);
            for (name, span) in names {
                if let Some(other) = wire.insert(name.clone(), item.name.clone()) {
                    let noun = kind.noun();
                    let says =
                        format!("the {noun} `{other}` has the name `{name}` on the wire too");
                    return Err(Error::new(*span, says));
                }
            }
            if let Some(other) = variants.insert(item.variant().to_string(), &item.name) {
                let says = format!(
                    "this name is too similar to `{other}`: both are `{}`",
                    item.variant()
                );
                return Err(Error::new_spanned(&item.name, says));
            }
        }
    }
    Ok(())
}
