//! The time a task keeps an executor busy is bounded: large messages and many packets do not starve other
//! tasks.
//!
//! Measured in polls and packets, never in time.

use std::{
    collections::BTreeSet,
    io::Write as _,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use erps::{
    BoxError, CallError, CastError, Client, ClientBuilder, Context, Daemon, ExitReason, InitError,
    Linked, Network, Protocol, PushError, ReplyTo, Server, ServerOptions, Status, Term,
    wire::{etf, packet::Kind},
};
use flate2::{Compression, write::ZlibEncoder};
use futures::future::{join, join5};
use serde::{Deserialize, Serialize, Serializer};
use serde_bytes::ByteBuf;

use crate::support::{
    raw::{self, Raw},
    test_server::{REPLY_TIMEOUT, ThreadExecutor, run},
};

/// More than is encoded or decoded within one poll.
const LARGE: usize = 100 * 1024;

// ---- a message whose encoding or decoding waits ----

/// The gates that were reached, and the gates that were opened.
static GATES: Mutex<(BTreeSet<u64>, BTreeSet<u64>)> =
    Mutex::new((BTreeSet::new(), BTreeSet::new()));
static CHANGED: Condvar = Condvar::new();

fn gate() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// Blocks its thread until the gate is opened. On the executor's only thread, the gate would never be opened.
fn pass(gate: u64) {
    if gate == 0 {
        return;
    }
    let mut gates = GATES.lock().unwrap();
    gates.0.insert(gate);
    CHANGED.notify_all();
    let limit = Duration::from_secs(20);
    let closed = |gates: &mut (_, BTreeSet<u64>)| !gates.1.contains(&gate);
    let (gates, limit) = CHANGED.wait_timeout_while(gates, limit, closed).unwrap();
    drop(gates);
    assert!(!limit.timed_out(), "the executor is blocked");
}

/// Opens the gate from a task of the executor, once it has been reached.
fn open(own: &Arc<ThreadExecutor>, gate: u64) -> impl Future<Output = ()> + use<> {
    let own = Arc::clone(own);
    smol::unblock(move || open_from(&own, gate))
}

fn open_from(own: &ThreadExecutor, gate: u64) {
    let gates = GATES.lock().unwrap();
    let limit = Duration::from_secs(20);
    let unreached = |gates: &mut (BTreeSet<u64>, _)| !gates.0.contains(&gate);
    let (gates, limit) = CHANGED.wait_timeout_while(gates, limit, unreached).unwrap();
    drop(gates);
    assert!(!limit.timed_out(), "the gate was never reached");
    smol::block_on(own.executor.spawn(async move {
        GATES.lock().unwrap().1.insert(gate);
        CHANGED.notify_all();
    }));
}

/// The body comes first: an encoding that is stopped at the size limit does not reach the gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Parcel {
    body: ByteBuf,
    #[serde(serialize_with = "encode_gate")]
    encode: u64,
    #[serde(deserialize_with = "decode_gate")]
    decode: u64,
}

fn encode_gate<S: Serializer>(gate: &u64, to: S) -> Result<S::Ok, S::Error> {
    pass(*gate);
    to.serialize_u64(0)
}

fn decode_gate<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let gate = u64::deserialize(from)?;
    pass(gate);
    Ok(gate)
}

impl Parcel {
    fn large() -> Self {
        Self {
            body: ByteBuf::from(vec![7; LARGE]),
            encode: 0,
            decode: 0,
        }
    }

    fn encode_at(gate: u64) -> Self {
        Self {
            encode: gate,
            ..Self::large()
        }
    }

    fn decode_at(gate: u64) -> Self {
        Self {
            decode: gate,
            ..Self::large()
        }
    }
}

// ---- a server of such messages ----

struct Post;

impl Protocol for Post {
    const IDENTIFIER: &'static str = "test";
    const VERSION: &'static str = "1.2.3";
    type Call = Ask;
    type Reply = Answer;
    type Cast = Ask;
    type Push = Parcel;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Ask {
    Take(Parcel),
    /// Answered with a large parcel that waits while it is encoded or decoded.
    Give {
        encode: u64,
        decode: u64,
    },
    /// The same as a push.
    Push {
        encode: u64,
        decode: u64,
    },
    /// Answered with which of the messages so far were large.
    Seen,
    Small,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Answer {
    Done,
    Parcel(Parcel),
    Seen(Vec<bool>),
}

struct PostServer {
    seen: Vec<bool>,
    ended: async_channel::Sender<ExitReason>,
}

fn parcel(encode: u64, decode: u64) -> Parcel {
    Parcel {
        encode,
        decode,
        ..Parcel::large()
    }
}

impl Server for PostServer {
    type Protocol = Post;
    type Seed = async_channel::Sender<ExitReason>;
    type Info = ();

    async fn init(ended: Self::Seed, _: &mut Context<Self>) -> Result<Self, InitError> {
        let seen = Vec::new();
        Ok(Self { seen, ended })
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<Answer>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match ask {
            Ask::Seen => from.reply(Answer::Seen(self.seen.clone())),
            Ask::Give { encode, decode } => from.reply(Answer::Parcel(parcel(encode, decode))),
            ask => {
                self.seen.push(matches!(ask, Ask::Take(_)));
                from.reply(Answer::Done);
            }
        }
        Ok(())
    }

    async fn handle_cast(&mut self, ask: Ask, cx: &mut Context<Self>) -> Result<(), BoxError> {
        if let Ask::Push { encode, decode } = ask {
            cx.push(parcel(encode, decode)).await?;
        } else {
            self.seen.push(matches!(ask, Ask::Take(_)));
        }
        Ok(())
    }

    async fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        let _ = self.ended.try_send(reason.clone());
    }
}

/// A daemon on a thread of its own.
struct DaemonThread {
    own: Arc<ThreadExecutor>,
    daemon: Linked<Daemon<PostServer>>,
    ended: async_channel::Receiver<ExitReason>,
}

async fn daemon_thread(options: ServerOptions) -> DaemonThread {
    let own = Arc::new(ThreadExecutor::new());
    let (end, ended) = async_channel::unbounded();
    let daemon = Daemon::<PostServer>::builder(end)
        .server_options(options)
        .executor(Arc::clone(&own.executor))
        .start_link()
        .await
        .unwrap();
    DaemonThread { own, daemon, ended }
}

impl DaemonThread {
    fn client(&self) -> ClientBuilder<Post> {
        Client::builder(self.daemon.local_addr()).reply_timeout(REPLY_TIMEOUT)
    }
}

/// A client on a thread of its own.
async fn client(daemon_thread: &DaemonThread) -> (Arc<ThreadExecutor>, Client<Post>) {
    let own = Arc::new(ThreadExecutor::new());
    let client = daemon_thread.client().executor(Arc::clone(&own.executor));
    (own, client.connect().await.unwrap())
}

// ---- large messages are encoded and decoded on other threads ----

#[test]
fn large_call_is_decoded_without_blocking_the_servers_executor() {
    run(async {
        let daemon_thread = daemon_thread(ServerOptions::new()).await;
        let client = daemon_thread.client().connect().await.unwrap();
        let gate = gate();
        let call = client.call(Ask::Take(Parcel::decode_at(gate)));
        let open = open(&daemon_thread.own, gate);
        let (outcome, ()) = join(call, open).await;
        assert_eq!(outcome.unwrap(), Answer::Done);
    });
}

#[test]
fn large_reply_is_encoded_without_blocking_the_servers_executor() {
    run(async {
        let daemon_thread = daemon_thread(ServerOptions::new()).await;
        let client = daemon_thread.client().connect().await.unwrap();
        let gate = gate();
        let (encode, decode) = (gate, 0);
        let call = client.call(Ask::Give { encode, decode });
        let open = open(&daemon_thread.own, gate);
        let (outcome, ()) = join(call, open).await;
        assert!(matches!(outcome, Ok(Answer::Parcel(_))), "{outcome:?}");
    });
}

#[test]
fn large_push_is_encoded_without_blocking_the_servers_executor() {
    run(async {
        let daemon_thread = daemon_thread(ServerOptions::new()).await;
        let client = daemon_thread.client().connect().await.unwrap();
        let mut pushes = client.pushes();
        let gate = gate();
        let (encode, decode) = (gate, 0);
        client.cast(Ask::Push { encode, decode }).await.unwrap();
        let open = open(&daemon_thread.own, gate);
        let (push, ()) = join(pushes.next(), open).await;
        assert_eq!(push, Some(Parcel::large()));
    });
}

#[test]
fn large_call_and_cast_are_encoded_without_blocking_the_callers_executor() {
    run(async {
        let daemon_thread = daemon_thread(ServerOptions::new()).await;
        let (own, client) = client(&daemon_thread).await;
        for is_cast in [false, true] {
            let gate = gate();
            let parcel = Ask::Take(Parcel::encode_at(gate));
            let client = client.clone();
            // Sent by a task of the executor that must not be blocked.
            let send = own.executor.spawn(async move {
                match is_cast {
                    true => client.cast(parcel).await.unwrap(),
                    false => drop(client.call(parcel).await.unwrap()),
                }
            });
            let open = open(&own, gate);
            join(send, open).await;
        }
    });
}

#[test]
fn large_reply_and_push_are_decoded_without_blocking_the_clients_executor() {
    run(async {
        let daemon_thread = daemon_thread(ServerOptions::new()).await;
        let (own, client) = client(&daemon_thread).await;
        let mut pushes = client.pushes();
        for is_push in [false, true] {
            let (encode, decode) = (0, gate());
            let receive = async {
                if is_push {
                    client.cast(Ask::Push { encode, decode }).await.unwrap();
                    assert!(pushes.next().await.is_some());
                } else {
                    client.call(Ask::Give { encode, decode }).await.unwrap();
                }
            };
            let open = open(&own, decode);
            join(receive, open).await;
        }
    });
}

// ---- the order and outcome of calls do not change ----

#[test]
fn calls_and_casts_keep_their_order_behind_a_large_message() {
    run(async {
        let daemon_thread = daemon_thread(ServerOptions::new()).await;
        let client = daemon_thread.client().connect().await.unwrap();
        let large = || Ask::Take(Parcel::large());
        let seen = client.call(Ask::Seen);
        let (a, b, c, d, seen) = join5(
            client.call(large()),
            client.call(Ask::Small),
            client.cast(large()),
            client.call(Ask::Small),
            seen,
        )
        .await;
        for answer in [a, b, d] {
            assert_eq!(answer.unwrap(), Answer::Done);
        }
        c.unwrap();
        let order = vec![true, false, true, false];
        assert_eq!(seen.unwrap(), Answer::Seen(order));
    });
}

#[test]
fn large_reply_is_not_overtaken() {
    run(async {
        let daemon_thread = daemon_thread(ServerOptions::new().compressed(1)).await;
        let mut peer = Raw::connect(daemon_thread.daemon.local_addr()).await;
        let (encode, decode) = (0, 0);
        let mut bytes = raw::bytes(Kind::Call, &(1, Ask::Give { encode, decode }));
        bytes.extend(raw::bytes(Kind::Call, &(2, Ask::Small)));
        bytes.extend(raw::bytes(Kind::Cast, &Ask::Push { encode, decode }));
        bytes.extend(raw::bytes(Kind::Call, &(3, Ask::Small)));
        peer.send(&bytes).await;
        let mut order = Vec::new();
        for _ in 0..4 {
            let (header, term) = peer.next().await.expect("a packet");
            let reference = term.as_tuple().map(|pair| pair[1].to_string());
            order.push((header.kind, reference));
        }
        let reply = |reference: &str| (Kind::Reply, Some(reference.to_owned()));
        let expected = [reply("1"), reply("2"), (Kind::Push, None), reply("3")];
        assert_eq!(order, expected);
    });
}

#[test]
fn large_message_over_the_payload_limit_fails_at_its_sender() {
    run(async {
        let limit = 64 * 1024;
        let daemon_thread = daemon_thread(ServerOptions::new().max_payload(limit)).await;
        let small = daemon_thread
            .client()
            .max_payload(limit)
            .connect()
            .await
            .unwrap();
        let (encode, decode) = (0, 0);

        let call = small.call(Ask::Take(Parcel::large())).await;
        assert!(matches!(call, Err(CallError::Unsendable(_))), "{call:?}");
        let cast = small.cast(Ask::Take(Parcel::large())).await;
        assert!(matches!(cast, Err(CastError::Unsendable(_))), "{cast:?}");
        let reply = small.call(Ask::Give { encode, decode }).await;
        let Err(CallError::Remote(why)) = reply else {
            panic!("{reply:?}");
        };
        assert!(why.contains("over the limit of 65536 bytes"), "{why}");

        let push = small.cast(Ask::Push { encode, decode }).await;
        push.unwrap();
        let ended = daemon_thread.ended.recv().await.unwrap();
        let ExitReason::Error(error) = ended else {
            panic!("{ended:?}");
        };
        let error = error.downcast_ref::<PushError>();
        assert!(matches!(error, Some(PushError::Unsendable(_))), "{error:?}");
    });
}

#[test]
fn panic_while_decoding_a_large_call_stops_only_its_server() {
    /// Panics when it is decoded.
    #[derive(Debug, Serialize)]
    struct PanicsOnDecode(#[serde(with = "serde_bytes")] Vec<u8>);

    impl<'de> Deserialize<'de> for PanicsOnDecode {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("as the test asks")
        }
    }

    struct PanicsOnDecodeProtocol;

    impl Protocol for PanicsOnDecodeProtocol {
        type Call = Option<PanicsOnDecode>;
        type Reply = ();
        type Cast = ();
        type Push = ();
    }

    struct ReportingServer(async_channel::Sender<ExitReason>);

    impl Server for ReportingServer {
        type Protocol = PanicsOnDecodeProtocol;
        type Seed = async_channel::Sender<ExitReason>;
        type Info = ();

        async fn init(ended: Self::Seed, _: &mut Context<Self>) -> Result<Self, InitError> {
            Ok(Self(ended))
        }

        async fn handle_call(
            &mut self,
            _: Option<PanicsOnDecode>,
            from: ReplyTo<()>,
            _: &mut Context<Self>,
        ) -> Result<(), BoxError> {
            from.reply(());
            Ok(())
        }

        async fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
            let _ = self.0.try_send(reason.clone());
        }
    }

    run(async {
        let (end, ended) = async_channel::unbounded();
        let daemon = Daemon::<ReportingServer>::builder(end)
            .start_link()
            .await
            .unwrap();
        let client = || {
            Client::<PanicsOnDecodeProtocol>::builder(daemon.local_addr())
                .reply_timeout(REPLY_TIMEOUT)
        };
        let good = client().connect().await.unwrap();
        let bad = client().connect().await.unwrap();
        let call = bad.call(Some(PanicsOnDecode(vec![7; LARGE]))).await;
        assert!(matches!(call, Err(CallError::Unanswered)), "{call:?}");
        let reason = ended.recv().await.unwrap();
        assert!(reason.to_string().contains("as the test asks"), "{reason}");
        good.call(None).await.unwrap();
    });
}

#[test]
fn large_cast_dropped_while_encoding_is_not_sent() {
    run(async {
        let daemon_thread = daemon_thread(ServerOptions::new()).await;
        let (own, client) = client(&daemon_thread).await;
        let gate = gate();
        let mut cast = Box::pin(client.cast(Ask::Take(Parcel::encode_at(gate))));
        let is_pending = smol::future::poll_once(cast.as_mut()).await.is_none();
        assert!(is_pending, "the cast waits for its encoding");
        drop(cast);
        // The encoding may have reached its gate.
        GATES.lock().unwrap().1.insert(gate);
        let seen = client.call(Ask::Seen).await.unwrap();
        assert_eq!(seen, Answer::Seen(Vec::new()));
        drop(own);
    });
}

// ---- a poll is bounded by work ----

/// Counts how often its task was polled.
struct PollCounter(Arc<AtomicU64>);

impl PollCounter {
    fn on(own: &ThreadExecutor) -> Self {
        let polls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&polls);
        let count = async move {
            loop {
                counted.fetch_add(1, Relaxed);
                smol::future::yield_now().await;
            }
        };
        own.executor.spawn(count).detach();
        Self(polls)
    }
}

struct Bytes;

impl Protocol for Bytes {
    const IDENTIFIER: &'static str = "test";
    const VERSION: &'static str = "1.2.3";
    type Call = ();
    type Reply = Vec<u64>;
    type Cast = ByteBuf;
    type Push = ();
}

/// Records for each cast how often the counting task had been polled.
struct Notes(Arc<AtomicU64>, Vec<u64>);

impl Server for Notes {
    type Protocol = Bytes;
    type Seed = Arc<AtomicU64>;
    type Info = ();

    async fn init(polls: Self::Seed, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(polls, Vec::new()))
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<Vec<u64>>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(self.1.clone());
        Ok(())
    }

    async fn handle_cast(&mut self, _: ByteBuf, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.1.push(self.0.load(Relaxed));
        Ok(())
    }
}

/// Returns how often, at least, another task of the executor was polled while these casts were handled.
async fn polls_beside(casts: usize, payload: &[u8]) -> usize {
    let own = ThreadExecutor::new();
    let PollCounter(polls) = PollCounter::on(&own);
    let daemon = Daemon::<Notes>::builder(polls)
        .executor(Arc::clone(&own.executor))
        .start_link()
        .await
        .unwrap();
    let mut peer = Raw::connect(daemon.local_addr()).await;
    let packet = raw::raw_bytes("test", "1.2.3", Kind::Cast, payload);
    let mut bytes = packet.repeat(casts);
    bytes.extend(raw::bytes(Kind::Call, &(1, ())));
    peer.send(&bytes).await;
    let (_, reply) = peer.next().await.expect("a reply");
    let pair = reply.as_tuple().expect("a pair");
    let notes = pair[0].as_list().expect("a list");
    assert_eq!(notes.len(), casts);
    let distinct: BTreeSet<_> = notes.iter().map(ToString::to_string).collect();
    distinct.len()
}

#[test]
fn packets_that_inflate_to_a_full_batch_are_handled_in_separate_polls() {
    run(async {
        let plain = etf::to_vec(&ByteBuf::from(vec![0; 65_000])).unwrap();
        let packed = etf::compress(plain, 9).unwrap();
        assert!(packed.len() < 500, "{}", packed.len());
        let polls = polls_beside(60, &packed).await;
        assert!(polls >= 25, "{polls} polls for 60 packets");
    });
}

#[test]
fn small_packets_are_handled_in_one_poll() {
    run(async {
        let small = etf::to_vec(&ByteBuf::from(vec![0; 10])).unwrap();
        let polls = polls_beside(1000, &small).await;
        assert!((2..=100).contains(&polls), "{polls} polls for 1000 packets");
    });
}

// ---- a call with a readable reference is answered ----

struct Untyped;

impl Protocol for Untyped {
    const IDENTIFIER: &'static str = "test";
    const VERSION: &'static str = "1.2.3";
    type Call = Term;
    type Reply = Term;
    type Cast = ();
    type Push = ();
}

struct Mirror;

impl Server for Mirror {
    type Protocol = Untyped;
    type Seed = ();
    type Info = ();

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(call);
        Ok(())
    }
}

/// A list nested in lists.
fn deep(levels: usize) -> Vec<u8> {
    let mut term = [108, 0, 0, 0, 1].repeat(levels);
    term.push(106);
    term.extend(vec![106; levels]);
    term
}

fn list(count: u32, element: &[u8]) -> Vec<u8> {
    let mut term = vec![108];
    term.extend(count.to_be_bytes());
    term.extend(element.repeat(count as usize));
    term.push(106);
    term
}

/// Terms that each exceed another limit, and a word of the error.
fn over_limits() -> [(&'static str, Vec<u8>); 4] {
    let map = [116, 0, 0, 0, 1, 106, 106];
    [
        ("deeper", deep(600)),
        ("elements", list(3_000_000, &[106])),
        ("memory", list(100_000, &map)),
        ("truncated", vec![109, 0, 0, 1, 0, 7]),
    ]
}

#[erps::test(simulated)]
async fn call_over_a_term_limit_receives_an_error_with_its_reference() {
    let daemon = Daemon::<Mirror>::builder(()).start_link().await.unwrap();
    let mut peer = Raw::dial(daemon.local_addr()).await;
    for (word, term) in over_limits() {
        let payload = [&[131, 104, 2, 97, 77], &term[..]].concat();
        peer.send(&raw::raw_bytes("test", "1.2.3", Kind::Call, &payload))
            .await;
        let (kind, text) = peer.text().await.expect("an answer");
        assert_eq!(kind, Kind::Error);
        assert!(text.ends_with(", 77}"), "{text}");
        assert!(text.contains(word), "{word}: {text}");
    }
    peer.send(&raw::call(78, ":still_there")).await;
    let answer = (Kind::Reply, "{:still_there, 78}".to_owned());
    assert_eq!(peer.text().await, Some(answer));
}

#[erps::test(simulated)]
async fn compressed_call_over_the_ratio_receives_an_error_with_its_reference() {
    let daemon = Daemon::<Mirror>::builder(()).start_link().await.unwrap();
    let mut peer = Raw::dial(daemon.local_addr()).await;
    let term = (77, ByteBuf::from(vec![0; 15 << 20]));
    let plain = etf::to_vec(&term).unwrap();
    // This library's encoder does not send terms over the ratio.
    assert_eq!(etf::compress(plain.clone(), 9).unwrap(), plain);
    let mut packed = vec![131, 80];
    packed.extend((plain.len() as u32 - 1).to_be_bytes());
    let mut encoder = ZlibEncoder::new(packed, Compression::best());
    encoder.write_all(&plain[1..]).unwrap();
    let payload = encoder.finish().unwrap();
    peer.send(&raw::raw_bytes("test", "1.2.3", Kind::Call, &payload))
        .await;
    let (kind, text) = peer.text().await.expect("an answer");
    assert_eq!(kind, Kind::Error);
    assert!(text.ends_with(", 77}") && text.contains("times"), "{text}");
}

#[erps::test(simulated)]
async fn reply_over_a_term_limit_fails_its_call_with_undecodable() {
    let network = Network::current().expect("a simulated universe");
    let listener = network.listen(([127, 0, 0, 1], 0).into()).unwrap();
    let client = Client::<Untyped>::builder(listener.local_addr()).start();
    let mut server = Raw::accept(&listener).await;
    client.until(Status::is_connected).await;
    for (reference, (word, term)) in (1..).zip(over_limits()) {
        if word == "truncated" {
            // The end of such a reply is unknown, and its reference comes last.
            continue;
        }
        let answer = async {
            server.next().await.expect("a call");
            let payload = [&[131, 104, 2], &term[..], &[97, reference]].concat();
            let reply = raw::raw_bytes("", "0.0.0", Kind::Reply, &payload);
            server.send(&reply).await;
        };
        let (outcome, ()) = join(client.call(Term::atom("ping")), answer).await;
        let Err(CallError::Undecodable(why)) = outcome else {
            panic!("{word}: {outcome:?}");
        };
        assert!(why.contains(word), "{word}: {why}");
    }
}
