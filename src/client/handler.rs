//! A client's handler: its callbacks, and the task that runs them.

use std::{error::Error, fmt};

use futures_lite::FutureExt as _;

use super::{
    CallError, CastError, Client, Disconnect,
    message::typed,
    settings::{HandlerTask, Settings},
    subscriber::ClientEvent,
    work::Work,
};
use crate::{
    BoxError, ExitReason, PeerInfo, Protocol, SendError,
    mailbox::{Receiver, Sender, mailbox},
    task::{Caught, Contained, Foreign, Stopwatch},
};

/// The callbacks of a client. They run one at a time, in a task of their own: a callback may call
/// the server and wait for the reply.
///
/// If a callback returns an `Err` or panics, the client exits with that reason. Errors of a lost connection
/// ([`CallError::Disconnected`], [`CallError::Lost`], [`CastError::Disconnected`]) are ignored, because the client
/// reconnects. Passed to [`ClientBuilder::handler`](crate::ClientBuilder::handler).
///
/// # Example
///
/// ```
/// use erps::{BoxError, ClientContext, ClientHandler};
/// # use erps::Protocol;
/// # struct News;
/// # impl Protocol for News { type Call = (); type Reply = (); type Cast = (); type Push = String; }
///
/// struct Printer;
///
/// impl ClientHandler for Printer {
///     type Protocol = News;
///     type Info = ();
///
///     async fn handle_push(
///         &mut self,
///         headline: String,
///         _: &mut ClientContext<Self>,
///     ) -> Result<(), BoxError> {
///         println!("{headline}");
///         Ok(())
///     }
/// }
/// ```
pub trait ClientHandler: Sized + Send + 'static {
    /// The protocol of the client.
    type Protocol: Protocol;
    /// The messages that this process may send the handler.
    type Info: Send + 'static;

    /// Runs first. The client does not wait for it: a connection may be established before it returns. Default:
    /// nothing.
    fn init(
        &mut self,
        cx: &mut ClientContext<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = cx;
        async { Ok(()) }
    }

    /// Runs after each connection is established: the place to subscribe again. Default: nothing.
    ///
    /// The connection may be lost before this runs.
    fn handle_connect(
        &mut self,
        server: PeerInfo,
        cx: &mut ClientContext<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (server, cx);
        async { Ok(()) }
    }

    /// Handles a push. Default: ignores it.
    ///
    /// While it runs, further pushes wait. At the [limit](crate::ClientBuilder::max_pushes) the client reads nothing more
    /// from the connection, replies included: a call made here may then time out.
    fn handle_push(
        &mut self,
        push: <Self::Protocol as Protocol>::Push,
        cx: &mut ClientContext<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (push, cx);
        async { Ok(()) }
    }

    /// Handles a message sent by [`HandlerRef::info`]. Default: ignores it.
    fn handle_info(
        &mut self,
        info: Self::Info,
        cx: &mut ClientContext<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (info, cx);
        async { Ok(()) }
    }

    /// Handles an error of the server that belongs to no call. Default: nothing.
    ///
    /// Mostly a cast that the server could not decode, or did not accept because of its
    /// [identifier](Protocol::IDENTIFIER) or version; the protocol does not say which. `error` is the server's text, up to
    /// 1 KiB. Whether or not this is implemented, the client logs such errors, at most one warning in ten seconds, and
    /// counts them: [`Client::unmatched_errors`].
    ///
    /// If the server closes the connection next, `error` is also the reason in [`Disconnect::Reported`].
    fn handle_error(
        &mut self,
        error: String,
        cx: &mut ClientContext<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (error, cx);
        async { Ok(()) }
    }

    /// Runs after each connection is lost or closed. Default: nothing.
    fn handle_disconnect(
        &mut self,
        why: Disconnect,
        cx: &mut ClientContext<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (why, cx);
        async { Ok(()) }
    }

    /// Runs last, before the client exits, unless it is killed. Default: nothing.
    fn terminate(
        &mut self,
        reason: &ExitReason,
        cx: &mut ClientContext<Self>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (reason, cx);
        async {}
    }
}

/// The context of a handler's callbacks.
pub struct ClientContext<H: ClientHandler> {
    client: Client<H::Protocol>,
    this: HandlerRef<H>,
    stop: Option<ExitReason>,
    pub(super) work: Work<H::Info>,
}

impl<H: ClientHandler> ClientContext<H> {
    /// Returns the client: to call the server, or to disconnect.
    #[must_use]
    pub fn client(&self) -> &Client<H::Protocol> {
        &self.client
    }

    /// Returns the handle through which this process sends the handler [`Info`](ClientHandler::Info).
    #[must_use]
    pub fn this(&self) -> &HandlerRef<H> {
        &self.this
    }

    /// Makes the client exit with `reason` when this callback returns.
    pub fn stop(&mut self, reason: ExitReason) {
        self.stop = Some(reason);
    }
}

impl<H: ClientHandler> fmt::Debug for ClientContext<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientContext")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// A handle to a client's handler. Returned by [`ClientContext::this`].
pub struct HandlerRef<H: ClientHandler> {
    infos: Sender<H::Info>,
    client: Client<H::Protocol>,
}

impl<H: ClientHandler> HandlerRef<H> {
    /// Sends the handler a message. Waits while its mailbox is full, which holds as many messages as
    /// [pushes](crate::ClientBuilder::max_pushes).
    ///
    /// # Errors
    ///
    /// [`SendError`] if the client has exited: the message was not delivered.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, nothing is sent.
    pub async fn info(&self, info: H::Info) -> Result<(), SendError> {
        match self.infos.send(info).await {
            Ok(()) => Ok(()),
            Err(_) => Err(SendError(
                self.client.ended().unwrap_or(ExitReason::Shutdown),
            )),
        }
    }
}

impl<H: ClientHandler> Clone for HandlerRef<H> {
    fn clone(&self) -> Self {
        Self {
            infos: self.infos.clone(),
            client: self.client.clone(),
        }
    }
}

impl<H: ClientHandler> fmt::Debug for HandlerRef<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HandlerRef").field(&self.client).finish()
    }
}

/// What a handler handles next.
enum Next<H: ClientHandler> {
    Event(ClientEvent),
    Info(H::Info),
    /// The function that makes the message of an interval has panicked.
    Panicked(ExitReason),
    Ended,
}

/// Starts the task of a handler. It runs until the client exits; if the handler exits first, so does the client.
pub(super) fn start<H: ClientHandler>(
    handler: H,
    client: Client<H::Protocol>,
    mut events: Receiver<ClientEvent>,
    settings: &Settings,
) -> HandlerTask {
    let (infos, mut inbox) = mailbox(settings.max_pushes);
    let (owner, spawner) = (client.task().clone(), settings.spawner.clone());
    let stopwatch = Stopwatch::new(settings.slow_callback);
    let mut handler = Foreign::new(handler);
    let task = client.task().clone();
    let handler_task =
        settings
            .spawner
            .start(format_args!("the handler of a client"), |_| async move {
                let mut cx = ClientContext::<H> {
                    this: HandlerRef {
                        infos,
                        client: client.clone(),
                    },
                    client,
                    stop: None,
                    work: Work::new(owner, spawner),
                };
                let run = run::<H>(&mut handler, &mut cx, &mut events, &mut inbox, stopwatch);
                let run = Caught::new(run);
                let reason = run.await.unwrap_or_else(|panic| panic);
                events.close();
                inbox.close();
                Contained::new(handler.terminate(&reason, &mut cx)).await;
                cx.work.children.cancel().await;
                drop(handler.into_inner());
                reason
            });
    task.take_along(&handler_task);
    handler_task.on_exit(move |reason| task.request_exit(reason.clone()));
    HandlerTask(handler_task)
}

async fn run<H: ClientHandler>(
    handler: &mut H,
    cx: &mut ClientContext<H>,
    events: &mut Receiver<ClientEvent>,
    inbox: &mut Receiver<H::Info>,
    mut stopwatch: Stopwatch,
) -> ExitReason {
    let name = std::any::type_name::<H>();
    let mut outcome = stopwatch.watch(name, "init", handler.init(cx)).await;
    let (mut infos_first, mut ticked) = (true, false);
    loop {
        match outcome {
            // The client reconnects, and its handler receives both events.
            Err(error) if is_disconnection(&*error) => {
                tracing::debug!(target: "erps", %error, "ignored: the connection was lost during a callback");
            }
            Err(error) => return ExitReason::error(error),
            Ok(()) => {}
        }
        if let Some(reason) = cx.stop.take() {
            return reason;
        }
        let event = async { events.recv().await.map_or(Next::<H>::Ended, Next::Event) };
        let info = async { inbox.recv().await.map_or(Next::Ended, Next::Info) };
        let tick = cx.work.tick();
        let tick = async { tick.await.map_or_else(Next::Panicked, Next::Info) };
        // Alternating, so that no kind starves the others.
        infos_first = !infos_first;
        let messages = async {
            match infos_first {
                true => info.or(event).await,
                false => event.or(info).await,
            }
        };
        let (next, is_tick) = match ticked {
            true => with(messages, false).or(with(tick, true)).await,
            false => with(tick, true).or(with(messages, false)).await,
        };
        ticked = is_tick;
        outcome = match next {
            Next::Event(ClientEvent::Connected(server)) => {
                let callback = handler.handle_connect(server, cx);
                stopwatch.watch(name, "handle_connect", callback).await
            }
            Next::Event(ClientEvent::Push(push)) => {
                let callback = handler.handle_push(typed(push), cx);
                stopwatch.watch(name, "handle_push", callback).await
            }
            Next::Event(ClientEvent::Error(error)) => {
                let callback = handler.handle_error(error, cx);
                stopwatch.watch(name, "handle_error", callback).await
            }
            Next::Event(ClientEvent::Disconnected(why)) => {
                let callback = handler.handle_disconnect(why, cx);
                stopwatch.watch(name, "handle_disconnect", callback).await
            }
            Next::Info(info) => {
                let callback = handler.handle_info(info, cx);
                stopwatch.watch(name, "handle_info", callback).await
            }
            Next::Panicked(reason) => return reason,
            Next::Ended => return cx.client.ended().unwrap_or(ExitReason::Shutdown),
        };
    }
}

async fn with<T, U>(future: impl Future<Output = T>, value: U) -> (T, U) {
    (future.await, value)
}

/// Returns true if a callback failed only because the connection was lost.
fn is_disconnection(error: &(dyn Error + 'static)) -> bool {
    let call = error.downcast_ref();
    let cast = error.downcast_ref();
    matches!(call, Some(CallError::Disconnected { .. } | CallError::Lost))
        || matches!(cast, Some(CastError::Disconnected { .. }))
}
