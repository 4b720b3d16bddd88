//! Groups of servers that receive the same pushes. OTP's `pg`.

mod table;

use std::{fmt, hash::Hash};

use crate::{
    Protocol, PushError, Pusher, Server, ServerRef, server::EncodedPush, universe::Sharded,
};
use table::Table;

/// A static with groups of servers, each under a name: the rooms of a chat, the subscribers of a topic. OTP's `pg`, within
/// one process.
///
/// Each [universe](crate::universe) has groups of its own. A group exists as long as it has members. A server that exits,
/// for whatever reason, has left all its groups when [`exited`](crate::TaskRef::exited) returns.
///
/// A broadcast never waits. A member whose peer does not read, so that its
/// [send queue](crate::ServerOptions::max_outgoing) is full, is handled as [`when_full`](Self::when_full) says.
///
/// # Example
///
/// ```
/// use erps::{BoxError, Client, Context, Daemon, Groups};
///
/// #[erps::protocol]
/// trait Chat {
///     async fn enter(room: String);
///     async fn say(text: String) -> u64;
///     #[push]
///     fn said(text: String);
/// }
///
/// static ROOMS: Groups<String, ChatServer> = Groups::new();
///
/// #[derive(Default)]
/// struct ChatServer {
///     room: String,
/// }
///
/// #[erps::server]
/// impl Chat for ChatServer {
///     async fn enter(&mut self, room: String, cx: &mut Context<Self>) {
///         ROOMS.group(&*self.room).leave(cx.this());
///         ROOMS.group(&*room).join(cx.this());
///         self.room = room;
///     }
///
///     /// Returns how many others it was sent to.
///     async fn say(&mut self, text: String, cx: &mut Context<Self>) -> Result<u64, BoxError> {
///         let others = ROOMS.group(&*self.room).except(cx.this());
///         Ok(others.said(text).await?.reached as u64)
///     }
/// }
///
/// # fn main() -> Result<(), BoxError> {
/// smol::block_on(async {
///     let daemon = Daemon::<ChatServer>::builder(()).start_link().await?;
///     let client = async || Client::<ChatProtocol>::builder(daemon.local_addr()).connect().await;
///     let (ada, alan) = (client().await?, client().await?);
///     let mut heard = alan.pushes();
///     ada.enter("lobby".into()).await?;
///     alan.enter("lobby".into()).await?;
///     assert_eq!(ada.say("hello".into()).await?, 1);
///     let ChatPush::Said(text) = heard.next().await.expect("it is connected");
///     assert_eq!(text, "hello");
///     Ok(())
/// })
/// # }
/// ```
pub struct Groups<K: 'static, S: Server> {
    table: Sharded<Table<K, S>>,
    when_full: WhenFull,
}

/// What a broadcast does with a member whose send queue is full because its peer does not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// The member does not receive the push. For pushes that are replaced by later ones.
    #[default]
    Skip,
    /// The member is [disconnected](ServerRef::disconnect), and its peer may connect again. For pushes that must not be
    /// missed without notice.
    Disconnect,
}

impl<K, S> Groups<K, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    S: Server,
{
    /// Creates groups without members.
    #[must_use]
    #[track_caller]
    pub const fn new() -> Self {
        Self {
            table: Sharded::new(Table::new),
            when_full: WhenFull::Skip,
        }
    }

    /// Sets what a broadcast does with a member whose send queue is full. Default: [`WhenFull::Skip`].
    #[must_use]
    pub const fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Returns the group with this name, which may have no members.
    pub fn group(&self, name: impl Into<K>) -> Group<'_, K, S> {
        Group {
            groups: self,
            name: name.into(),
            except: None,
        }
    }

    /// Returns the names of the groups that have members, in no particular order. OTP's `pg:which_groups/0`.
    #[must_use]
    pub fn names(&self) -> Vec<K> {
        self.table.get().names()
    }
}

impl<K, S> Default for Groups<K, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    S: Server,
{
    fn default() -> Self {
        Self::new()
    }
}

/// A group of servers. Returned by [`Groups::group`].
///
/// It is a [`Pusher`]: the methods that [`erps::protocol`](macro@crate::protocol) writes for pushes send them to the peers
/// of all members, and return how many were [reached](Broadcast).
pub struct Group<'a, K: 'static, S: Server> {
    groups: &'a Groups<K, S>,
    name: K,
    /// The id of the member that receives no broadcasts.
    except: Option<u64>,
}

impl<K, S> Group<'_, K, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    S: Server,
{
    /// Adds a server, until it leaves or exits. Returns false if it is a member already. OTP's `pg:join/2`.
    ///
    /// Unlike in `pg`, a server is a member once, however often it joins.
    pub fn join(&self, server: &ServerRef<S>) -> bool {
        self.groups.table.get().join(&self.name, server)
    }

    /// Removes a server. Returns false if it is not a member. OTP's `pg:leave/2`.
    pub fn leave(&self, server: &ServerRef<S>) -> bool {
        let table = self.groups.table.get();
        table.leave(&self.name, server.task().id())
    }

    /// Returns the group without one member, for a broadcast to the others.
    #[must_use]
    pub fn except(mut self, server: &ServerRef<S>) -> Self {
        self.except = Some(server.task().id());
        self
    }

    /// Returns the members, in the order in which they were started. OTP's `pg:get_members/1`.
    #[must_use]
    pub fn members(&self) -> Vec<ServerRef<S>> {
        self.groups.table.get().members(&self.name, self.except)
    }

    /// Sends the peer of each member a push, and returns how many were reached.
    ///
    /// Does not wait, and encodes the push once, whatever its size; [`push`](Pusher::push) encodes one of more than 64 KiB
    /// off the executor's threads. Reached means that the push is in the member's send queue. Pushes of one task arrive
    /// in order at each member.
    ///
    /// # Errors
    ///
    /// [`PushError::Unsendable`]: the value cannot be encoded as a packet. Nothing was sent to any member.
    pub fn broadcast(
        &self,
        push: &<S::Protocol as Protocol>::Push,
    ) -> Result<Broadcast, PushError> {
        let members = self.members();
        let push = EncodedPush::new(&members, push)?;
        Ok(self.send(&members, &push))
    }

    fn send(&self, members: &[ServerRef<S>], push: &EncodedPush) -> Broadcast {
        let mut outcome = Broadcast::default();
        for member in members {
            match (push.send_to(member), self.groups.when_full) {
                (Ok(()), _) => outcome.reached += 1,
                (Err(PushError::Full), WhenFull::Skip) => outcome.skipped += 1,
                (Err(PushError::Full), WhenFull::Disconnect) => {
                    member.disconnect();
                    outcome.disconnected += 1;
                }
                (Err(_), _) => outcome.closed += 1,
            }
        }
        outcome
    }
}

impl<K, S> Pusher<S::Protocol> for Group<'_, K, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    S: Server,
{
    type Sent = Broadcast;

    /// As [`broadcast`](Group::broadcast).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is sent.
    async fn push(&self, push: <S::Protocol as Protocol>::Push) -> Result<Broadcast, PushError> {
        let members = self.members();
        let push = EncodedPush::offloaded(&members, push).await?;
        Ok(self.send(&members, &push))
    }
}

/// What a broadcast did with each member of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broadcast {
    /// The number of members whose send queue holds the push.
    pub reached: usize,
    /// The number of members that do not receive it, because their send queue is full ([`WhenFull::Skip`]).
    pub skipped: usize,
    /// The number of members that are disconnected for that reason ([`WhenFull::Disconnect`]).
    pub disconnected: usize,
    /// The number of members that have no connection, or whose connection is closing.
    pub closed: usize,
}

impl<K, S: Server> fmt::Debug for Groups<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups")
            .field("when_full", &self.when_full)
            .finish_non_exhaustive()
    }
}

impl<K: fmt::Debug, S: Server> fmt::Debug for Group<'_, K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
