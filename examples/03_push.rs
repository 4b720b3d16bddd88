//! Pushes: messages of a server without a request.
//!
//! `Context::push` sends to the client of the server's connection. Other tasks of the process can push through a
//! `ServerRef`, which `Context::this` returns. Here the servers of a chat room keep a list of their `ServerRef`s; each
//! server removes its own in `terminate`. A client receives pushes as a stream from its creation on: create it before
//! you subscribe.
//!
//! It prints:
//!
//! ```text
//! ann hears: welcome, ann
//! ann hears: welcome, ben
//! ben hears: welcome, ben
//! ```

use std::sync::{Arc, Mutex};

use erps::{
    BoxError, Client, Context, Daemon, ExitReason, InitError, Protocol, ReplyTo, Server, ServerRef,
};
use smol::stream::StreamExt as _;

struct Chat;

impl Protocol for Chat {
    type Call = String; // the name of a new member
    type Reply = ();
    type Cast = ();
    type Push = String;
}

/// The list that all servers of the daemon share through its seed.
type Room = Arc<Mutex<Vec<ServerRef<ChatServer>>>>;

struct ChatServer {
    room: Room,
}

impl Server for ChatServer {
    type Protocol = Chat;
    type Seed = Room;
    type Info = ();

    async fn init(room: Room, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { room })
    }

    async fn handle_call(
        &mut self,
        name: String,
        from: ReplyTo<()>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        let mut room = self.room.lock().unwrap();
        room.push(cx.this().clone());
        for server in room.iter() {
            // `try_push` does not wait for a slow client.
            let _ = server.try_push(&format!("welcome, {name}"));
        }
        from.reply(());
        Ok(())
    }

    async fn terminate(&mut self, _: &ExitReason, cx: &mut Context<Self>) {
        let mut room = self.room.lock().unwrap();
        room.retain(|server| server.task() != cx.this().task());
    }
}

fn main() -> Result<(), BoxError> {
    smol::block_on(async {
        let daemon = Daemon::<ChatServer>::builder(Room::default())
            .start_link()
            .await?;
        let to_chat = Client::<Chat>::builder(daemon.local_addr());
        let (ann, ben) = (to_chat.connect().await?, to_chat.connect().await?);
        let (ann_hears, ben_hears) = (ann.pushes(), ben.pushes());

        ann.call("ann".into()).await?;
        ben.call("ben".into()).await?;

        let ann_heard: Vec<String> = ann_hears.take(2).collect().await;
        let ben_heard: Vec<String> = ben_hears.take(1).collect().await;
        assert_eq!(ann_heard, ["welcome, ann", "welcome, ben"]);
        assert_eq!(ben_heard, ["welcome, ben"]);
        for text in ann_heard {
            println!("ann hears: {text}");
        }
        for text in ben_heard {
            println!("ben hears: {text}");
        }
        Ok(())
    })
}
