//! Data over TLS streams, flushing, and closing.

use erps::TestCa;

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use async_net::TcpStream;
use erps::Transport as _;
use smol::{
    future,
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
};

use super::{HOST, PEER, pair, run, secured};

#[test]
fn data_sent_right_after_the_handshake_is_not_lost() {
    run(async {
        let ca = TestCa::new();
        let (server, client) = (ca.tls(&HOST), ca.tls(&["client"]));
        let (accepted, connected) = pair().await;
        let speak = async {
            let mut secured = server.accept(Box::new(accepted), PEER).await.unwrap();
            secured.stream.write_all(b"welcome").await.unwrap();
            secured.stream.close().await.unwrap();
        };
        let connect = client.connect(Box::new(connected), "localhost");
        let (_, secured) = future::zip(speak, connect).await;
        let mut text = String::new();
        let mut stream = secured.unwrap().stream;
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "welcome");
    });
}

#[test]
fn megabyte_is_sent_in_both_directions_concurrently() {
    run(async {
        let (server, client) = secured().await;
        let message: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_be_bytes).collect();
        let echo = async {
            let (mut reader, mut writer) = split(server.stream);
            smol::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.close().await.unwrap();
        };
        let (mut reader, mut writer) = split(client.stream);
        let send = async {
            writer.write_all(&message).await.unwrap();
            writer.close().await.unwrap();
        };
        let mut back = Vec::new();
        let receive = reader.read_to_end(&mut back);
        let (_, (_, received)) = future::zip(echo, future::zip(send, receive)).await;
        received.unwrap();
        assert!(back == message);
    });
}

/// Records what is written to the socket, one entry for each system call.
struct Recording(TcpStream, Arc<Mutex<Vec<Vec<u8>>>>);

impl AsyncRead for Recording {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Recording {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0).poll_write(cx, buf))?;
        self.1.lock().unwrap().push(buf[..written].to_vec());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// Returns the number of TLS records in these bytes.
fn records(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let [_, _, _, high, low, rest @ ..] = bytes {
        bytes = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
        count += 1;
    }
    count
}

#[test]
fn small_writes_are_sent_at_the_flush_in_one_system_call() {
    run(async {
        let ca = TestCa::new();
        let (accepted, connected) = pair().await;
        let writes = Arc::new(Mutex::new(Vec::new()));
        let recording = Recording(connected, Arc::clone(&writes));
        let (server, client) = (ca.tls(&HOST), ca.tls(&["client"]));
        let (server, client) = future::zip(
            server.accept(Box::new(accepted), PEER),
            client.connect(Box::new(recording), "localhost"),
        )
        .await;
        let (mut server, mut client) = (server.unwrap().stream, client.unwrap().stream);
        writes.lock().unwrap().clear();
        for _ in 0..500 {
            client.write_all(b"a small packet").await.unwrap();
        }
        assert!(writes.lock().unwrap().is_empty());
        client.flush().await.unwrap();
        let sent = std::mem::take(&mut *writes.lock().unwrap());
        assert_eq!(sent.len(), 1);
        assert_eq!(records(&sent[0]), 500);
        let mut all = vec![0; 500 * b"a small packet".len()];
        server.read_exact(&mut all).await.unwrap();
        assert_eq!(all, b"a small packet".repeat(500));
    });
}

#[test]
fn close_is_read_as_end_of_stream() {
    run(async {
        let (mut server, mut client) = secured().await;
        client.stream.write_all(b"last words").await.unwrap();
        client.stream.close().await.unwrap();
        client.stream.close().await.unwrap();
        assert!(client.stream.write_all(b"more").await.is_err());
        let mut text = String::new();
        server.stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last words");
        assert_eq!(server.stream.read(&mut [0; 8]).await.unwrap(), 0);
        // The other direction is still open.
        server.stream.write_all(b"so long").await.unwrap();
        server.stream.close().await.unwrap();
        text.clear();
        client.stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "so long");
    });
}

#[test]
fn drop_without_close_notify_is_read_as_end_of_stream() {
    run(async {
        let (mut server, mut client) = secured().await;
        client.stream.write_all(b"last words").await.unwrap();
        client.stream.flush().await.unwrap();
        drop(client);
        let mut text = String::new();
        server.stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last words");
        server.stream.close().await.unwrap();
    });
}

#[test]
fn write_fails_when_the_peer_closes_the_connection() {
    run(async {
        let (server, mut client) = secured().await;
        drop(server);
        let chunk = [0; 1 << 16];
        while client.stream.write_all(&chunk).await.is_ok() {}
        client.stream.close().await.unwrap();
    });
}

#[test]
fn read_decrypts_a_limited_number_of_records() {
    const RECORDS: usize = 4000;
    /// A batch of 64 KiB, where a record counts 512 bytes on top of its content.
    const BATCH: usize = 128;
    run(async {
        let (mut server, mut client) = secured().await;
        let write = async {
            for _ in 0..RECORDS {
                client.stream.write_all(&[7]).await.unwrap();
            }
            client.stream.flush().await.unwrap();
        };
        let read = async {
            let mut buf = vec![0; 64 * 1024];
            let (mut total, mut most) = (0, 0);
            while total < RECORDS {
                let count = server.stream.read(&mut buf).await.unwrap();
                assert!(count > 0, "the end after {total} bytes");
                total += count;
                most = most.max(count);
            }
            most
        };
        let (_, most) = future::zip(write, read).await;
        assert!(most <= BATCH, "{most} records in one read");
        // That many had arrived, so the limit was reached.
        assert!(most > BATCH / 2, "{most} records in one read");
    });
}
