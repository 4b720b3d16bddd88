//! Chat rooms: what a member says is pushed to all members of the room.
//!
//! A room is a group of servers: each connection has one, which joins and leaves, and a push to the group goes to the
//! clients of all. A client's handler joins its room whenever it has connected: after a reconnect its server is a new one,
//! which has joined nothing. A push to a group does not wait: a member that does not read is disconnected, and costs the
//! others nothing.
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

use std::collections::HashSet;

use erps::{
    BoxError, Client, ClientBuilder, ClientContext, Context, Daemon, ExitReason, Groups, Linked,
    PeerInfo, PushError, WhenFull,
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

/// The rooms. A server that exits is removed from all of them. In a test each universe has its own.
static ROOMS: Groups<String, ChatServer> = Groups::new().when_full(WhenFull::Disconnect);

#[derive(Default)]
struct ChatServer {
    name: String,
    joined: HashSet<String>,
}

#[erps::server]
impl Chat for ChatServer {
    async fn hello(&mut self, name: String) {
        self.name = name;
    }

    async fn join(&mut self, room: String, cx: &mut Context<Self>) -> Result<(), BoxError> {
        if ROOMS.group(&*room).join(cx.this()) {
            self.joined.insert(room.clone());
            self.report(&room, What::Joins).await?;
        }
        Ok(())
    }

    async fn leave(&mut self, room: String, cx: &mut Context<Self>) -> Result<(), BoxError> {
        if ROOMS.group(&*room).leave(cx.this()) {
            self.joined.remove(&room);
            self.report(&room, What::Leaves).await?;
        }
        Ok(())
    }

    async fn say(
        &mut self,
        room: String,
        text: String,
    ) -> Result<Result<(), NotAMember>, BoxError> {
        if !self.joined.contains(&room) {
            return Ok(Err(NotAMember));
        }
        self.report(&room, What::Says(text)).await?;
        Ok(Ok(()))
    }

    async fn terminate(&mut self, _: &ExitReason, cx: &mut Context<Self>) {
        for room in &self.joined {
            ROOMS.group(&**room).leave(cx.this());
            let _ = self.report(room, What::Leaves).await;
        }
    }
}

impl ChatServer {
    /// Pushes news of this member to all members of a room.
    async fn report(&self, room: &str, what: What) -> Result<(), PushError> {
        ROOMS.group(room).news(news(room, &self.name, what)).await?;
        Ok(())
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
        let daemon = Daemon::<ChatServer>::builder(()).start_link().await?;
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

    /// A daemon, and a builder of its clients.
    async fn chat() -> (Linked<Daemon<ChatServer>>, ClientBuilder<ChatProtocol>) {
        let daemon = Daemon::builder(()).port(4747);
        let daemon = daemon.server_options(ServerOptions::new().max_outgoing(64 * 1024));
        let daemon = daemon.start_link().await.unwrap();
        (daemon, Client::builder(("localhost", 4747)))
    }

    fn members(room: &str) -> usize {
        ROOMS.group(room).members().len()
    }

    #[erps::test(simulated)]
    async fn news_of_a_room_reach_all_its_members_and_no_others() -> Result<(), BoxError> {
        let (_daemon, builder) = chat().await;
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
        let (_daemon, builder) = chat().await;
        let (_ann, ann_hears) = member(&builder, "ann", "rust").await?;
        let (ben, _ben_hears) = member(&builder, "ben", "rust").await?;
        ben.disconnect().await;
        ben.connect().await?;
        for what in [What::Joins, What::Leaves, What::Joins] {
            assert_eq!(ann_hears.recv().await?, news("rust", "ben", what));
        }
        assert_eq!(members("rust"), 2);
        Ok(())
    }

    #[erps::test(simulated)]
    async fn member_that_does_not_read_is_disconnected_and_delays_no_other() -> Result<(), BoxError>
    {
        let (_daemon, builder) = chat().await;
        let (ann, _ann_hears) = member(&builder, "ann", "rust").await?;
        let (_ben, ben_hears) = member(&builder, "ben", "rust").await?;
        let deaf = builder.max_pushes(2).connect().await?;
        let _unread = deaf.pushes();
        deaf.join("rust".into()).await?;
        assert_eq!(members("rust"), 3);

        let start = time::now();
        let text = "x".repeat(10_000);
        let mut said = 0;
        while members("rust") == 3 {
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
