//! A client with callbacks: told of connections, pushes and what the process sends it.

use std::{error::Error, fmt};

use futures_lite::FutureExt as _;

use super::{CallError, CastError, Client, Disconnect};
use crate::{
    BoxError, ExitReason, PeerInfo, Protocol, SendError, TaskRef,
    mailbox::{Receiver, Sender, mailbox},
    task::{Caught, Contained, Foreign, Spawner},
};

/// The callbacks of a client. They run one at a time, in a task of their own: a callback may call
/// the server and wait for the answer.
///
/// An `Err` or a panic ends the client with it, but for one: an error that says only that the
/// connection is gone ([`CallError::Disconnected`], [`CallError::Lost`],
/// [`CastError::Disconnected`]) is passed over, for the client heals. Given to
/// [`ClientBuilder::handler`](crate::ClientBuilder::handler).
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
    /// What the client speaks.
    type Protocol: Protocol;
    /// What it may be told from inside the process.
    type Info: Send + 'static;

    /// Runs first. Nobody waits for it: the connection may be there before it is done. Default:
    /// nothing.
    fn init(
        &mut self,
        cx: &mut ClientContext<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = cx;
        async { Ok(()) }
    }

    /// Runs whenever a connection has been made: the place to subscribe again. Default: nothing.
    ///
    /// The connection may be lost again before this has run.
    fn handle_connect(
        &mut self,
        server: PeerInfo,
        cx: &mut ClientContext<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (server, cx);
        async { Ok(()) }
    }

    /// Handles what the server sent unasked. Default: ignores it.
    ///
    /// While it runs, further pushes wait; when too many do, nothing more is read from the
    /// connection. That goes for replies too: a call made here by a client that is flooded with
    /// pushes may wait until its deadline.
    fn handle_push(
        &mut self,
        push: <Self::Protocol as Protocol>::Push,
        cx: &mut ClientContext<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (push, cx);
        async { Ok(()) }
    }

    /// Handles what [`HandlerRef::info`] sent. Default: ignores it.
    fn handle_info(
        &mut self,
        info: Self::Info,
        cx: &mut ClientContext<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (info, cx);
        async { Ok(()) }
    }

    /// Runs whenever the connection is gone, before another is tried. Default: nothing.
    fn handle_disconnect(
        &mut self,
        why: Disconnect,
        cx: &mut ClientContext<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (why, cx);
        async { Ok(()) }
    }

    /// Runs last, whatever the reason, unless the client is killed. Default: nothing.
    fn terminate(
        &mut self,
        reason: &ExitReason,
        cx: &mut ClientContext<Self>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (reason, cx);
        async {}
    }
}

/// What a client's callback may do besides changing its state.
pub struct ClientContext<H: ClientHandler> {
    client: Client<H::Protocol>,
    this: HandlerRef<H>,
    stop: Option<ExitReason>,
}

impl<H: ClientHandler> ClientContext<H> {
    /// The client itself: to call the server, or to disconnect.
    #[must_use]
    pub fn client(&self) -> &Client<H::Protocol> {
        &self.client
    }

    /// The handle by which the process sends this handler [`Info`](ClientHandler::Info).
    #[must_use]
    pub fn this(&self) -> &HandlerRef<H> {
        &self.this
    }

    /// Ends the client with `reason` when this callback has returned.
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

/// A handle to a client's handler. Made by [`ClientContext::this`].
pub struct HandlerRef<H: ClientHandler> {
    infos: Sender<H::Info>,
    client: Client<H::Protocol>,
}

impl<H: ClientHandler> HandlerRef<H> {
    /// Sends the handler a message that only code in this process can send. Waits while too many
    /// are waiting.
    ///
    /// # Errors
    ///
    /// [`SendError`] if the client has ended: it was not delivered.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is sent.
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

/// What a client's connection has to tell.
pub(super) enum ClientEvent<P: Protocol> {
    Connected(PeerInfo),
    Push(P::Push),
    Disconnected(Disconnect),
}

/// What a handler is told next.
enum Told<H: ClientHandler> {
    Event(ClientEvent<H::Protocol>),
    Info(H::Info),
    Ended,
}

/// Runs a handler until its client ends; if the handler ends first, so does the client.
///
/// What is returned is ready when the handler's task is gone.
pub(super) fn start<H: ClientHandler>(
    handler: H,
    client: Client<H::Protocol>,
    mut events: Receiver<ClientEvent<H::Protocol>>,
    capacity: usize,
    spawner: &Spawner,
) -> Owned {
    let (infos, mut inbox) = mailbox(capacity);
    let mut handler = Foreign::new(handler);
    let task = client.task().clone();
    let handler_task = spawner.start(format_args!("the handler of a client"), |_| async move {
        let mut cx = ClientContext::<H> {
            this: HandlerRef {
                infos,
                client: client.clone(),
            },
            client,
            stop: None,
        };
        let run = Caught::new(run::<H>(&mut handler, &mut cx, &mut events, &mut inbox));
        let reason = run.await.unwrap_or_else(|panic| panic);
        events.close();
        inbox.close();
        Contained::new(handler.terminate(&reason, &mut cx)).await;
        drop(handler.into_inner());
        reason
    });
    task.take_along(&handler_task);
    handler_task.on_exit(move |reason| task.request_exit(reason.clone()));
    Owned(handler_task)
}

/// A handler's task, owned by its client's: it does not outlive a client that is killed.
pub(super) struct Owned(TaskRef);

impl Owned {
    pub(super) async fn gone(self) {
        self.0.exited().await;
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.kill();
    }
}

async fn run<H: ClientHandler>(
    handler: &mut H,
    cx: &mut ClientContext<H>,
    events: &mut Receiver<ClientEvent<H::Protocol>>,
    inbox: &mut Receiver<H::Info>,
) -> ExitReason {
    let mut outcome = handler.init(cx).await;
    let mut infos_first = true;
    loop {
        match outcome {
            // The connection is gone again; the client heals, and its handler hears of it.
            Err(error) if is_disconnection(&*error) => {
                tracing::debug!(target: "erps", %error, "a handler lost its connection");
            }
            Err(error) => return ExitReason::error(error),
            Ok(()) => {}
        }
        if let Some(reason) = cx.stop.take() {
            return reason;
        }
        let event = async { events.recv().await.map_or(Told::<H>::Ended, Told::Event) };
        let info = async { inbox.recv().await.map_or(Told::Ended, Told::Info) };
        // In turns: neither kind can keep the other waiting.
        infos_first = !infos_first;
        let told = match infos_first {
            true => info.or(event).await,
            false => event.or(info).await,
        };
        outcome = match told {
            Told::Event(ClientEvent::Connected(server)) => handler.handle_connect(server, cx).await,
            Told::Event(ClientEvent::Push(push)) => handler.handle_push(push, cx).await,
            Told::Event(ClientEvent::Disconnected(why)) => handler.handle_disconnect(why, cx).await,
            Told::Info(info) => handler.handle_info(info, cx).await,
            Told::Ended => return cx.client.ended().unwrap_or(ExitReason::Shutdown),
        };
    }
}

/// Tells whether a callback failed only because the client was disconnected meanwhile.
fn is_disconnection(error: &(dyn Error + 'static)) -> bool {
    let call = error.downcast_ref();
    let cast = error.downcast_ref();
    matches!(call, Some(CallError::Disconnected | CallError::Lost))
        || matches!(cast, Some(CastError::Disconnected))
}
