//! A client that behaves randomly, again and again.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use erps::{
    BoxedStream, Client, Network, Term, Transport as _, time,
    wire::packet::{KEEPALIVE, Kind},
};
use fastrand::Rng;
use futures::future::join_all;
use smol::{
    future,
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use socket2::SockRef;

use super::daemons::{Daemons, Records};
use crate::support::{
    raw::{self, Raw},
    test_server::{Call, Cast, Reply, TestProtocol},
    time::{ms, secs},
};

/// How long well-behaved clients wait for an answer. It should never expire.
const REPLY_TIMEOUT: Duration = secs(60);

pub(super) struct TestClient {
    records: Arc<Records>,
    rng: Rng,
    /// A number that no other call has.
    next: u64,
}

/// A connection, and what is needed to reset it.
struct Line {
    stream: BoxedStream,
    below: Below,
}

enum Below {
    Socket(TcpStream),
    Simulated(SocketAddr),
}

impl Below {
    /// Resets the connection, whatever was sent.
    fn reset(self) {
        match self {
            Self::Socket(socket) => {
                SockRef::from(&socket)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
            Self::Simulated(address) => {
                let connections = Network::current().unwrap().connections();
                if let Some(own) = connections.iter().find(|it| it.client_addr() == address) {
                    own.reset();
                }
            }
        }
    }
}

impl TestClient {
    pub(super) fn new(daemons: &Daemons, seed: u64, number: u64) -> Self {
        Self {
            records: Arc::clone(daemons.records()),
            rng: Rng::with_seed(seed << 16 | number),
            next: number << 32,
        }
    }

    pub(super) async fn run_once(&mut self) {
        let how = match self.rng.u8(..16) {
            0..=2 => self.call_and_close().await,
            3 => self.send_byte_by_byte().await,
            4 | 5 => self.use_client().await,
            6 => self.drop_client().await,
            7 => self.cast_and_close().await,
            8 => self.half_close().await,
            9 => self.close_within_packet().await,
            10 => self.reset().await,
            11 => self.close_within_handshake().await,
            12 => self.wait_for_timeout().await,
            13 => self.read_nothing().await,
            14 => self.send_invalid_data().await,
            _ => self.use_untrusted_certificate().await,
        };
        self.records.record_run(how);
        let pause = self.millis(20);
        time::sleep(pause).await;
    }

    fn millis(&mut self, below: u64) -> Duration {
        ms(self.rng.u64(..below))
    }

    async fn dial(address: SocketAddr) -> Line {
        if let Some(network) = Network::current() {
            let stream = network.connect(address).await.unwrap();
            let below = Below::Simulated(stream.local_addr());
            let stream = Box::new(stream);
            return Line { stream, below };
        }
        loop {
            match TcpStream::connect(address).await {
                Ok(socket) => {
                    socket.set_nodelay(true).unwrap();
                    let stream = Box::new(socket.clone());
                    let below = Below::Socket(socket);
                    return Line { stream, below };
                }
                // Every port is in use, or was until a moment ago.
                Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
                    time::sleep(ms(50)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Connects to one of the daemons with long timeouts, and completes the handshake.
    async fn connect(&mut self) -> Line {
        let address = self.address();
        self.connect_to(address).await
    }

    fn address(&mut self) -> SocketAddr {
        match self.rng.bool() {
            true => self.records.plain,
            false => self.records.tls,
        }
    }

    async fn connect_to(&mut self, address: SocketAddr) -> Line {
        let line = Self::dial(address).await;
        if address == self.records.plain {
            return line;
        }
        let secured = self.records.tls_settings.connect(line.stream, "127.0.0.1");
        Line {
            stream: secured.await.unwrap().stream,
            ..line
        }
    }

    /// Returns a unique call and its expected answer.
    fn new_call(&mut self) -> (Vec<u8>, Term) {
        self.next += 1;
        let mut bytes = self.next.to_be_bytes().repeat(1 + self.rng.usize(..4));
        if self.rng.u8(..50) == 0 {
            bytes = bytes.repeat(4000);
        }
        let echo = |name| Term::tuple([Term::atom(name), Term::binary(bytes.clone())]);
        let reference = Term::from(self.next);
        let call = Term::tuple([reference.clone(), echo("echo")]);
        let answer = Term::tuple([echo("bytes"), reference]);
        (raw::bytes(Kind::Call, &call), answer)
    }

    /// Sends calls in one segment or several, and asserts that each is answered once, in order.
    async fn call_repeatedly(&mut self, peer: &mut Raw<BoxedStream>, most: usize) {
        let count = 1 + self.rng.usize(..most);
        let calls_and_answers: Vec<_> = (0..count).map(|_| self.new_call()).collect();
        self.records.asked.fetch_add(count as u64, Relaxed);
        if self.rng.bool() {
            let all: Vec<_> = calls_and_answers
                .iter()
                .flat_map(|it| it.0.clone())
                .collect();
            // Large data is read while it is written, or both ends block.
            for part in all.chunks(16 * 1024) {
                peer.send(part).await;
            }
            for (_, answer) in &calls_and_answers {
                self.assert_answered(peer, answer).await;
            }
        } else {
            for (call, answer) in &calls_and_answers {
                peer.send(call).await;
                self.assert_answered(peer, answer).await;
            }
        }
    }

    async fn assert_answered(&self, peer: &mut Raw<BoxedStream>, answer: &Term) {
        let next = time::timeout(REPLY_TIMEOUT, peer.next()).await;
        let (header, term) = next.expect("in time").expect("an answer");
        assert_eq!(
            (header.kind, &term),
            (Kind::Reply, answer),
            "seed {}",
            self.records.seed
        );
        self.records.answered.fetch_add(1, Relaxed);
    }

    // Well-behaved clients

    async fn call_and_close(&mut self) -> &'static str {
        let address = self.address();
        self.call_and_close_at(address).await
    }

    pub(super) async fn call_and_close_at(&mut self, address: SocketAddr) -> &'static str {
        let line = self.connect_to(address).await;
        let mut peer = Raw::over(line.stream);
        for _ in 0..self.rng.u8(1..4) {
            self.call_repeatedly(&mut peer, 8).await;
            peer.send(&KEEPALIVE.repeat(self.rng.usize(..3))).await;
            let pause = self.millis(10);
            time::sleep(pause).await;
        }
        // The next answer belongs to this call: no answer comes twice.
        self.call_repeatedly(&mut peer, 1).await;
        peer.close().await;
        assert_eq!(peer.text().await, None);
        "called, was answered, closed"
    }

    async fn send_byte_by_byte(&mut self) -> &'static str {
        let line = self.connect().await;
        let mut peer = Raw::over(line.stream);
        let (call, answer) = (
            raw::call(self.next, ":ping"),
            format!("{{:pong, {}}}", self.next),
        );
        self.records.asked.fetch_add(1, Relaxed);
        for byte in &call {
            peer.send(std::slice::from_ref(byte)).await;
            match self.rng.u8(..20) {
                0 => time::sleep(ms(1)).await,
                _ => future::yield_now().await,
            }
        }
        self.assert_answered(&mut peer, &answer.parse().unwrap())
            .await;
        "sent a call one byte at a time"
    }

    async fn half_close(&mut self) -> &'static str {
        let line = self.connect().await;
        let mut peer = Raw::over(line.stream);
        self.call_repeatedly(&mut peer, 3).await;
        let (call, answer) = self.new_call();
        peer.send(&call).await;
        peer.close().await;
        // A client that closes after a call may receive no answer, but never a wrong one.
        let last = time::timeout(REPLY_TIMEOUT, peer.next())
            .await
            .expect("in time");
        if let Some((_, term)) = last {
            assert_eq!(term, answer);
            assert_eq!(peer.text().await, None);
            return "closed after a call, and was answered";
        }
        "closed after a call, and was not answered"
    }

    fn client(&mut self) -> erps::ClientBuilder<TestProtocol> {
        let builder = match self.rng.bool() {
            true => Client::builder(self.records.plain),
            false => Client::builder(self.records.tls).transport(self.records.tls_settings.clone()),
        };
        builder.reply_timeout(REPLY_TIMEOUT)
    }

    async fn use_client(&mut self) -> &'static str {
        let client = self.client().connect().await.unwrap();
        for _ in 0..self.rng.u8(1..3) {
            let calls = (0..self.rng.u8(1..10)).map(|_| {
                self.next += 1;
                let bytes = self.next.to_be_bytes().repeat(1 + self.rng.usize(..4));
                let client = client.clone();
                let records = Arc::clone(&self.records);
                async move {
                    records.asked.fetch_add(1, Relaxed);
                    let answer = client.call(Call::Echo(bytes.clone())).await;
                    assert_eq!(
                        answer.unwrap(),
                        Reply::Bytes(bytes),
                        "seed {}",
                        records.seed
                    );
                    records.answered.fetch_add(1, Relaxed);
                }
            });
            join_all(calls.collect::<Vec<_>>()).await;
        }
        let notes: Vec<u64> = (0..self.rng.u64(1..5)).collect();
        for note in &notes {
            client.cast(Cast::Note(*note)).await.unwrap();
        }
        self.records.asked.fetch_add(1, Relaxed);
        assert_eq!(client.call(Call::Casts).await.unwrap(), Reply::Casts(notes));
        self.records.answered.fetch_add(1, Relaxed);
        "was a client"
    }

    // Hostile clients

    async fn drop_client(&mut self) -> &'static str {
        match self.rng.u8(..3) {
            0 => {
                let pause = self.millis(10);
                let connect = async { drop(self.client().connect().await) };
                future::or(connect, time::sleep(pause)).await;
                "a client, dropped while it dialled"
            }
            1 => {
                let client = self.client().connect().await.unwrap();
                let pause = self.millis(5);
                let call = async { drop(client.call(Call::Hold).await) };
                future::or(call, time::sleep(pause)).await;
                "a client, dropped with a call in flight"
            }
            _ => {
                let client = self.client().start();
                drop(client.cast(Cast::Note(1)).await);
                "a client, dropped as soon as it was started"
            }
        }
    }

    async fn cast_and_close(&mut self) -> &'static str {
        let line = self.connect().await;
        let mut peer = Raw::over(line.stream);
        peer.send(&raw::cast("{:note, 1}").repeat(3)).await;
        "cast and closed"
    }

    async fn close_within_packet(&mut self) -> &'static str {
        let line = self.connect().await;
        let mut peer = Raw::over(line.stream);
        let (call, _) = self.new_call();
        peer.send(&call[..self.rng.usize(..call.len())]).await;
        let pause = self.millis(5);
        time::sleep(pause).await;
        "closed within a packet"
    }

    async fn reset(&mut self) -> &'static str {
        let line = self.connect().await;
        let mut peer = Raw::over(line.stream);
        match self.rng.u8(..4) {
            0 => {}
            1 => peer.send(&raw::call(1, ":hold")).await,
            2 => self.call_repeatedly(&mut peer, 3).await,
            _ => {
                let calls = self.new_call().0.repeat(20);
                let pause = self.millis(20);
                future::or(peer.try_send(&calls), time::sleep(pause)).await;
            }
        }
        line.below.reset();
        "reset the connection"
    }

    async fn close_within_handshake(&mut self) -> &'static str {
        let line = Self::dial(self.records.tls).await;
        let pause = self.millis(6);
        let tls_settings = self.records.tls_settings.clone();
        let shake = async { drop(tls_settings.connect(line.stream, "127.0.0.1").await) };
        future::or(shake, time::sleep(pause)).await;
        if self.rng.bool() {
            line.below.reset();
        }
        "closed within a handshake"
    }

    /// Sends a part of what is needed and waits for the daemon's timeouts.
    async fn wait_for_timeout(&mut self) -> &'static str {
        let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
        let (address, bytes) = match self.rng.u8(..5) {
            0 => (self.records.impatient_plain, Vec::new()),
            1 => (self.records.impatient_tls, Vec::new()),
            2 => (
                self.records.impatient_tls,
                hello[..self.rng.usize(..hello.len())].to_vec(),
            ),
            _ => {
                let (call, _) = self.new_call();
                let part = self.rng.usize(..call.len());
                (self.records.impatient_plain, call[..part].to_vec())
            }
        };
        let mut line = Self::dial(address).await;
        line.stream.write_all(&bytes).await.unwrap();
        let mut heard = Vec::new();
        let end = line.stream.read_to_end(&mut heard);
        drop(
            time::timeout(REPLY_TIMEOUT, end)
                .await
                .expect("the daemon's timeout"),
        );
        "waited for the daemon's timeout"
    }

    async fn read_nothing(&mut self) -> &'static str {
        let line = Self::dial(self.records.impatient_plain).await;
        let mut peer = Raw::over(line.stream);
        let call = raw::bytes(Kind::Call, &(1, Call::Echo(vec![7; 100_000])));
        let call_repeatedly = async {
            for _ in 0..100 {
                peer.try_send(&call).await;
            }
            future::pending().await
        };
        let pause = self.millis(800);
        future::or(call_repeatedly, time::sleep(pause)).await;
        if self.rng.bool() {
            line.below.reset();
        }
        "called and never read"
    }

    async fn send_invalid_data(&mut self) -> &'static str {
        let line = self.connect().await;
        let mut peer = Raw::over(line.stream);
        let invalid = match self.rng.u8(..4) {
            0 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            1 => raw::bytes(Kind::Push, &1),
            2 => raw::call(1, "{:fail, \"as it was asked\"}"),
            _ => raw::raw_bytes(
                "test",
                "1.2.3",
                Kind::Cast,
                &[131, 113, 119, 0, 119, 0, 97, 0],
            ),
        };
        peer.try_send(&invalid).await;
        while time::timeout(REPLY_TIMEOUT, peer.next())
            .await
            .expect("an end")
            .is_some()
        {}
        "sent invalid data"
    }

    async fn use_untrusted_certificate(&mut self) -> &'static str {
        let line = Self::dial(self.records.tls).await;
        let untrusted = self.records.untrusted.clone();
        assert!(untrusted.connect(line.stream, "127.0.0.1").await.is_err());
        "used an untrusted certificate"
    }
}
