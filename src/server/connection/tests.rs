use std::{future::poll_fn, io, panic::Location, pin::Pin};

use futures_lite::{AsyncRead, AsyncWrite};

use super::*;
use crate::{Endpoint, Universe, link::WRITE_CHUNK, send_queue::PacketClass, wire::codec::Codec};

/// A peer that neither sends nor reads.
struct Stuck;

impl AsyncRead for Stuck {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

impl AsyncWrite for Stuck {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// A connection with a full send queue, and a second handle to the queue.
fn stuck() -> (Connection, Arc<SendQueue>) {
    let ends = Ends {
        peer: Endpoint::Inet(([127, 0, 0, 1], 1).into()),
        server: "stuck",
        made: Location::caller(),
    };
    let acceptance = Acceptance {
        identifier: None,
        versions: None,
    };
    let options = ServerOptions::new();
    let connection = Connection::new(Box::new(Stuck), acceptance, &options, ends);
    let kept = Arc::clone(connection.send_queue());
    for _ in 0..10 {
        let encode = |_: &Codec, out: &mut Vec<u8>| {
            out.resize(WRITE_CHUNK, 0);
            Ok(true)
        };
        let sent = kept.send(PacketClass::Push, encode);
        assert!(matches!(sent, Ok(Ok(true))), "{sent:?}");
    }
    (connection, kept)
}

#[test]
fn dropping_a_connection_empties_its_send_queue() {
    Universe::simulated(1).run(async {
        let (connection, kept) = stuck();
        // An orderly close still flushes the queue.
        kept.close();
        assert_eq!(kept.bytes(), 10 * WRITE_CHUNK);
        drop(connection);
        assert_eq!(kept.bytes(), 0);
        assert!(kept.wait_below_limit().await.is_err());
    });
}

#[test]
fn a_write_timeout_empties_the_send_queue() {
    Universe::simulated(1).run(async {
        let (mut connection, kept) = stuck();
        poll_fn(|cx| {
            connection.poll_send(cx);
            match connection.dead {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        assert_eq!(kept.bytes(), 0);
    });
}
