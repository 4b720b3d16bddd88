//! One guest: a life, chosen at random, and then another.

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

use super::house::{Books, House};
use crate::support::{
    lab::{Call, Cast, Lab, Reply},
    raw::{self, Raw},
    time::{ms, secs},
};

/// How long those may wait for an answer who behave. It is not meant to pass.
const PATIENCE: Duration = secs(60);

pub(super) struct Guest {
    books: Arc<Books>,
    chance: Rng,
    /// What no other call has.
    next: u64,
}

/// A connection of a guest, and what is needed to end it as no stream can.
struct Line {
    stream: BoxedStream,
    below: Below,
}

enum Below {
    Socket(TcpStream),
    Simulated(SocketAddr),
}

impl Below {
    /// The connection ends with a reset, whatever was sent on it.
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

impl Guest {
    pub(super) fn new(house: &House, seed: u64, number: u64) -> Self {
        Self {
            books: Arc::clone(house.books()),
            chance: Rng::with_seed(seed << 16 | number),
            next: number << 32,
        }
    }

    pub(super) async fn live(&mut self) {
        let how = match self.chance.u8(..16) {
            0..=2 => self.behave().await,
            3 => self.dribble().await,
            4 | 5 => self.be_a_client().await,
            6 => self.be_a_client_that_loses_interest().await,
            7 => self.cast_and_leave().await,
            8 => self.half_close().await,
            9 => self.break_off().await,
            10 => self.reset().await,
            11 => self.leave_in_the_middle_of_a_handshake().await,
            12 => self.wait_for_the_end().await,
            13 => self.read_nothing().await,
            14 => self.talk_nonsense().await,
            _ => self.show_forged_papers().await,
        };
        self.books.lived(how);
        let pause = self.millis(20);
        time::sleep(pause).await;
    }

    fn millis(&mut self, below: u64) -> Duration {
        ms(self.chance.u64(..below))
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

    /// Through one of the patient doors, and through its handshake.
    async fn enter(&mut self) -> Line {
        let address = self.address();
        self.enter_at(address).await
    }

    fn address(&mut self) -> SocketAddr {
        match self.chance.bool() {
            true => self.books.plain,
            false => self.books.tls,
        }
    }

    async fn enter_at(&mut self, address: SocketAddr) -> Line {
        let line = Self::dial(address).await;
        if address == self.books.plain {
            return line;
        }
        let secured = self.books.papers.connect(line.stream, "127.0.0.1");
        Line {
            stream: secured.await.unwrap().stream,
            ..line
        }
    }

    /// A call that nobody else makes, and its answer.
    fn question(&mut self) -> (Vec<u8>, Term) {
        self.next += 1;
        let mut bytes = self.next.to_be_bytes().repeat(1 + self.chance.usize(..4));
        if self.chance.u8(..50) == 0 {
            bytes = bytes.repeat(4000);
        }
        let echo = |name| Term::tuple([Term::atom(name), Term::binary(bytes.clone())]);
        let reference = Term::from(self.next);
        let call = Term::tuple([reference.clone(), echo("echo")]);
        let answer = Term::tuple([echo("bytes"), reference]);
        (raw::bytes(Kind::Call, &call), answer)
    }

    /// Asks, in one segment or in several, and hears each answer once, in order.
    async fn ask(&mut self, peer: &mut Raw<BoxedStream>, most: usize) {
        let count = 1 + self.chance.usize(..most);
        let questions: Vec<_> = (0..count).map(|_| self.question()).collect();
        self.books.asked.fetch_add(count as u64, Relaxed);
        if self.chance.bool() {
            let all: Vec<_> = questions.iter().flat_map(|it| it.0.clone()).collect();
            // What is large is read while it is written, or neither end gets on.
            for part in all.chunks(16 * 1024) {
                peer.send(part).await;
            }
            for (_, answer) in &questions {
                self.hears(peer, answer).await;
            }
        } else {
            for (call, answer) in &questions {
                peer.send(call).await;
                self.hears(peer, answer).await;
            }
        }
    }

    async fn hears(&self, peer: &mut Raw<BoxedStream>, answer: &Term) {
        let next = time::timeout(PATIENCE, peer.next()).await;
        let (header, term) = next.expect("in time").expect("an answer");
        assert_eq!(
            (header.kind, &term),
            (Kind::Reply, answer),
            "seed {}",
            self.books.seed
        );
        self.books.answered.fetch_add(1, Relaxed);
    }

    // Those who behave

    async fn behave(&mut self) -> &'static str {
        let address = self.address();
        self.behave_at(address).await
    }

    pub(super) async fn behave_at(&mut self, address: SocketAddr) -> &'static str {
        let line = self.enter_at(address).await;
        let mut peer = Raw::over(line.stream);
        for _ in 0..self.chance.u8(1..4) {
            self.ask(&mut peer, 8).await;
            peer.send(&KEEPALIVE.repeat(self.chance.usize(..3))).await;
            let pause = self.millis(10);
            time::sleep(pause).await;
        }
        // No answer comes twice: the next one is this.
        self.ask(&mut peer, 1).await;
        peer.close().await;
        assert_eq!(peer.text().await, None);
        "asked, heard, closed"
    }

    async fn dribble(&mut self) -> &'static str {
        let line = self.enter().await;
        let mut peer = Raw::over(line.stream);
        let (call, answer) = (
            raw::call(self.next, ":ping"),
            format!("{{:pong, {}}}", self.next),
        );
        self.books.asked.fetch_add(1, Relaxed);
        for byte in &call {
            peer.send(std::slice::from_ref(byte)).await;
            match self.chance.u8(..20) {
                0 => time::sleep(ms(1)).await,
                _ => future::yield_now().await,
            }
        }
        self.hears(&mut peer, &answer.parse().unwrap()).await;
        "asked one byte at a time"
    }

    async fn half_close(&mut self) -> &'static str {
        let line = self.enter().await;
        let mut peer = Raw::over(line.stream);
        self.ask(&mut peer, 3).await;
        let (call, answer) = self.question();
        peer.send(&call).await;
        peer.close().await;
        // Whoever asks and leaves may be answered, but not wrongly.
        let last = time::timeout(PATIENCE, peer.next()).await.expect("in time");
        if let Some((_, term)) = last {
            assert_eq!(term, answer);
            assert_eq!(peer.text().await, None);
            return "closed after a question, and heard the answer";
        }
        "closed after a question, and did not hear the answer"
    }

    fn client(&mut self) -> erps::ClientBuilder<Lab> {
        let builder = match self.chance.bool() {
            true => Client::builder(self.books.plain),
            false => Client::builder(self.books.tls).transport(self.books.papers.clone()),
        };
        builder.reply_timeout(PATIENCE)
    }

    async fn be_a_client(&mut self) -> &'static str {
        let client = self.client().connect().await.unwrap();
        for _ in 0..self.chance.u8(1..3) {
            let calls = (0..self.chance.u8(1..10)).map(|_| {
                self.next += 1;
                let bytes = self.next.to_be_bytes().repeat(1 + self.chance.usize(..4));
                let client = client.clone();
                let books = Arc::clone(&self.books);
                async move {
                    books.asked.fetch_add(1, Relaxed);
                    let answer = client.call(Call::Echo(bytes.clone())).await;
                    assert_eq!(answer.unwrap(), Reply::Bytes(bytes), "seed {}", books.seed);
                    books.answered.fetch_add(1, Relaxed);
                }
            });
            join_all(calls.collect::<Vec<_>>()).await;
        }
        let notes: Vec<u64> = (0..self.chance.u64(1..5)).collect();
        for note in &notes {
            client.cast(Cast::Note(*note)).await.unwrap();
        }
        self.books.asked.fetch_add(1, Relaxed);
        assert_eq!(client.call(Call::Casts).await.unwrap(), Reply::Casts(notes));
        self.books.answered.fetch_add(1, Relaxed);
        "was a client"
    }

    // Those who do not

    async fn be_a_client_that_loses_interest(&mut self) -> &'static str {
        match self.chance.u8(..3) {
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

    async fn cast_and_leave(&mut self) -> &'static str {
        let line = self.enter().await;
        let mut peer = Raw::over(line.stream);
        peer.send(&raw::cast("{:note, 1}").repeat(3)).await;
        "cast and left"
    }

    async fn break_off(&mut self) -> &'static str {
        let line = self.enter().await;
        let mut peer = Raw::over(line.stream);
        let (call, _) = self.question();
        peer.send(&call[..self.chance.usize(..call.len())]).await;
        let pause = self.millis(5);
        time::sleep(pause).await;
        "left in the middle of a packet"
    }

    async fn reset(&mut self) -> &'static str {
        let line = self.enter().await;
        let mut peer = Raw::over(line.stream);
        match self.chance.u8(..4) {
            0 => {}
            1 => peer.send(&raw::call(1, ":hold")).await,
            2 => self.ask(&mut peer, 3).await,
            _ => {
                let calls = self.question().0.repeat(20);
                let pause = self.millis(20);
                future::or(peer.try_send(&calls), time::sleep(pause)).await;
            }
        }
        line.below.reset();
        "reset the connection"
    }

    async fn leave_in_the_middle_of_a_handshake(&mut self) -> &'static str {
        let line = Self::dial(self.books.tls).await;
        let pause = self.millis(6);
        let papers = self.books.papers.clone();
        let shake = async { drop(papers.connect(line.stream, "127.0.0.1").await) };
        future::or(shake, time::sleep(pause)).await;
        if self.chance.bool() {
            line.below.reset();
        }
        "left in the middle of a handshake"
    }

    /// Does a part of what is needed, and leaves the rest to the daemon's time limits.
    async fn wait_for_the_end(&mut self) -> &'static str {
        let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
        let (address, bytes) = match self.chance.u8(..5) {
            0 => (self.books.hasty_plain, Vec::new()),
            1 => (self.books.hasty_tls, Vec::new()),
            2 => (
                self.books.hasty_tls,
                hello[..self.chance.usize(..hello.len())].to_vec(),
            ),
            _ => {
                let (call, _) = self.question();
                let part = self.chance.usize(..call.len());
                (self.books.hasty_plain, call[..part].to_vec())
            }
        };
        let mut line = Self::dial(address).await;
        line.stream.write_all(&bytes).await.unwrap();
        let mut heard = Vec::new();
        let end = line.stream.read_to_end(&mut heard);
        drop(
            time::timeout(PATIENCE, end)
                .await
                .expect("the daemon loses its patience"),
        );
        "waited until the daemon lost its patience"
    }

    async fn read_nothing(&mut self) -> &'static str {
        let line = Self::dial(self.books.hasty_plain).await;
        let mut peer = Raw::over(line.stream);
        let call = raw::bytes(Kind::Call, &(1, Call::Echo(vec![7; 100_000])));
        let ask = async {
            for _ in 0..100 {
                peer.try_send(&call).await;
            }
            future::pending().await
        };
        let pause = self.millis(800);
        future::or(ask, time::sleep(pause)).await;
        if self.chance.bool() {
            line.below.reset();
        }
        "asked and never read"
    }

    async fn talk_nonsense(&mut self) -> &'static str {
        let line = self.enter().await;
        let mut peer = Raw::over(line.stream);
        let nonsense = match self.chance.u8(..4) {
            0 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            1 => raw::bytes(Kind::Push, &1),
            2 => raw::call(1, "{:fail, \"as it was asked\"}"),
            _ => raw::raw_bytes(
                "lab",
                "1.2.3",
                Kind::Cast,
                &[131, 113, 119, 0, 119, 0, 97, 0],
            ),
        };
        peer.try_send(&nonsense).await;
        while time::timeout(PATIENCE, peer.next())
            .await
            .expect("an end")
            .is_some()
        {}
        "talked nonsense"
    }

    async fn show_forged_papers(&mut self) -> &'static str {
        let line = Self::dial(self.books.tls).await;
        let forged = self.books.forged.clone();
        assert!(forged.connect(line.stream, "127.0.0.1").await.is_err());
        "showed forged papers"
    }
}
