//! A call, cast or push as declared in a protocol.

use proc_macro2::{Ident, Span};
use quote::format_ident;
use syn::{Attribute, Type};

use crate::names::unraw;

/// A function of a protocol.
pub(crate) struct Item {
    pub(crate) kind: Kind,
    /// The attributes of the function that are not those of the macro: documentation, `cfg`, `deprecated`.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) arguments: Vec<Argument>,
    /// The reply of a call; `()` for the others.
    pub(crate) reply: Type,
    pub(crate) wire: Wire,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    Cast,
    Push,
}

pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) kind: Type,
}

/// The names of a message on the wire.
pub(crate) struct Wire {
    /// The name that is sent, and where it stands.
    pub(crate) name: (String, Span),
    /// Further names that are accepted.
    pub(crate) aliases: Vec<(String, Span)>,
}

impl Item {
    /// Returns the name of the enum's variant: `send_all` is `SendAll`.
    pub(crate) fn variant(&self) -> Ident {
        let name = unraw(&self.name);
        let mut camel = String::new();
        for part in name.split('_') {
            let mut letters = part.chars();
            camel.extend(letters.next().map(|it| it.to_ascii_uppercase()));
            camel.push_str(letters.as_str());
        }
        // `self` is no function's name, but `self_` may be one.
        match camel.as_str() {
            "Self" | "" => format_ident!("{camel}_", span = self.name.span()),
            _ => Ident::new(&camel, self.name.span()),
        }
    }

    /// Returns the `#[cfg]`s, which everything that is written for the item has to have.
    pub(crate) fn cfg(&self) -> impl Iterator<Item = &Attribute> + Clone {
        self.attributes
            .iter()
            .filter(|it| it.path().is_ident("cfg"))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Ident> {
        self.arguments.iter().map(|it| &it.name)
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Type> {
        self.arguments.iter().map(|it| &it.kind)
    }
}

impl Kind {
    /// Returns the kind as the enum's name has it.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Call => "Call",
            Self::Cast => "Cast",
            Self::Push => "Push",
        }
    }

    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Cast => "cast",
            Self::Push => "push",
        }
    }
}
