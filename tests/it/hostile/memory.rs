//! What peers cost that make a server hoard, and do not read.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
};

use erps::{
    BoxError, Context, Daemon, InitError, Linked, Network, Protocol, PushError, ReplyTo, Server,
    ServerOptions, ServerRef, network::Link, network::Stream, time, wire::packet::Kind,
};
use serde_bytes::ByteBuf;
use smol::future;

use crate::support::{
    raw::{self, Raw},
    time::{HOUR, secs, settled},
};

const KB: usize = 1024;
/// What fits into the line, one way.
const WINDOW: usize = 8 * KB;
/// The limits of the daemon.
const OUTGOING: usize = 32 * KB;
const UNSENT: usize = 256 * KB;
const PAYLOAD: usize = 100 * KB;
/// What a decoded term may take, by default.
const TERM: usize = 32 * 1024 * KB;
/// More than the head of a packet, the term around a reply, and its reference.
const HEAD: usize = 150;

struct Hoard;

impl Protocol for Hoard {
    const IDENTIFIER: &'static str = "lab";
    const VERSION: &'static str = "1.2.3";
    type Call = Ask;
    type Reply = ByteBuf;
    type Cast = ();
    type Push = ByteBuf;
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    /// Answered when the hoard is given away.
    Later,
    /// Answered with so many bytes.
    Now(usize),
}

/// What those have who wait, and how many bytes of it.
enum Give {
    Reply(usize),
    Refusal(usize),
}

struct Hoarder(Vec<ReplyTo<ByteBuf>>);

type Shared = Arc<Mutex<Option<ServerRef<Hoarder>>>>;

impl Server for Hoarder {
    type Protocol = Hoard;
    type Seed = Shared;
    type Info = Give;

    async fn init(seed: Shared, cx: &mut Context<Self>) -> Result<Self, InitError> {
        *seed.lock().unwrap() = Some(cx.this().clone());
        Ok(Self(Vec::new()))
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<ByteBuf>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match ask {
            Ask::Later => self.0.push(from),
            Ask::Now(bytes) => from.reply(ByteBuf::from(vec![7; bytes])),
        }
        Ok(())
    }

    async fn handle_info(&mut self, give: Give, _: &mut Context<Self>) -> Result<(), BoxError> {
        for from in self.0.drain(..) {
            match give {
                Give::Reply(bytes) => from.reply(ByteBuf::from(vec![7; bytes])),
                Give::Refusal(bytes) => from.refuse("x".repeat(bytes)),
            }
        }
        Ok(())
    }
}

struct House {
    daemon: Linked<Daemon<Hoarder>>,
    peer: Raw<Stream>,
    server: ServerRef<Hoarder>,
}

impl House {
    async fn new(change: impl FnOnce(ServerOptions) -> ServerOptions) -> Self {
        let network = Network::current().unwrap();
        network.set_default_link(Link::new().window(WINDOW));
        let options = ServerOptions::new()
            .max_outgoing(OUTGOING)
            .max_unsent(UNSENT)
            .max_payload(PAYLOAD)
            .write_timeout(HOUR);
        let seed = Shared::default();
        let daemon = Daemon::<Hoarder>::builder(seed.clone())
            .server_options(change(options))
            .max_connections(1)
            .start_link()
            .await
            .unwrap();
        let peer = Raw::dial(daemon.local_addr()).await;
        settled().await;
        let server = seed.lock().unwrap().take().unwrap();
        Self {
            daemon,
            peer,
            server,
        }
    }

    fn unsent(&self) -> usize {
        let [connection] = &self.daemon.connections()[..] else {
            panic!("{:?}", self.daemon.connections());
        };
        connection.bytes_unsent
    }

    /// The next answer: how many bytes of a reply, or why there is none; and to which call.
    async fn answer(&mut self) -> (Result<usize, String>, u64) {
        let (header, term) = self.peer.next().await.expect("an answer");
        let [answer, reference] = term.as_tuple().unwrap() else {
            panic!("{term}");
        };
        let reference = reference.to_string().parse().unwrap();
        let bytes = answer.as_binary().unwrap();
        match header.kind {
            Kind::Reply => (Ok(bytes.len()), reference),
            Kind::Error => (Err(String::from_utf8(bytes.to_vec()).unwrap()), reference),
            kind => panic!("{kind:?}"),
        }
    }
}

#[erps::test(simulated)]
async fn replies_to_a_peer_that_does_not_read_are_bounded_by_bytes_and_each_call_has_an_answer() {
    const CALLS: u64 = 60;
    const SIZE: usize = 16 * KB;
    let mut house = House::new(|it| it).await;
    for n in 0..CALLS {
        house.peer.send(&raw::call(n, ":later")).await;
    }
    settled().await;
    house.server.info(Give::Reply(SIZE)).await.unwrap();
    settled().await;
    let unsent = house.unsent();
    // Those who have none are told, at some hundred bytes each.
    let refusals = 400 * CALLS as usize;
    assert!(unsent > UNSENT / 2, "{unsent}");
    assert!(unsent <= UNSENT + refusals, "{unsent}");
    assert!(unsent as u64 <= house.daemon.info().worst_case_memory);
    // It reads after all: nothing that was taken is lost, and nobody is forgotten.
    let mut replies = 0;
    for n in 0..CALLS {
        match house.answer().await {
            (Ok(bytes), reference) => {
                assert_eq!((bytes, reference), (SIZE, n));
                replies += 1;
            }
            (Err(why), reference) => {
                assert_eq!(reference, n);
                assert!(why.contains("has not been read"), "{why}");
            }
        }
    }
    assert!((replies + 1) * (SIZE + HEAD) > UNSENT, "{replies}");
    assert!(replies * SIZE < UNSENT, "{replies}");
    // And it is served as before.
    house.peer.send(&raw::call(99, "{:now, 5}")).await;
    assert_eq!(house.answer().await, (Ok(5), 99));
}

#[erps::test(simulated)]
async fn a_reply_that_is_larger_than_all_limits_of_the_queue_goes_when_it_is_empty() {
    let mut house = House::new(|it| it.max_outgoing(1).max_unsent(1)).await;
    for n in 0..3 {
        let size = PAYLOAD - HEAD;
        house
            .peer
            .send(&raw::call(n, &format!("{{:now, {size}}}")))
            .await;
        assert_eq!(house.answer().await, (Ok(size), n));
        house.peer.send(&raw::call(n, ":later")).await;
        settled().await;
        house.server.info(Give::Reply(size)).await.unwrap();
        assert_eq!(house.answer().await, (Ok(size), n));
    }
}

#[erps::test(simulated)]
async fn a_long_refusal_has_no_more_room_than_a_reply() {
    const CALLS: u64 = 60;
    const SIZE: usize = 16 * KB;
    let mut house = House::new(|it| it).await;
    for n in 0..CALLS {
        house.peer.send(&raw::call(n, ":later")).await;
    }
    settled().await;
    house.server.info(Give::Refusal(SIZE)).await.unwrap();
    settled().await;
    let unsent = house.unsent();
    assert!(unsent <= UNSENT + 400 * CALLS as usize, "{unsent}");
    let mut long = 0;
    for n in 0..CALLS {
        let (outcome, reference) = house.answer().await;
        assert_eq!(reference, n);
        long += usize::from(outcome.unwrap_err().len() == SIZE);
    }
    assert!(long * SIZE < UNSENT && long > 5, "{long}");
}

/// Each of many pushes, at once.
async fn pushed(server: &ServerRef<Hoarder>, count: usize) -> Vec<Result<(), PushError>> {
    let push = |_| server.push(ByteBuf::from(vec![7; 16 * KB]));
    futures::future::join_all((0..count).map(push)).await
}

#[erps::test(simulated)]
async fn pushes_of_many_at_once_take_turns_and_are_bounded_by_bytes() {
    const PUSHES: usize = 100;
    let House {
        daemon,
        mut peer,
        server,
    } = House::new(|it| it).await;
    let mut all = pin!(pushed(&server, PUSHES));
    let unsent = || daemon.connections()[0].bytes_unsent;
    assert!(future::poll_once(&mut all).await.is_none());
    settled().await;
    assert!(future::poll_once(&mut all).await.is_none());
    assert!(unsent() < OUTGOING + 16 * KB + HEAD, "{}", unsent());
    let read = async {
        for _ in 0..PUSHES {
            let (header, _) = peer.next().await.expect("a push");
            assert_eq!(header.kind, Kind::Push);
            assert!(unsent() < OUTGOING + 16 * KB + HEAD, "{}", unsent());
        }
    };
    let (outcomes, ()) = future::zip(all, read).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[erps::test(simulated)]
async fn a_push_that_cannot_be_sent_does_not_keep_the_room_it_was_given() {
    let House {
        daemon: _daemon,
        mut peer,
        server,
    } = House::new(|it| it.max_outgoing(1)).await;
    let push = |bytes: usize| server.push(ByteBuf::from(vec![7; bytes]));
    // The line and the queue are full, before the first who waits is one who asks for too much.
    while server.try_push(&ByteBuf::from(vec![7; KB])).is_ok() {
        settled().await;
    }
    let mut waiting = pin!(futures::future::join(push(2 * PAYLOAD), push(5)));
    assert!(future::poll_once(&mut waiting).await.is_none());
    let read = async {
        loop {
            let (_, term) = peer.next().await.expect("a push");
            if term.as_binary().unwrap().len() == 5 {
                return;
            }
        }
    };
    let both = time::timeout(secs(60), future::zip(waiting, read)).await;
    let ((too_large, small), ()) = both.expect("nobody waits for ever");
    assert!(matches!(too_large, Err(PushError::Unsendable(_))));
    small.unwrap();
}

#[erps::test(simulated)]
async fn who_waits_to_push_is_told_when_the_peer_is_given_up() {
    let house = House::new(|it| it.write_timeout(secs(30))).await;
    let outcomes = time::timeout(secs(31), pushed(&house.server, 20)).await;
    let outcomes = outcomes.expect("nobody waits for ever");
    let told = outcomes
        .iter()
        .filter(|it| matches!(it, Err(PushError::Disconnected)));
    assert!(told.count() > 10, "{outcomes:?}");
    assert_eq!(house.daemon.info().connections, 0);
}

#[erps::test(simulated)]
async fn the_worst_case_is_within_reason_and_is_that_of_its_limits() {
    let house = House::new(|it| it.max_in_flight(100)).await;
    let worst = usize::try_from(house.daemon.info().worst_case_memory).unwrap();
    // One that is written and one that arrives, which may be compressed; what is decoded from it; and the queue.
    let needed = UNSENT + 3 * PAYLOAD + TERM;
    assert!(worst > needed && worst < needed + 1024 * KB, "{worst}");
    // By default it is that of some packets, and not of all replies to all calls in flight.
    let default = Daemon::<Hoarder>::builder(Shared::default()).max_connections(1);
    let default = default.start_link().await.unwrap();
    let worst = default.info().worst_case_memory;
    assert!(worst < 170 << 20, "{worst}");
}
