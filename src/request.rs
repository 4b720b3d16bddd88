//! Calls with reply types of their own.
//!
//! ```text
//!              Client --+                      +-- call_as, cast
//!           ServerRef --+-- Caller<Protocol> --+-- request, with a `Request`
//! With { Client, .. } --+                      +-- the methods of a typed protocol
//! ```

use std::{fmt, time::Duration};

use crate::{Message, Protocol};

/// A call with a reply type of its own.
///
/// In [`Protocol`] every call has the same reply type. A request names the type of its reply, which the
/// [`Client`](crate::Client) decodes as that. [`erps::protocol`](macro@crate::protocol) writes such protocols from a
/// trait.
///
/// # Example
///
/// ```
/// use erps::{AnyReply, Client, Never, Protocol, Request};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Call {
///     Total,
///     Name(u64),
/// }
///
/// struct Counter;
///
/// impl Protocol for Counter {
///     type Call = Call;
///     type Reply = AnyReply;
///     type Cast = Never;
///     type Push = Never;
/// }
///
/// /// The name of a counter.
/// struct Name(u64);
///
/// impl From<Name> for Call {
///     fn from(Name(counter): Name) -> Self {
///         Self::Name(counter)
///     }
/// }
///
/// impl Request<Counter> for Name {
///     type Reply = String;
/// }
///
/// async fn print_name(client: &Client<Counter>) -> Result<(), erps::CallError> {
///     let name = client.request(Name(7)).await?;
///     println!("{name}");
///     Ok(())
/// }
/// ```
pub trait Request<P: Protocol>: Into<P::Call> {
    /// The type of the reply.
    type Reply: Message;
}

/// A handle that sends the calls and casts of a protocol: a [`Client`](crate::Client), a
/// [`ServerRef`](crate::ServerRef), or one of them [with options](With).
///
/// The client trait that [`erps::protocol`](macro@crate::protocol) writes has a method for each call and cast, and is
/// implemented for every `Caller` of the protocol.
pub trait Caller<P: Protocol> {
    /// Why a call has no reply.
    type CallError: std::error::Error + Send + Sync + 'static;
    /// Why a cast was not sent.
    type CastError: std::error::Error + Send + Sync + 'static;

    /// Calls the server with these options, and returns its reply as `T`.
    ///
    /// # Errors
    ///
    /// Those of the handle's `call`. A reply of another type than `T` is an error too.
    ///
    /// # Cancel safety
    ///
    /// That of the handle's `call`.
    #[track_caller]
    fn call_with<T: Message>(
        &self,
        call: P::Call,
        options: CallOptions,
    ) -> impl Future<Output = Result<T, Self::CallError>> + Send;

    /// Sends the server a cast.
    ///
    /// # Errors
    ///
    /// Those of the handle's `cast`.
    ///
    /// # Cancel safety
    ///
    /// That of the handle's `cast`.
    fn cast(&self, cast: P::Cast) -> impl Future<Output = Result<(), Self::CastError>> + Send;

    /// Calls the server, and returns its reply as `T`.
    ///
    /// # Errors
    ///
    /// As [`call_with`](Self::call_with).
    ///
    /// # Cancel safety
    ///
    /// As [`call_with`](Self::call_with).
    #[track_caller]
    fn call_as<T: Message>(
        &self,
        call: P::Call,
    ) -> impl Future<Output = Result<T, Self::CallError>> + Send {
        self.call_with(call, CallOptions::new())
    }

    /// Calls the server with a request, and returns its reply.
    ///
    /// # Errors
    ///
    /// As [`call_with`](Self::call_with).
    ///
    /// # Cancel safety
    ///
    /// As [`call_with`](Self::call_with).
    #[track_caller]
    fn request<R: Request<P>>(
        &self,
        request: R,
    ) -> impl Future<Output = Result<R::Reply, Self::CallError>> + Send {
        self.call_as(request.into())
    }
}

/// The options of a single call.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use erps::CallOptions;
///
/// let options = CallOptions::new().timeout(Duration::from_secs(60));
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CallOptions {
    timeout: Option<Duration>,
}

impl CallOptions {
    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long to wait for the reply. Default: the [`reply_timeout`](crate::ClientBuilder::reply_timeout) of the
    /// client, and 5 seconds for a server in this process.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Returns the timeout, or this one if none was set.
    pub(crate) fn timeout_or(self, default: Duration) -> Duration {
        self.timeout.unwrap_or(default)
    }

    /// Returns these options, and those of `other` where none was set.
    fn or(self, other: Self) -> Self {
        Self {
            timeout: self.timeout.or(other.timeout),
        }
    }
}

/// The options with this timeout.
impl From<Duration> for CallOptions {
    fn from(timeout: Duration) -> Self {
        Self::new().timeout(timeout)
    }
}

/// A handle with [`CallOptions`] for its calls. Returned by [`Client::with`](crate::Client::with) and
/// [`ServerRef::with`](crate::ServerRef::with).
#[must_use = "it only sets options: call a method of it"]
pub struct With<'a, C> {
    caller: &'a C,
    options: CallOptions,
}

impl<'a, C> With<'a, C> {
    pub(crate) fn new(caller: &'a C, options: CallOptions) -> Self {
        Self { caller, options }
    }
}

impl<P: Protocol, C: Caller<P>> Caller<P> for With<'_, C> {
    type CallError = C::CallError;
    type CastError = C::CastError;

    #[track_caller]
    fn call_with<T: Message>(
        &self,
        call: P::Call,
        options: CallOptions,
    ) -> impl Future<Output = Result<T, Self::CallError>> + Send {
        self.caller.call_with(call, options.or(self.options))
    }

    fn cast(&self, cast: P::Cast) -> impl Future<Output = Result<(), Self::CastError>> + Send {
        self.caller.cast(cast)
    }
}

impl<C> Clone for With<'_, C> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<C: fmt::Debug> fmt::Debug for With<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("With")
            .field("caller", &self.caller)
            .field("options", &self.options)
            .finish()
    }
}
