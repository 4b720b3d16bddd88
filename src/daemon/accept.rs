//! The accept loop, and what it does about errors.

use std::{io, sync::Arc, time::Duration};

use futures_lite::FutureExt as _;

use super::{connection, shared::Shared};
use crate::{
    ExitReason, Server, TaskRef,
    task::{self, Spawner},
    transport::Listener,
};

/// The first pause after an error of the whole process, doubled for each that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts, counts, hands over; until it is told to end, or the listener fails for good.
pub(super) async fn run<S: Server>(
    listener: &Listener,
    shared: &Arc<Shared<S>>,
    spawner: &Spawner,
    task: &TaskRef,
) -> ExitReason {
    let accept = async {
        let mut pause = FIRST_PAUSE;
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
                Ok((stream, peer)) => {
                    pause = FIRST_PAUSE;
                    connection::start(shared, spawner, stream, peer);
                }
                Err(error) => match Remedy::of(&error) {
                    Remedy::Next => {
                        tracing::debug!(target: "erps", %error, "a connection was gone before it was accepted");
                    }
                    Remedy::Pause => {
                        // Once for each doubling, and then once a second.
                        tracing::warn!(target: "erps", %error, ?pause, "cannot accept connections");
                        task::sleep(pause).await;
                        pause = (pause * 2).min(LAST_PAUSE);
                    }
                    Remedy::End => {
                        tracing::error!(target: "erps", %error, "the listener has failed");
                        return ExitReason::error(error);
                    }
                },
            }
        }
    };
    let drained = async {
        shared.drain_requested().await;
        ExitReason::Shutdown
    };
    task.shutdown_requested().or(drained).or(accept).await
}

/// What an error of `accept` calls for.
#[derive(Debug, PartialEq, Eq)]
enum Remedy {
    /// It concerned one connection, which is gone.
    Next,
    /// The process or the system is short of something; connections wait in the backlog.
    Pause,
    /// The listener itself is broken.
    End,
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
            _ => Self::End,
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
        assert_eq!(of(9), Remedy::End, "EBADF");
    }
}
