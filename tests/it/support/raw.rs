//! A peer that sends arbitrary bytes.

use std::net::SocketAddr;

use erps::{
    Network, Term,
    network::{Listener, Stream},
    wire::{
        decoder::{Decoder, MAX_PAYLOAD},
        etf,
        identity::{Identifier, Version},
        packet::{self, Header, Kind},
    },
};
use serde::Serialize;
use smol::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

pub(crate) struct Raw<S = TcpStream> {
    stream: S,
    decoder: Decoder,
}

impl Raw {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a fresh socket");
        Self::over(stream)
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.expect("a listener"))
    }
}

impl Raw<Stream> {
    /// Connects over the simulated network of the current universe.
    pub(crate) async fn dial(address: SocketAddr) -> Self {
        let network = Network::current().expect("a simulated universe");
        Self::over(network.connect(address).await.expect("a listener"))
    }

    /// Accepts the next connection of a listener.
    pub(crate) async fn accept(listener: &Listener) -> Self {
        Self::over(listener.accept().await.expect("a healthy listener").0)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// Creates a peer on any stream.
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            decoder: Decoder::new(MAX_PAYLOAD),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("an open socket");
        self.stream.flush().await.expect("an open socket");
    }

    /// As [`send`](Self::send), ignoring errors: the peer may have closed the connection.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Closes the sending half. Packets from the peer can still be read.
    pub(crate) async fn close(&mut self) {
        let _ = self.stream.close().await;
    }

    /// Reads the next packet; `None` when the peer has closed or reset the connection.
    pub(crate) async fn next(&mut self) -> Option<(Header, Term)> {
        loop {
            let packet = self.decoder.next_packet().expect("our peer sends packets");
            if let Some(packet) = packet {
                let header = packet.header;
                if header.kind == Kind::Keepalive {
                    return Some((header, Term::nil()));
                }
                let term = etf::from_slice(packet.payload).expect("our peer sends terms");
                return Some((header, term));
            }
            match self.stream.read(self.decoder.spare(4096)).await {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.decoder.filled(n),
            }
        }
    }

    /// Reads the next packet's kind and its term in Elixir's syntax.
    pub(crate) async fn text(&mut self) -> Option<(Kind, String)> {
        let (header, term) = self.next().await?;
        Some((header.kind, term.to_string()))
    }
}

/// Encodes a packet as a client of the test protocol would.
pub(crate) fn bytes<T: Serialize>(kind: Kind, payload: &T) -> Vec<u8> {
    bytes_as("test", "1.2.3", kind, payload)
}

pub(crate) fn bytes_as<T: Serialize>(
    identifier: &str,
    version: &str,
    kind: Kind,
    payload: &T,
) -> Vec<u8> {
    let payload = etf::to_vec(payload).expect("a term");
    raw_bytes(identifier, version, kind, &payload)
}

pub(crate) fn raw_bytes(identifier: &str, version: &str, kind: Kind, payload: &[u8]) -> Vec<u8> {
    let identifier = Identifier::new(identifier).expect("a short name");
    let version: Version = version.parse().expect("three numbers");
    let mut out = Vec::new();
    let begun = packet::begin(&mut out, kind, version, &identifier);
    out.extend_from_slice(payload);
    begun
        .finish(&mut out, MAX_PAYLOAD)
        .expect("a small payload");
    out
}

/// Encodes a call with a reference, from Elixir's syntax.
pub(crate) fn call(reference: u64, request: &str) -> Vec<u8> {
    let request: Term = request.parse().expect("Elixir's syntax");
    bytes(Kind::Call, &(reference, request))
}

/// Encodes a cast, from Elixir's syntax.
pub(crate) fn cast(term: &str) -> Vec<u8> {
    let term: Term = term.parse().expect("Elixir's syntax");
    bytes(Kind::Cast, &term)
}
