//! Chat rooms: what a member says is pushed to all members of the room.
//!
//! Each connection has a server. The servers share a table of rooms through the daemon's seed, and push to each other's
//! clients. A client's handler joins its room whenever it has connected: after a reconnect its server is a new one, which
//! has joined nothing. A member that does not read is disconnected, and costs the others nothing: `try_push` does not wait.
//!
//! `cargo test --example 12_chat` runs the tests, in simulated networks.
//!
//! It prints:
//!
//! ```text
//! ann hears: ben joins
//! ann hears: ben says hello
//! ann hears: ben leaves
//! ben is told: not a member of this room
//! ```

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use erps::{
    BoxError, Client, ClientBuilder, ClientContext, Context, Daemon, ExitReason, InitError, Linked,
    PeerInfo, PushError, ServerRef,
};
use serde::{Deserialize, Serialize};
use smol::channel::{Receiver, Sender, unbounded};

#[erps::protocol(identifier = "chat", version = "1.0.0", accepts = "~> 1.0")]
trait Chat {
    /// Sets the name of this client.
    async fn hello(name: String);
    async fn join(room: String);
    async fn leave(room: String);
    async fn say(room: String, text: String) -> Result<(), NotAMember>;

    /// Something has happened in a room.
    #[push]
    fn news(news: News);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct News {
    room: String,
    name: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum What {
    Joins,
    Leaves,
    Says(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("not a member of this room")]
struct NotAMember;

/// The members of each room. All servers of the daemon share it.
type Rooms = Arc<Mutex<HashMap<String, Vec<ServerRef<ChatServer>>>>>;

struct ChatServer {
    rooms: Rooms,
    name: String,
    joined: HashSet<String>,
}

#[erps::server]
impl Chat for ChatServer {
    type Seed = Rooms;

    async fn init(rooms: Rooms) -> Result<Self, InitError> {
        let (name, joined) = ("nobody".to_owned(), HashSet::new());
        Ok(Self {
            rooms,
            name,
            joined,
        })
    }

    async fn hello(&mut self, name: String) {
        self.name = name;
    }

    async fn join(&mut self, room: String, cx: &mut Context<Self>) {
        if self.joined.insert(room.clone()) {
            let mut rooms = self.rooms.lock().unwrap();
            let members = rooms.entry(room.clone()).or_default();
            members.push(cx.this().clone());
            drop(rooms);
            self.report(&room, What::Joins);
        }
    }

    async fn leave(&mut self, room: String, cx: &mut Context<Self>) {
        if self.joined.remove(&room) {
            self.leave_room(&room, cx);
        }
    }

    async fn say(&mut self, room: String, text: String) -> Result<(), NotAMember> {
        if !self.joined.contains(&room) {
            return Err(NotAMember);
        }
        self.report(&room, What::Says(text));
        Ok(())
    }

    async fn terminate(&mut self, _: &ExitReason, cx: &mut Context<Self>) {
        for room in std::mem::take(&mut self.joined) {
            self.leave_room(&room, cx);
        }
    }
}

impl ChatServer {
    fn leave_room(&self, room: &str, cx: &Context<Self>) {
        let mut rooms = self.rooms.lock().unwrap();
        if let Some(members) = rooms.get_mut(room) {
            members.retain(|member| member.task() != cx.this().task());
        }
        drop(rooms);
        self.report(room, What::Leaves);
    }

    /// Pushes news to all members of a room, and removes those that have gone or do not read.
    fn report(&self, room: &str, what: What) {
        let mut rooms = self.rooms.lock().unwrap();
        let Some(members) = rooms.get_mut(room) else {
            return;
        };
        let push = ChatPush::News(news(room, &self.name, what));
        members.retain(|member| match member.try_push(&push) {
            Ok(()) => true,
            Err(PushError::Full) => {
                member.disconnect();
                false
            }
            Err(_) => false,
        });
    }
}

/// The handler of a client: joins a room, and passes on what it hears there.
struct Member {
    name: &'static str,
    room: &'static str,
    heard: Sender<News>,
}

#[erps::handler]
impl ChatHandler for Member {
    async fn handle_connect(
        &mut self,
        _: PeerInfo,
        cx: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        cx.client().hello(self.name.into()).await?;
        cx.client().join(self.room.into()).await?;
        Ok(())
    }

    async fn news(&mut self, news: News) -> Result<(), BoxError> {
        Ok(self.heard.send(news).await?)
    }
}

type Hears = Receiver<News>;

/// Starts a client, and waits until it has joined a room. Returns also what it hears from then on.
async fn member(
    builder: &ClientBuilder<ChatProtocol>,
    name: &'static str,
    room: &'static str,
) -> Result<(Linked<Client<ChatProtocol>>, Hears), BoxError> {
    let (heard, hears) = unbounded();
    let make = move || Member {
        name,
        room,
        heard: heard.clone(),
    };
    let client = builder.clone().handler(make).start_link();
    assert_eq!(hears.recv().await?, news(room, name, What::Joins));
    Ok((client, hears))
}

fn news(room: &str, name: &str, what: What) -> News {
    let (room, name) = (room.to_owned(), name.to_owned());
    News { room, name, what }
}

fn main() -> Result<(), BoxError> {
    smol::block_on(async {
        let daemon = Daemon::<ChatServer>::builder(Rooms::default())
            .start_link()
            .await?;
        let builder = Client::builder(daemon.local_addr());
        let (_ann, ann_hears) = member(&builder, "ann", "rust").await?;
        let (ben, _ben_hears) = member(&builder, "ben", "rust").await?;
        ben.say("rust".into(), "hello".into()).await??;
        ben.leave("rust".into()).await?;
        for _ in 0..3 {
            let News { name, what, .. } = ann_hears.recv().await?;
            match what {
                What::Joins => println!("ann hears: {name} joins"),
                What::Leaves => println!("ann hears: {name} leaves"),
                What::Says(text) => println!("ann hears: {name} says {text}"),
            }
        }
        let error = ben.say("rust".into(), "bye".into()).await?.unwrap_err();
        println!("ben is told: {error}");
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use erps::{ServerOptions, time};

    use super::*;

    type Server = Linked<Daemon<ChatServer>>;

    /// A daemon, and a builder of its clients.
    async fn chat() -> (Server, Rooms, ClientBuilder<ChatProtocol>) {
        let rooms = Rooms::default();
        let daemon = Daemon::builder(rooms.clone()).port(4747);
        let daemon = daemon.server_options(ServerOptions::new().max_outgoing(64 * 1024));
        let daemon = daemon.start_link().await.unwrap();
        (daemon, rooms, Client::builder(("localhost", 4747)))
    }

    #[erps::test(simulated)]
    async fn news_of_a_room_reach_all_its_members_and_no_others() -> Result<(), BoxError> {
        let (_daemon, _, builder) = chat().await;
        let (ann, ann_hears) = member(&builder, "ann", "rust").await?;
        let (_ben, ben_hears) = member(&builder, "ben", "rust").await?;
        let (_eve, eve_hears) = member(&builder, "eve", "erlang").await?;
        ann.say("rust".into(), "hello".into()).await??;
        let hello = news("rust", "ann", What::Says("hello".into()));
        assert_eq!(ann_hears.recv().await?, news("rust", "ben", What::Joins));
        assert_eq!(ann_hears.recv().await?, hello);
        assert_eq!(ben_hears.recv().await?, hello);
        let not_there = ann.say("erlang".into(), "hello".into()).await?;
        assert_eq!(not_there, Err(NotAMember));
        time::sleep(Duration::from_secs(1)).await;
        assert!(eve_hears.is_empty());
        Ok(())
    }

    #[erps::test(simulated)]
    async fn member_whose_connection_ends_leaves_and_joins_again() -> Result<(), BoxError> {
        let (_daemon, rooms, builder) = chat().await;
        let (_ann, ann_hears) = member(&builder, "ann", "rust").await?;
        let (ben, _ben_hears) = member(&builder, "ben", "rust").await?;
        ben.disconnect().await;
        ben.connect().await?;
        for what in [What::Joins, What::Leaves, What::Joins] {
            assert_eq!(ann_hears.recv().await?, news("rust", "ben", what));
        }
        assert_eq!(rooms.lock().unwrap()["rust"].len(), 2);
        Ok(())
    }

    #[erps::test(simulated)]
    async fn member_that_does_not_read_is_disconnected_and_delays_no_other() -> Result<(), BoxError>
    {
        let (_daemon, rooms, builder) = chat().await;
        let (ann, _ann_hears) = member(&builder, "ann", "rust").await?;
        let (_ben, ben_hears) = member(&builder, "ben", "rust").await?;
        let deaf = builder.max_pushes(2).connect().await?;
        let _unread = deaf.pushes();
        deaf.join("rust".into()).await?;
        assert_eq!(rooms.lock().unwrap()["rust"].len(), 3);

        let start = time::now();
        let text = "x".repeat(10_000);
        let mut said = 0;
        while rooms.lock().unwrap()["rust"].len() == 3 {
            ann.say("rust".into(), text.clone()).await??;
            said += 1;
        }
        assert_eq!(time::now(), start);
        let mut heard = 0;
        while heard < said {
            heard += usize::from(matches!(ben_hears.recv().await?.what, What::Says(_)));
        }
        Ok(())
    }
}
