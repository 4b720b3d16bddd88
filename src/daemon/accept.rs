//! The accept loops, and what they do about errors.
//!
//! ```text
//! listening --> accepting --> the listener fails --> a pause, longer each time --> listening
//!                                              +--> too often: the daemon ends
//! ```

use std::{io, pin::Pin, sync::Arc, task::Poll, time::Duration};

use futures_lite::{FutureExt as _, future};

use super::{DaemonEvent, connection, shared::Shared, visit::Seat};
use crate::{
    Endpoint, ExitReason, Server, TaskRef,
    supervisor::Intensity,
    task::{self, Spawner},
    transport::{Listener, Place, Sockets},
};

/// The first pause after an error of the whole process, doubled for each that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// The first pause before a listener is made anew.
const FIRST_RESTART: Duration = Duration::from_millis(10);
/// The longest.
const LAST_RESTART: Duration = Duration::from_secs(1);

/// After how many connections in a row the others of the task have their turn.
const TURN: u32 = 16;

/// A listener, and what it takes to make it anew.
pub(super) struct Listening {
    listener: Listener,
    place: Place,
    address: Endpoint,
    options: Sockets,
}

impl Listening {
    pub(super) fn address(&self) -> &Endpoint {
        &self.address
    }

    fn bind(place: &Place, options: &Sockets) -> io::Result<Self> {
        let listener = Listener::bind(place, options)?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            place: place.found(&address),
            address,
            options: options.clone(),
        })
    }

    /// Listens at one place, with as many listeners as may share it, up to `loops`.
    pub(super) fn at(place: &Place, options: &Sockets, loops: usize) -> io::Result<Vec<Self>> {
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

/// Accepts, counts, hands over; until it is told to end, or a listener fails too often.
///
/// `all` are the places, and the listeners at each. The first at each place runs in the daemon's own
/// task, so that nobody listens there any more once that is gone; the others in tasks of theirs.
pub(super) async fn run<S: Server>(
    all: Vec<Vec<Listening>>,
    shared: &Arc<Shared<S>>,
    spawner: &Spawner,
    task: &TaskRef,
) -> ExitReason {
    let mut loops: Vec<Loop<'_>> = Vec::new();
    let mut others = Others(Vec::new());
    for mut listeners in all {
        for listening in listeners.drain(1..) {
            let other = others.start(listening, shared, spawner);
            loops.push(Box::pin(async move { other.exited().await }));
        }
        loops.extend(
            listeners
                .pop()
                .map(|it| -> Loop<'_> { Box::pin(keep(it, Arc::clone(shared), spawner.clone())) }),
        );
    }
    let drained = async {
        shared.drain_requested().await;
        ExitReason::Shutdown
    };
    let reason = task
        .shutdown_requested()
        .or(drained)
        .or(first(&mut loops))
        .or(shared.warnings.summarize())
        .await;
    drop(loops);
    others.close().await;
    reason
}

type Loop<'a> = Pin<Box<dyn Future<Output = ExitReason> + Send + 'a>>;

/// How the first of them ends that does.
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

/// The accept loops that have tasks of their own; killed when dropped.
struct Others(Vec<TaskRef>);

impl Others {
    fn start<S: Server>(
        &mut self,
        listening: Listening,
        shared: &Arc<Shared<S>>,
        spawner: &Spawner,
    ) -> TaskRef {
        let (shared, own) = (Arc::clone(shared), spawner.clone());
        let address = listening.address.clone();
        let what = format_args!("a listener at {address}");
        let task = spawner.start(what, |_| keep(listening, shared, own));
        self.0.push(task.clone());
        task
    }

    /// Waits until nobody listens any more.
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

/// Accepts at one place, with as many listeners as it takes, one after the other.
async fn keep<S: Server>(
    listening: Listening,
    shared: Arc<Shared<S>>,
    spawner: Spawner,
) -> ExitReason {
    let (count, within) = shared.settings.listener_restarts;
    let mut intensity = Intensity::new(count, within);
    let Listening {
        listener,
        place,
        address,
        options,
    } = listening;
    let mut listener = Ok(listener);
    loop {
        let error = match listener {
            Ok(listener) => accept(&listener, &address, &shared, &spawner).await,
            Err(error) if Remedy::of(&error) == Remedy::Pause => {
                if shared.warnings.admit("cannot bind again") {
                    tracing::warn!(target: "erps", %address, %error, "the listener cannot be bound again now");
                }
                task::sleep(LAST_RESTART).await;
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
        tracing::warn!(target: "erps", %address, %error, ?retry_in, "the listener has failed and is made anew");
        shared.journal.publish(&DaemonEvent::ListenerFailed {
            address: address.clone(),
            error: Arc::new(error),
            retry_in,
        });
        task::sleep(retry_in).await;
        listener = Listener::bind(&place, &options);
        if listener.is_ok() {
            tracing::info!(target: "erps", %address, "listening again");
            let address = address.clone();
            let event = DaemonEvent::ListenerRestarted { address };
            shared.journal.publish(&event);
        }
    }
}

/// How long to wait before so many restarts of late have been made.
fn pause(restarts: usize) -> Duration {
    let doublings = u32::try_from(restarts.saturating_sub(1)).unwrap_or(u32::MAX);
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    FIRST_RESTART.saturating_mul(factor).min(LAST_RESTART)
}

/// Accepts until the listener itself fails.
async fn accept<S: Server>(
    listener: &Listener,
    address: &Endpoint,
    shared: &Arc<Shared<S>>,
    spawner: &Spawner,
) -> io::Error {
    let mut pause = FIRST_PAUSE;
    // Since when nobody can be accepted.
    let mut short = None;
    let mut in_a_row = 0_u32;
    // How many errors have followed each other.
    let mut futile = 0_u32;
    loop {
        shared.room().await;
        let no_room = async {
            shared.no_room().await;
            None
        };
        let accepted = async { Some(listener.accept().await) };
        let Some(accepted) = no_room.or(accepted).await else {
            continue;
        };
        match accepted {
            Ok(socket) => {
                pause = FIRST_PAUSE;
                futile = 0;
                if let Some(since) = short.take() {
                    let after = task::now().saturating_duration_since(since);
                    let address = address.clone();
                    let event = DaemonEvent::AcceptResumed { address, after };
                    shared.journal.publish(&event);
                }
                // Another loop may have taken the last one.
                let seat = Seat::take(shared).await;
                connection::start(shared, spawner, socket, seat);
                in_a_row = (in_a_row + 1) % TURN;
                if in_a_row == 0 {
                    future::yield_now().await;
                }
            }
            Err(error) => match Remedy::of(&error) {
                // An error that comes back at once each time is one of this end, whatever it says.
                Remedy::Next if futile < TURN => {
                    futile += 1;
                    tracing::debug!(target: "erps", %error, "a connection was gone before it was accepted");
                    future::yield_now().await;
                }
                Remedy::Next | Remedy::Pause => {
                    if shared.warnings.admit("cannot accept") {
                        tracing::warn!(target: "erps", %error, ?pause, "cannot accept connections");
                    }
                    if short.is_none() {
                        short = Some(task::now());
                        shared.journal.accept_paused(address, error);
                    }
                    task::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                Remedy::Restart => return error,
            },
        }
    }
}

/// What an error of `accept` calls for.
#[derive(Debug, PartialEq, Eq)]
enum Remedy {
    /// It concerned one connection, which is gone.
    Next,
    /// The process or the system is short of something; connections wait in the backlog.
    Pause,
    /// The listener itself is broken: there has to be another.
    Restart,
}

impl Remedy {
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
            // Linux reports errors of the network that befell the new connection, and a
            // firewall's refusal as a lack of permission.
            ConnectionAborted | ConnectionRefused | ConnectionReset | HostUnreachable
            | Interrupted | NetworkDown | NetworkUnreachable | PermissionDenied | TimedOut
            | WouldBlock => Self::Next,
            _ => Self::Restart,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_accept_are_sorted_by_what_they_concern() {
        let of = |code| Remedy::of(&io::Error::from_raw_os_error(code));
        assert_eq!(of(103), Remedy::Next, "ECONNABORTED");
        assert_eq!(of(4), Remedy::Next, "EINTR");
        for shortage in [24, 23, 105, 12] {
            assert_eq!(
                of(shortage),
                Remedy::Pause,
                "EMFILE, ENFILE, ENOBUFS, ENOMEM"
            );
        }
        assert_eq!(of(9), Remedy::Restart, "EBADF");
    }

    #[test]
    fn the_pause_before_a_restart_doubles_up_to_a_second() {
        let pauses = [1, 2, 3, 7, 8, 100].map(|restarts| pause(restarts).as_millis());
        assert_eq!(pauses, [10, 20, 40, 640, 1000, 1000]);
    }
}
