//! The protocol of a connection: its messages, its name and its versions.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::wire::identity::{Identifier, Version, VersionReq, VersionReqError};

/// A message that can be sent to a peer. Implemented for every owned type that serde can serialize and deserialize:
/// for `String`, but not for `&str`.
pub trait Message: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Message for T {}

/// The messages, the name and the versions that a server and its clients share.
///
/// Both ends name the same protocol: [`Server::Protocol`](crate::Server::Protocol) and
/// [`Client<P>`](crate::Client). How Rust types become Erlang terms is described in
/// [`wire::etf`](crate::wire::etf). A protocol whose types are all [`Term`](crate::Term) is
/// untyped and talks to any peer of erps.
///
/// # Example
///
/// ```
/// use erps::Protocol;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Serialize, Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Call {
///     Total,
///     Add(i64),
/// }
///
/// struct Counter;
///
/// impl Protocol for Counter {
///     const IDENTIFIER: &'static str = "counter";
///     const VERSION: &'static str = "0.2.4";
///     const ACCEPTS: &'static str = "~> 0.2.4";
///     type Call = Call;
///     type Reply = i64;
///     type Cast = ();
///     type Push = ();
/// }
/// ```
pub trait Protocol: Send + Sync + 'static {
    /// The name of the service, which a client sends and a server requires. At most 36 bytes, checked at compile time.
    ///
    /// The server compares it in every packet. A client with another name connects; its calls fail with
    /// [`CallError::Remote`](crate::CallError::Remote), and its casts are rejected with an error that
    /// [`ClientHandler::handle_error`](crate::ClientHandler::handle_error) receives.
    ///
    /// Default: empty; a server accepts every name.
    const IDENTIFIER: &'static str = "";

    /// The version that a client sends: three numbers of up to 255, checked at compile time. Default: `"0.0.0"`.
    const VERSION: &'static str = "0.0.0";

    /// The versions that a server accepts, as an Elixir requirement: `"~> 0.2.4"` is 0.2.4 up to, and not including,
    /// 0.3.0. Checked when a daemon starts, and compared in every packet, as the [`IDENTIFIER`](Self::IDENTIFIER) is.
    ///
    /// Default: empty; a server accepts every version.
    const ACCEPTS: &'static str = "";

    /// A request of a client that has a reply.
    type Call: Message;
    /// The reply to a call.
    type Reply: Message;
    /// A request of a client without a reply.
    type Cast: Message;
    /// A message of a server that is not a reply.
    type Push: Message;
}

/// A message without values: `type Cast = Never` declares that a server handles no casts.
///
/// Decoding it always fails, so such a message of a peer is rejected. In a callback, `match never {}` handles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Never {}

/// The constants of a protocol as values, checked at compile time where that is possible.
pub(crate) struct Checked<P>(PhantomData<P>);

impl<P: Protocol> Checked<P> {
    pub(crate) const IDENTIFIER: Identifier = {
        let bytes = P::IDENTIFIER.as_bytes();
        assert!(
            bytes.len() <= Identifier::LEN,
            "Protocol::IDENTIFIER has at most 36 bytes"
        );
        let mut field = [0; Identifier::LEN];
        let mut i = 0;
        while i < bytes.len() {
            field[i] = bytes[i];
            i += 1;
        }
        Identifier::from_wire(field)
    };

    pub(crate) const VERSION: Version = version(P::VERSION.as_bytes());

    /// `None` if every version is accepted.
    pub(crate) fn accepts() -> Result<Option<VersionReq>, VersionReqError> {
        if P::ACCEPTS.is_empty() {
            return Ok(None);
        }
        P::ACCEPTS.parse().map(Some)
    }
}

const fn version(text: &[u8]) -> Version {
    let mut parts = [0_u16; 3];
    let (mut part, mut digits, mut i) = (0, 0, 0);
    while i < text.len() {
        match text[i] {
            b'.' => {
                assert!(
                    digits > 0 && part < 2,
                    "Protocol::VERSION is three numbers, as in 1.2.0"
                );
                part += 1;
                digits = 0;
            }
            digit => {
                assert!(
                    digit.is_ascii_digit(),
                    "Protocol::VERSION is three numbers, as in 1.2.0"
                );
                parts[part] = parts[part] * 10 + (digit - b'0') as u16;
                assert!(
                    parts[part] <= 255,
                    "a number of Protocol::VERSION is over 255"
                );
                digits += 1;
            }
        }
        i += 1;
    }
    assert!(
        digits > 0 && part == 2,
        "Protocol::VERSION is three numbers, as in 1.2.0"
    );
    Version::new(parts[0] as u8, parts[1] as u8, parts[2] as u8)
}
