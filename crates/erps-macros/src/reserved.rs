//! Names that a method of a protocol cannot have, because another method would be called instead of it.

use proc_macro2::Ident;
use syn::{Error, Result};

use crate::{item::Kind, names::unraw};

/// Methods of `Client`, and of what prelude traits give every handle.
const CLIENT: &[&str] = &[
    "as_ref",
    "builder",
    "call",
    "call_as",
    "call_with",
    "call_within",
    "cast",
    "clone",
    "connect",
    "disconnect",
    "exited",
    "into",
    "last_connect_error",
    "last_disconnect",
    "monitor",
    "pushes",
    "request",
    "status",
    "task",
    "to_owned",
    "try_into",
    "unmatched_errors",
    "until",
    "with",
];

/// Methods of `Server`.
const SERVER: &[&str] = &[
    "handle_call",
    "handle_cast",
    "handle_drain",
    "handle_info",
    "handle_timeout",
    "init",
    "terminate",
];

/// Methods of `Context` and `ServerRef`, through which pushes are sent.
const CONTEXT: &[&str] = &[
    "as_ref",
    "builder",
    "busy",
    "call",
    "call_as",
    "call_with",
    "call_within",
    "cast",
    "clone",
    "daemon",
    "disconnect",
    "exited",
    "identity",
    "info",
    "interval",
    "into",
    "monitor",
    "peer",
    "push",
    "request",
    "send_after",
    "spawn",
    "spawn_info",
    "stop",
    "task",
    "this",
    "timeout",
    "to_owned",
    "try_into",
    "try_push",
    "with",
];

/// Methods of `ClientHandler`.
const HANDLER: &[&str] = &[
    "handle_connect",
    "handle_disconnect",
    "handle_error",
    "handle_info",
    "handle_push",
    "init",
    "terminate",
];

/// Returns an error if the name is taken.
pub(crate) fn check(kind: Kind, name: &Ident) -> Result<()> {
    let lists = match kind {
        Kind::Call | Kind::Cast => [("Client", CLIENT), ("Server", SERVER)],
        Kind::Push => [
            ("Context` or `ServerRef", CONTEXT),
            ("ClientHandler", HANDLER),
        ],
    };
    let text = unraw(name);
    for (owner, names) in lists {
        if names.contains(&text.as_str()) {
            let says = format!(
                "`{text}` is a method of `{owner}`: use another name, and keep this one on the wire with \
                 `#[wire(name = \"{text}\")]`"
            );
            return Err(Error::new_spanned(name, says));
        }
    }
    Ok(())
}
