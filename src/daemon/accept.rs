//! The accept loops, and how they handle errors.
//!
//! ```text
//! bound --> accepting --> the listener fails --> growing pause --> rebound
//!                                          +--> too many failures: the daemon exits
//! ```

use std::{io, pin::Pin, sync::Arc, task::Poll, time::Duration};

use futures_lite::{FutureExt as _, future};

use super::{DaemonEvent, connection, permit::Slot, shared::Shared};
use crate::{
    Endpoint, ExitReason, TaskRef,
    supervisor::Intensity,
    task::{self, Spawner},
    transport::{ListenAddress, Listener, SocketOptions},
};

/// The first pause when a resource is exhausted, doubled for each that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// The first pause before a listener is rebound, doubled for each that follows.
const FIRST_REBIND: Duration = Duration::from_millis(10);
/// The longest pause.
const LAST_REBIND: Duration = Duration::from_secs(1);

/// How many connections are accepted in a row before the task yields.
const BATCH: u32 = 16;

/// A bound listener, and what is needed to rebind it.
pub(super) struct Bound {
    listener: Listener,
    place: ListenAddress,
    address: Endpoint,
    options: SocketOptions,
}

impl Bound {
    pub(super) fn address(&self) -> &Endpoint {
        &self.address
    }

    fn bind(place: &ListenAddress, options: &SocketOptions) -> io::Result<Self> {
        let listener = Listener::bind(place, options)?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            place: place.with_port_of(&address),
            address,
            options: options.clone(),
        })
    }

    /// Binds up to `loops` listeners to one address; one if the address cannot be shared.
    pub(super) fn at(
        place: &ListenAddress,
        options: &SocketOptions,
        loops: usize,
    ) -> io::Result<Vec<Self>> {
        if loops <= 1 || !place.can_be_shared() {
            return Ok(vec![Self::bind(place, options)?]);
        }
        let options = options.sharing_port();
        let mut all = vec![Self::bind(place, &options)?];
        let place = all[0].place.clone();
        for _ in 1..loops {
            all.push(Self::bind(&place, &options)?);
        }
        Ok(all)
    }
}

/// Accepts connections until the daemon shuts down or drains, or a listener fails too often.
///
/// `all` holds the listeners of each address. The first of each runs in the daemon's own task, so that it
/// is closed with it; the others run in tasks of their own.
pub(super) async fn run(
    all: Vec<Vec<Bound>>,
    shared: &Arc<Shared>,
    spawner: &Spawner,
    task: &TaskRef,
) -> ExitReason {
    let mut loops: Vec<Loop<'_>> = Vec::new();
    let mut others = Others(Vec::new());
    for mut listeners in all {
        for bound in listeners.drain(1..) {
            let other = others.start(bound, shared, spawner);
            loops.push(Box::pin(async move { other.exited().await }));
        }
        loops.extend(
            listeners.pop().map(|it| -> Loop<'_> {
                Box::pin(listen(it, Arc::clone(shared), spawner.clone()))
            }),
        );
    }
    let drained = async {
        shared.state.drain_requested().await;
        ExitReason::Shutdown
    };
    let reason = task
        .shutdown_requested()
        .or(drained)
        .or(first(&mut loops))
        .or(shared.state.warnings.summarize())
        .await;
    drop(loops);
    others.close().await;
    reason
}

type Loop<'a> = Pin<Box<dyn Future<Output = ExitReason> + Send + 'a>>;

/// Returns the exit reason of the first loop that exits.
async fn first(loops: &mut [Loop<'_>]) -> ExitReason {
    future::poll_fn(|cx| {
        for it in &mut *loops {
            if let Poll::Ready(reason) = it.as_mut().poll(cx) {
                return Poll::Ready(reason);
            }
        }
        Poll::Pending
    })
    .await
}

/// The accept loops that run in tasks of their own; killed when dropped.
struct Others(Vec<TaskRef>);

impl Others {
    fn start(&mut self, bound: Bound, shared: &Arc<Shared>, spawner: &Spawner) -> TaskRef {
        let (shared, own) = (Arc::clone(shared), spawner.clone());
        let address = bound.address.clone();
        let what = format_args!("a listener at {address}");
        let task = spawner.start(what, |_| listen(bound, shared, own));
        self.0.push(task.clone());
        task
    }

    /// Kills the loops and waits until their listeners are closed.
    async fn close(mut self) {
        for task in std::mem::take(&mut self.0) {
            task.kill();
            task.exited().await;
        }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.0.iter().for_each(TaskRef::kill);
    }
}

/// Accepts at one address, and rebinds its listener when it fails.
async fn listen(bound: Bound, shared: Arc<Shared>, spawner: Spawner) -> ExitReason {
    let (count, within) = shared.settings.listener_rebinds;
    let mut intensity = Intensity::new(count, within);
    let Bound {
        listener,
        place,
        address,
        options,
    } = bound;
    let mut listener = Ok(listener);
    loop {
        let error = match listener {
            Ok(listener) => accept(&listener, &address, &shared, &spawner).await,
            Err(error) if Recovery::of(&error) == Recovery::Pause => {
                if shared.state.warnings.admits("cannot rebind") {
                    tracing::warn!(target: "erps", %address, %error, "the listener cannot be rebound now");
                }
                task::sleep(LAST_REBIND).await;
                listener = Listener::bind(&place, &options);
                continue;
            }
            Err(error) => error,
        };
        if !intensity.allows(task::now()) {
            tracing::error!(target: "erps", %address, %error, "the listener has failed");
            return ExitReason::error(error);
        }
        let retry_in = pause(intensity.recent());
        tracing::warn!(target: "erps", %address, %error, ?retry_in, "the listener has failed and is rebound after a pause");
        shared.state.events.publish(&DaemonEvent::ListenerFailed {
            address: address.clone(),
            error: Arc::new(error),
            retry_in,
        });
        task::sleep(retry_in).await;
        listener = Listener::bind(&place, &options);
        if listener.is_ok() {
            tracing::info!(target: "erps", %address, "the listener was rebound");
            let address = address.clone();
            let event = DaemonEvent::ListenerRebound { address };
            shared.state.events.publish(&event);
        }
    }
}

/// Returns the pause before a rebind, given the number of recent failures.
fn pause(failures: usize) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    FIRST_REBIND.saturating_mul(factor).min(LAST_REBIND)
}

/// Accepts until the listener itself fails.
async fn accept(
    listener: &Listener,
    address: &Endpoint,
    shared: &Arc<Shared>,
    spawner: &Spawner,
) -> io::Error {
    let mut pause = FIRST_PAUSE;
    // When a resource was first exhausted.
    let mut exhausted = None;
    let mut in_a_row = 0_u32;
    // The number of consecutive errors.
    let mut errors = 0_u32;
    loop {
        shared.state.acceptable().await;
        let suspended = async {
            shared.state.unacceptable().await;
            None
        };
        let accepted = async { Some(listener.accept().await) };
        let Some(accepted) = suspended.or(accepted).await else {
            continue;
        };
        match accepted {
            Ok(socket) => {
                pause = FIRST_PAUSE;
                errors = 0;
                if let Some(since) = exhausted.take() {
                    let after = task::now().saturating_duration_since(since);
                    let address = address.clone();
                    let event = DaemonEvent::AcceptResumed { address, after };
                    shared.state.events.publish(&event);
                }
                // Another loop may have taken the last slot.
                let slot = Slot::take(&shared.state).await;
                connection::start(shared, spawner, socket, slot);
                in_a_row = (in_a_row + 1) % BATCH;
                if in_a_row == 0 {
                    future::yield_now().await;
                }
            }
            Err(error) => match Recovery::of(&error) {
                // An error that keeps recurring is not of one connection, whatever its code.
                Recovery::Next if errors < BATCH => {
                    errors += 1;
                    tracing::debug!(target: "erps", %error, "a connection was closed before it was accepted");
                    future::yield_now().await;
                }
                Recovery::Next | Recovery::Pause => {
                    if shared.state.warnings.admits("cannot accept") {
                        tracing::warn!(target: "erps", %error, ?pause, "cannot accept connections");
                    }
                    if exhausted.is_none() {
                        exhausted = Some(task::now());
                        shared.state.events.accept_paused(address, error);
                    }
                    task::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                Recovery::Rebind => return error,
            },
        }
    }
}

/// How to recover from an error of `accept`.
#[derive(Debug, PartialEq, Eq)]
enum Recovery {
    /// The error concerned one connection, which is closed: accept the next.
    Next,
    /// The process or the system lacks a resource: pause; connections wait in the backlog.
    Pause,
    /// The listener itself is broken: rebind it.
    Rebind,
}

impl Recovery {
    fn of(error: &io::Error) -> Self {
        use io::ErrorKind::{
            ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted,
            NetworkDown, NetworkUnreachable, OutOfMemory, PermissionDenied, TimedOut, WouldBlock,
        };
        /// ENFILE, EMFILE; ENOBUFS of Linux, of the BSDs; WSAEMFILE, WSAENOBUFS.
        const SHORTAGES: [i32; 6] = [23, 24, 105, 55, 10024, 10055];
        if error.kind() == OutOfMemory
            || error
                .raw_os_error()
                .is_some_and(|code| SHORTAGES.contains(&code))
        {
            return Self::Pause;
        }
        match error.kind() {
            // Linux returns pending network errors of the new connection, and a firewall's rejection
            // as a lack of permission.
            ConnectionAborted | ConnectionRefused | ConnectionReset | HostUnreachable
            | Interrupted | NetworkDown | NetworkUnreachable | PermissionDenied | TimedOut
            | WouldBlock => Self::Next,
            _ => Self::Rebind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_errors_map_to_their_recovery() {
        let of = |code| Recovery::of(&io::Error::from_raw_os_error(code));
        assert_eq!(of(103), Recovery::Next, "ECONNABORTED");
        assert_eq!(of(4), Recovery::Next, "EINTR");
        for shortage in [24, 23, 105, 12] {
            assert_eq!(
                of(shortage),
                Recovery::Pause,
                "EMFILE, ENFILE, ENOBUFS, ENOMEM"
            );
        }
        assert_eq!(of(9), Recovery::Rebind, "EBADF");
    }

    #[test]
    fn the_pause_before_a_rebind_doubles_up_to_a_second() {
        let pauses = [1, 2, 3, 7, 8, 100].map(|failures| pause(failures).as_millis());
        assert_eq!(pauses, [10, 20, 40, 640, 1000, 1000]);
    }
}
