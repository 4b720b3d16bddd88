//! A whole daemon, and a peer that does whatever the bytes say once it is let in.
//!
//! ```text
//! mode | step | step | ...        mode: with TLS or without, the line, the limits
//! ```
//!
//! All of it takes place in a simulated universe, so that the same bytes do the same again. TLS draws
//! its keys from the system, which changes nothing here.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::LazyLock,
    time::Duration,
};

use erps::{
    BoxError, BoxedStream, Client, CloseReason, Context, Daemon, DaemonEvent, DaemonEvents,
    ExitReason, InitError, Network, Protocol, ReplyTo, Server, ServerOptions, Term, TestCa, Tls,
    Transport as _, Universe,
    network::Link,
    time,
    wire::{
        decoder::Decoder,
        etf::{self, Limits},
        identity::{Identifier, Version},
        packet::{self, Kind},
    },
};
use serde::{Deserialize, Serialize};
use smol::{
    future,
    io::{AsyncReadExt as _, AsyncWriteExt as _},
};

/// The largest payload in either direction.
const MAX_PAYLOAD: usize = 4096;
const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Parrot;

impl Protocol for Parrot {
    const IDENTIFIER: &'static str = "parrot";
    const VERSION: &'static str = "1.2.3";
    const ACCEPTS: &'static str = "~> 1.2";
    type Call = Term;
    type Reply = Term;
    type Cast = Cast;
    type Push = Term;
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cast {
    Note(u8),
    Push(Term),
}

pub(crate) struct ParrotServer;

impl Server for ParrotServer {
    type Protocol = Parrot;
    type Seed = ();
    type Info = ();

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match call.as_atom() {
            Some("forget") => drop(from),
            Some("refuse") => from.refuse("no"),
            Some("later") => {
                let later = async move {
                    time::sleep(SECOND).await;
                    from.reply(call);
                };
                erps::spawn(later).detach();
            }
            Some("stop") => {
                from.reply(call);
                cx.stop(ExitReason::Normal);
            }
            _ => from.reply(call),
        }
        Ok(())
    }

    async fn handle_cast(&mut self, cast: Cast, cx: &mut Context<Self>) -> Result<(), BoxError> {
        match cast {
            Cast::Push(term) => cx.push(term).await?,
            Cast::Note(_) => {}
        }
        Ok(())
    }
}

/// The TLS settings of the daemon and of its peers.
pub(crate) static TLS: LazyLock<(Tls, Tls)> = LazyLock::new(|| {
    let ca = TestCa::new();
    (ca.tls(&["localhost"]), ca.tls(&["peer"]))
});

pub(crate) fn run(data: &[u8]) {
    let Some((&mode, script)) = data.split_first() else {
        return;
    };
    let tls = mode & 1 == 1;
    Universe::simulated(u64::from(mode)).run(async {
        let network = Network::current().expect("it is simulated");
        network.set_default_link(match mode >> 1 & 3 {
            0 => Link::new(),
            1 => Link::new().pieces(7),
            2 => Link::new().latency(SECOND / 10).bandwidth(10_000),
            _ => Link::new().window(64),
        });
        let options = ServerOptions::new().max_payload(MAX_PAYLOAD).term_depth(32);
        let options = match mode >> 3 & 3 {
            0 => options,
            1 => options.compressed(6),
            2 => options.max_in_flight(1).max_outgoing(100).mailbox(1),
            _ => options.safe(false),
        };
        let builder = Daemon::<ParrotServer>::builder(()).server_options(options);
        let daemon = match tls {
            true => builder.transport(TLS.0.clone()),
            false => builder,
        };
        let daemon = daemon.start_link().await.unwrap();
        let mut events = daemon.events();
        let address = daemon.local_addr();

        let stream: BoxedStream = Box::new(network.connect(address).await.unwrap());
        let stream = match tls {
            true => TLS.1.connect(stream, "localhost").await.unwrap().stream,
            false => stream,
        };
        talk(stream, script, mode >> 3 & 3 == 3).await;

        assert_closed_without_panic(&mut events).await;
        let info = daemon.info();
        assert_eq!(
            (info.accepted, info.connections, info.handshakes),
            (1, 0, 0)
        );
        assert_eq!(info.servers, 0);
        if !tls {
            is_served(address).await;
        }
    });
}

/// Calls without an answer yet, and how many packets may be answered.
struct Talk {
    asked: Vec<(Term, Term)>,
    packets: usize,
}

async fn talk(stream: BoxedStream, script: &[u8], unsafe_terms: bool) {
    let (mut reader, mut writer) = smol::io::split(stream);
    let write = async {
        let mut written = Vec::new();
        let mut script = Script(script);
        while let Some(step) = script.step() {
            match step {
                Step::Bytes(bytes) => {
                    written.extend_from_slice(&bytes);
                    if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                        break;
                    }
                }
                Step::Wait(duration) => time::sleep(duration).await,
                Step::Close => break,
                Step::Vanish => return Err(Vanished),
            }
        }
        let _ = writer.close().await;
        Ok(written)
    };
    let read = async {
        let mut answers = Vec::new();
        let mut decoder = Decoder::new(2 * MAX_PAYLOAD);
        loop {
            match reader.read(decoder.spare(1024)).await {
                Ok(0) | Err(_) => return Ok(answers),
                Ok(count) => decoder.filled(count),
            }
            while let Some(packet) = decoder.next_packet().expect("a daemon sends packets") {
                assert!(!packet.header.authenticated);
                let limits = Limits::default().safe(!unsafe_terms);
                let term = etf::check(packet.payload, &limits).expect("its packets hold terms");
                answers.push((packet.header.kind, term.decode::<Term>().unwrap()));
            }
        }
    };
    if let Ok((written, answers)) = future::try_zip(write, read).await {
        Talk::of(&written, unsafe_terms).explains(answers);
    }
}

/// The peer reads nothing more after a reset.
struct Vanished;

impl Talk {
    fn of(written: &[u8], unsafe_terms: bool) -> Self {
        let mut decoder = Decoder::new(MAX_PAYLOAD);
        decoder.extend(written);
        let (mut asked, mut packets) = (Vec::new(), 0);
        while let Ok(Some(packet)) = decoder.next_packet() {
            packets += 1;
            let limits = Limits::default().inflated(MAX_PAYLOAD).safe(!unsafe_terms);
            let Ok(checked) = etf::check(packet.payload, &limits) else {
                continue;
            };
            let Some((reference, request)) = checked.pair() else {
                continue;
            };
            if let (Kind::Call, Ok(reference), Ok(request)) =
                (packet.header.kind, reference.decode(), request.decode())
            {
                asked.push((request, reference));
            }
        }
        Self { asked, packets }
    }

    /// Asserts that each reply belongs to a call, and that no call has two.
    fn explains(mut self, answers: Vec<(Kind, Term)>) {
        let mut left = self.packets + 1;
        for (kind, term) in answers {
            match kind {
                Kind::Push => {}
                Kind::Error | Kind::Reply => {
                    assert!(left > 0, "an answer to nothing: {term}");
                    left -= 1;
                }
                other => panic!("a daemon sends no {other:?}"),
            }
            if kind == Kind::Reply {
                let Some([reply, reference]) = term.as_tuple() else {
                    panic!("no reply: {term}");
                };
                let at = self
                    .asked
                    .iter()
                    .position(|it| it.0 == *reply && it.1 == *reference);
                self.asked
                    .swap_remove(at.unwrap_or_else(|| panic!("a reply to no call: {term}")));
            }
        }
    }
}

enum Step {
    Bytes(Vec<u8>),
    Wait(Duration),
    /// The peer closes its sending half and reads the rest.
    Close,
    Vanish,
}

/// The rest of the bytes that describe what the peer does.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn step(&mut self) -> Option<Step> {
        let (&what, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(match what % 16 {
            0..=4 => Step::Bytes(self.packet(Kind::Call, |script| {
                let mut payload = vec![131, 104, 2, 97, what >> 4];
                payload.extend_from_slice(script.some());
                payload
            })),
            5 | 6 => Step::Bytes(self.packet(Kind::Cast, |script| {
                let mut payload = vec![131];
                payload.extend_from_slice(script.some());
                payload
            })),
            7 => {
                let kinds = [Kind::Call, Kind::Cast, Kind::Reply, Kind::Push, Kind::Error];
                let kind = kinds[usize::from(what >> 4) % kinds.len()];
                Step::Bytes(self.packet(kind, |script| script.some().to_vec()))
            }
            8 => Step::Bytes(packet::KEEPALIVE.to_vec()),
            9..=11 => Step::Bytes(self.some().to_vec()),
            12 => Step::Wait(SECOND / 100 * (1 << (what >> 4))),
            13 => Step::Close,
            14 => Step::Vanish,
            _ => Step::Bytes(std::mem::take(&mut self.0).to_vec()),
        })
    }

    fn packet(&mut self, kind: Kind, payload: impl FnOnce(&mut Self) -> Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        let name = Identifier::new(Parrot::IDENTIFIER).unwrap();
        let begun = packet::begin(&mut out, kind, Version::new(1, 2, 3), &name);
        out.extend(payload(self));
        begun.finish(&mut out, usize::MAX).unwrap();
        out
    }

    /// Takes as many bytes as the next byte says.
    fn some(&mut self) -> &[u8] {
        let Some((&count, rest)) = self.0.split_first() else {
            return &[];
        };
        let (some, rest) = rest.split_at(usize::from(count).min(rest.len()));
        self.0 = rest;
        some
    }
}

/// Waits for the connection's `Closed` event and asserts that nothing panicked.
pub(crate) async fn assert_closed_without_panic(events: &mut DaemonEvents) {
    loop {
        match events.next().await.expect("the daemon is there") {
            DaemonEvent::Closed { reason, .. } => {
                let panicked = match &reason {
                    CloseReason::Server(reason) => matches!(reason, ExitReason::Panic { .. }),
                    CloseReason::Handshake(failure) => {
                        matches!(failure, erps::HandshakeFailure::Panicked(_))
                    }
                    CloseReason::NotStarted(_) => true,
                    _ => false,
                };
                assert!(!panicked, "{reason}");
                return;
            }
            DaemonEvent::Lagged { events } => panic!("{events} events were missed"),
            _ => {}
        }
    }
}

/// Asserts that other clients are served.
async fn is_served(address: SocketAddr) {
    assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
    let client = Client::<Parrot>::builder(address).connect().await.unwrap();
    let request = Term::from("hello");
    assert_eq!(client.call(request.clone()).await.unwrap(), request);
}
