//! Groups of servers, and pushes to all members.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use erps::{
    BoxError, Client, Context, Daemon, ExitReason, Groups, InitError, Linked, Protocol, PushError,
    Pushes, ReplyTo, Server, ServerOptions, ServerRef, Universe, WhenFull, time,
};
use serde::{Deserialize, Serialize, Serializer};

use crate::support::{
    test_server::run,
    time::{HOUR, at_once, settled},
};

static ROOMS: Groups<String, ChatServer> = Groups::new();
static STRICT_ROOMS: Groups<&str, ChatServer> = Groups::new().when_full(WhenFull::Disconnect);

#[erps::protocol]
trait Chat {
    async fn enter(room: String) -> bool;
    async fn exit(room: String) -> bool;
    async fn say(room: String, text: String) -> (u64, u64, u64, u64);
    async fn enter_strict();
    async fn say_strict(text: String) -> (u64, u64, u64, u64);
    async fn stop();
    async fn crash();
    #[push]
    fn said(text: String);
}

#[derive(Default)]
struct ChatServer;

fn counts(outcome: erps::Broadcast) -> (u64, u64, u64, u64) {
    let erps::Broadcast {
        reached,
        skipped,
        disconnected,
        closed,
        ..
    } = outcome;
    let counts = [reached, skipped, disconnected, closed].map(|it| it as u64);
    counts.into()
}

#[erps::server]
impl Chat for ChatServer {
    async fn enter(&mut self, room: String, cx: &mut Context<Self>) -> bool {
        ROOMS.group(room).join(cx.this())
    }

    async fn exit(&mut self, room: String, cx: &mut Context<Self>) -> bool {
        ROOMS.group(room).leave(cx.this())
    }

    async fn say(
        &mut self,
        room: String,
        text: String,
        cx: &mut Context<Self>,
    ) -> Result<(u64, u64, u64, u64), BoxError> {
        let others = ROOMS.group(room).except(cx.this());
        Ok(counts(others.said(text).await?))
    }

    async fn enter_strict(&mut self, cx: &mut Context<Self>) {
        STRICT_ROOMS.group("all").join(cx.this());
    }

    async fn say_strict(&mut self, text: String) -> Result<(u64, u64, u64, u64), BoxError> {
        Ok(counts(STRICT_ROOMS.group("all").said(text).await?))
    }

    async fn stop(&mut self, cx: &mut Context<Self>) {
        cx.stop(ExitReason::Normal);
    }

    async fn crash(&mut self) {
        panic!("as the test asks");
    }
}

type Talker = Client<ChatProtocol>;

async fn daemon() -> Linked<Daemon<ChatServer>> {
    let options = ServerOptions::new().max_outgoing(64 * 1024);
    let daemon = Daemon::builder(()).server_options(options);
    daemon.start_link().await.unwrap()
}

async fn member(daemon: &Daemon<ChatServer>, room: &str) -> (Talker, Pushes<ChatProtocol>) {
    let client = Talker::builder(daemon.local_addr()).reply_timeout(HOUR);
    let client = client.connect().await.unwrap();
    let pushes = client.pushes();
    assert!(client.enter(room.into()).await.unwrap());
    (client, pushes)
}

async fn hears(pushes: &mut Pushes<ChatProtocol>, expected: &str) {
    let ChatPush::Said(text) = pushes.next().await.unwrap();
    assert_eq!(text, expected);
}

#[erps::test(simulated)]
async fn typed_push_to_a_group_reaches_the_other_members_of_that_group() {
    let daemon = daemon().await;
    let (one, mut one_hears) = member(&daemon, "a").await;
    let (_two, mut two_hears) = member(&daemon, "a").await;
    let (other, mut other_hears) = member(&daemon, "b").await;
    let said = one.say("a".into(), "hello".into()).await.unwrap();
    assert_eq!(said, (1, 0, 0, 0));
    hears(&mut two_hears, "hello").await;
    let said = other.say("a".into(), "all".into()).await.unwrap();
    assert_eq!(said, (2, 0, 0, 0));
    hears(&mut one_hears, "all").await;
    hears(&mut two_hears, "all").await;
    one.say("b".into(), "b only".into()).await.unwrap();
    hears(&mut other_hears, "b only").await;
    let said = one.say("nobody".into(), "hello".into()).await.unwrap();
    assert_eq!(said, (0, 0, 0, 0));
}

#[erps::test(simulated)]
async fn server_is_a_member_once_until_it_leaves() {
    let daemon = daemon().await;
    let (client, _) = member(&daemon, "a").await;
    assert!(!client.enter("a".into()).await.unwrap());
    assert_eq!(ROOMS.group("a").members().len(), 1);
    assert_eq!(ROOMS.names(), ["a"]);
    assert!(client.exit("a".into()).await.unwrap());
    assert!(!client.exit("a".into()).await.unwrap());
    assert!(ROOMS.group("a").members().is_empty());
    assert!(ROOMS.names().is_empty());
    assert!(client.enter("a".into()).await.unwrap());
    assert_eq!(ROOMS.group("a").members().len(), 1);
}

#[erps::test(simulated, panics = "as the test asks")]
async fn server_has_left_its_groups_when_it_has_exited_for_whatever_reason() {
    for how in ["normal", "panic", "killed", "disconnected"] {
        let daemon = daemon().await;
        let (client, _) = member(&daemon, "a").await;
        client.enter("b".into()).await.unwrap();
        let [server] = &ROOMS.group("a").members()[..] else {
            panic!("one member");
        };
        match how {
            "normal" => client.stop().await.unwrap(),
            "panic" => drop(client.crash().await),
            "killed" => server.task().kill(),
            _ => client.disconnect().await,
        }
        server.exited().await;
        assert!(ROOMS.names().is_empty(), "{how}");
    }
}

#[erps::test(simulated)]
async fn server_that_has_exited_does_not_join() {
    let server = ServerRef::<ChatServer>::builder(()).start().await.unwrap();
    server.task().kill();
    server.exited().await;
    ROOMS.group("a").join(&server);
    assert!(ROOMS.names().is_empty());
}

#[erps::test(simulated)]
async fn member_without_a_connection_is_counted_as_closed() {
    let server = ServerRef::<ChatServer>::builder(()).start_link().await;
    let server = server.unwrap();
    ROOMS.group("a").join(&server);
    let push = ChatPush::Said("hi".into());
    let outcome = ROOMS.group("a").broadcast(&push).unwrap();
    assert_eq!(counts(outcome), (0, 0, 0, 1));
}

#[erps::test(simulated)]
async fn universes_have_groups_of_their_own() {
    let daemon = daemon().await;
    let _member = member(&daemon, "a").await;
    assert_eq!(ROOMS.names().len(), 1);
    Universe::new().enter(|| assert!(ROOMS.names().is_empty()));
}

/// Connects a member whose peer reads nothing, and fills its connection.
async fn slow_member(daemon: &Daemon<ChatServer>) -> (Talker, Pushes<ChatProtocol>) {
    let slow = Talker::builder(daemon.local_addr()).max_pushes(1);
    let slow = slow.connect().await.unwrap();
    let pushes = slow.pushes();
    slow.enter("a".into()).await.unwrap();
    slow.enter_strict().await.unwrap();
    (slow, pushes)
}

#[erps::test(simulated)]
async fn slow_member_is_skipped_and_neither_delays_the_others_nor_grows() {
    let daemon = daemon().await;
    let (_slow, mut slow_hears) = slow_member(&daemon).await;
    let (_fast, mut fast_hears) = member(&daemon, "a").await;
    let (speaker, _) = member(&daemon, "b").await;
    let text = "x".repeat(32 * 1024);
    let (mut skipped, mut reached) = (0, 0);
    for _ in 0..1000 {
        let said = speaker.say("a".into(), text.clone()).await.unwrap();
        assert_eq!(said.0 + said.1, 2, "{said:?}");
        skipped += said.1;
        reached += said.0 - 1;
        hears(&mut fast_hears, &text).await;
    }
    assert!(skipped > 0);
    let unsent = daemon.connections().iter().map(|it| it.bytes_unsent).max();
    assert!(unsent < Some(64 * 1024 + text.len() + 1024), "{unsent:?}");
    // It receives those that it was reached by, and is a member still.
    for _ in 0..reached {
        hears(&mut slow_hears, &text).await;
    }
    settled().await;
    let said = speaker.say("a".into(), "again".into()).await.unwrap();
    assert_eq!(said.0, 2);
    hears(&mut slow_hears, "again").await;
}

#[erps::test(simulated)]
async fn slow_member_is_disconnected_by_the_policy() {
    let daemon = daemon().await;
    let (slow, _slow_hears) = slow_member(&daemon).await;
    let (speaker, _) = member(&daemon, "b").await;
    let text = "x".repeat(32 * 1024);
    let disconnected = Cell::new(0);
    while disconnected.get() == 0 {
        let said = speaker.say_strict(text.clone()).await.unwrap();
        assert_eq!(said.1, 0, "{said:?}");
        disconnected.set(said.2);
    }
    let is_connected = |it: &erps::Status| !it.is_connected();
    let lost = time::timeout(HOUR, slow.until(is_connected)).await;
    assert!(lost.is_ok());
    settled().await;
}

#[erps::test(simulated)]
async fn push_over_the_limit_is_sent_to_no_member() {
    let options = ServerOptions::new().max_payload(1000);
    let small = Daemon::<ChatServer>::builder(()).server_options(options);
    let small = small.start_link().await.unwrap();
    let large = daemon().await;
    let (_one, mut one_hears) = member(&large, "a").await;
    let (_two, _) = member(&small, "a").await;
    let group = ROOMS.group("a");
    let outcome = group.said("x".repeat(1000)).await;
    assert!(matches!(outcome, Err(PushError::Unsendable(_))));
    // Servers of different settings receive packets of their own.
    let outcome = at_once(group.said("short".into())).await.unwrap();
    assert_eq!(counts(outcome), (2, 0, 0, 0));
    hears(&mut one_hears, "short").await;
}

#[test]
fn large_push_reaches_all_members() {
    run(Universe::new().scope(async {
        let daemon = daemon().await;
        let mut members = Vec::new();
        for _ in 0..3 {
            members.push(member(&daemon, "a").await);
        }
        let text = "y".repeat(300_000);
        let outcome = ROOMS.group("a").said(text.clone()).await.unwrap();
        assert_eq!(counts(outcome), (3, 0, 0, 0));
        for (_, pushes) in &mut members {
            hears(pushes, &text).await;
        }
    }));
}

/// How often a [`Counted`] was serialized.
static SERIALIZED: AtomicUsize = AtomicUsize::new(0);

#[derive(Deserialize)]
struct Counted(#[expect(dead_code, reason = "only its serialization matters")] u64);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        SERIALIZED.fetch_add(1, SeqCst);
        serializer.serialize_u64(7)
    }
}

struct Counting;

impl Protocol for Counting {
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Push = Counted;
}

struct CountingServer;

static COUNTING: Groups<u8, CountingServer> = Groups::new();

impl Server for CountingServer {
    type Protocol = Counting;
    type Seed = ();
    type Info = ();

    async fn init(_: (), cx: &mut Context<Self>) -> Result<Self, InitError> {
        COUNTING.group(1).join(cx.this());
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<()>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(());
        Ok(())
    }
}

#[erps::test(simulated)]
async fn push_to_a_group_is_serialized_once() {
    let daemon = Daemon::<CountingServer>::builder(()).start_link().await;
    let daemon = daemon.unwrap();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let client = Client::<Counting>::builder(daemon.local_addr());
        let client = client.connect().await.unwrap();
        client.call(()).await.unwrap();
        clients.push(client);
    }
    let outcome = COUNTING.group(1).broadcast(&Counted(7)).unwrap();
    assert_eq!(counts(outcome), (5, 0, 0, 0));
    assert_eq!(SERIALIZED.load(SeqCst), 1);
}
