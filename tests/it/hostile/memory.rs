//! Memory that peers cost which queue replies and pushes and do not read.

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
/// The window of the simulated connection, in each direction.
const WINDOW: usize = 8 * KB;
/// The limits of the daemon.
const OUTGOING: usize = 32 * KB;
const UNSENT: usize = 256 * KB;
const PAYLOAD: usize = 100 * KB;
/// The default limit for a decoded term.
const TERM: usize = 32 * 1024 * KB;
/// More than the size of a packet header, the term around a reply, and its reference.
const HEAD: usize = 150;

struct Hoard;

impl Protocol for Hoard {
    const IDENTIFIER: &'static str = "test";
    const VERSION: &'static str = "1.2.3";
    type Call = Ask;
    type Reply = ByteBuf;
    type Cast = ();
    type Push = ByteBuf;
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    /// Answered by the next [`Give`].
    Later,
    /// Answered with this many bytes.
    Now(usize),
}

/// What all waiting callers receive, and its size in bytes.
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

struct Fixture {
    daemon: Linked<Daemon<Hoarder>>,
    peer: Raw<Stream>,
    server: ServerRef<Hoarder>,
}

impl Fixture {
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

    /// Returns the next answer, as the size of a reply or the text of an error, and the reference of its
    /// call.
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
async fn unread_replies_are_bounded_in_bytes_and_every_call_is_answered() {
    const CALLS: u64 = 60;
    const SIZE: usize = 16 * KB;
    let mut fixture = Fixture::new(|it| it).await;
    for n in 0..CALLS {
        fixture.peer.send(&raw::call(n, ":later")).await;
    }
    settled().await;
    fixture.server.info(Give::Reply(SIZE)).await.unwrap();
    settled().await;
    let unsent = fixture.unsent();
    // Calls without a reply receive an error of a few hundred bytes each.
    let refusals = 400 * CALLS as usize;
    assert!(unsent > UNSENT / 2, "{unsent}");
    assert!(unsent <= UNSENT + refusals, "{unsent}");
    assert!(unsent as u64 <= fixture.daemon.info().worst_case_memory);
    // When the peer reads again, no queued reply is lost and every call has an answer.
    let mut replies = 0;
    for n in 0..CALLS {
        match fixture.answer().await {
            (Ok(bytes), reference) => {
                assert_eq!((bytes, reference), (SIZE, n));
                replies += 1;
            }
            (Err(why), reference) => {
                assert_eq!(reference, n);
                assert!(why.contains("the send queue is full"), "{why}");
            }
        }
    }
    assert!((replies + 1) * (SIZE + HEAD) > UNSENT, "{replies}");
    assert!(replies * SIZE < UNSENT, "{replies}");
    // The connection is served as before.
    fixture.peer.send(&raw::call(99, "{:now, 5}")).await;
    assert_eq!(fixture.answer().await, (Ok(5), 99));
}

#[erps::test(simulated)]
async fn reply_over_the_queue_limits_is_sent_when_the_queue_is_empty() {
    let mut fixture = Fixture::new(|it| it.max_outgoing(1).max_unsent(1)).await;
    for n in 0..3 {
        let size = PAYLOAD - HEAD;
        fixture
            .peer
            .send(&raw::call(n, &format!("{{:now, {size}}}")))
            .await;
        assert_eq!(fixture.answer().await, (Ok(size), n));
        fixture.peer.send(&raw::call(n, ":later")).await;
        settled().await;
        fixture.server.info(Give::Reply(size)).await.unwrap();
        assert_eq!(fixture.answer().await, (Ok(size), n));
    }
}

#[erps::test(simulated)]
async fn error_messages_count_against_the_queue_limit_like_replies() {
    const CALLS: u64 = 60;
    const SIZE: usize = 16 * KB;
    let mut fixture = Fixture::new(|it| it).await;
    for n in 0..CALLS {
        fixture.peer.send(&raw::call(n, ":later")).await;
    }
    settled().await;
    fixture.server.info(Give::Refusal(SIZE)).await.unwrap();
    settled().await;
    let unsent = fixture.unsent();
    assert!(unsent <= UNSENT + 400 * CALLS as usize, "{unsent}");
    let mut long = 0;
    for n in 0..CALLS {
        let (outcome, reference) = fixture.answer().await;
        assert_eq!(reference, n);
        long += usize::from(outcome.unwrap_err().len() == SIZE);
    }
    assert!(long * SIZE < UNSENT && long > 5, "{long}");
}

/// Sends many pushes concurrently and returns their outcomes.
async fn pushed(server: &ServerRef<Hoarder>, count: usize) -> Vec<Result<(), PushError>> {
    let push = |_| server.push(ByteBuf::from(vec![7; 16 * KB]));
    futures::future::join_all((0..count).map(push)).await
}

#[erps::test(simulated)]
async fn concurrent_pushes_wait_for_queue_space_and_are_bounded_in_bytes() {
    const PUSHES: usize = 100;
    let Fixture {
        daemon,
        mut peer,
        server,
    } = Fixture::new(|it| it).await;
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
async fn push_over_the_payload_limit_releases_its_queue_space() {
    let Fixture {
        daemon: _daemon,
        mut peer,
        server,
    } = Fixture::new(|it| it.max_outgoing(1)).await;
    let push = |bytes: usize| server.push(ByteBuf::from(vec![7; bytes]));
    // The connection and the queue are full before the first waiting push, which is over the limit.
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
    let ((too_large, small), ()) = both.expect("a push waits forever");
    assert!(matches!(too_large, Err(PushError::Unsendable(_))));
    small.unwrap();
}

#[erps::test(simulated)]
async fn waiting_pushes_fail_with_disconnected_at_the_write_timeout() {
    let fixture = Fixture::new(|it| it.write_timeout(secs(30))).await;
    let outcomes = time::timeout(secs(31), pushed(&fixture.server, 20)).await;
    let outcomes = outcomes.expect("a push waits forever");
    let told = outcomes
        .iter()
        .filter(|it| matches!(it, Err(PushError::Disconnected)));
    assert!(told.count() > 10, "{outcomes:?}");
    assert_eq!(fixture.daemon.info().connections, 0);
}

#[erps::test(simulated)]
async fn worst_case_memory_follows_from_the_limits_of_a_connection() {
    let fixture = Fixture::new(|it| it.max_in_flight(100)).await;
    let worst = usize::try_from(fixture.daemon.info().worst_case_memory).unwrap();
    // One packet being written and one arriving, which may be compressed; the term decoded from it; and the
    // queue.
    let needed = UNSENT + 3 * PAYLOAD + TERM;
    assert!(worst > needed && worst < needed + 1024 * KB, "{worst}");
    // The default allows for a few packets, not for the replies to all calls in flight.
    let default = Daemon::<Hoarder>::builder(Shared::default()).max_connections(1);
    let default = default.start_link().await.unwrap();
    let worst = default.info().worst_case_memory;
    assert!(worst < 170 << 20, "{worst}");
}
