//! EventKind the end of a connection can do: read, write, close, be dropped.

use std::{io, task::Waker, time::Instant};

use super::{Connection, Step, StreamTimeouts};
use crate::network::{chunk::Chunk, event::EventKind, link::Due, state::State};

fn was_reset<T>() -> Step<T> {
    Step::Done(Err(io::ErrorKind::ConnectionReset.into()))
}

fn has_given_up<T>() -> Step<T> {
    Step::Done(Err(io::ErrorKind::TimedOut.into()))
}

fn sooner(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    [a, b].into_iter().flatten().min()
}

/// The operations of an end. Its connection exists as long as one of its ends does.
impl State {
    pub(in crate::network) fn read(
        &mut self,
        (id, side): (u64, usize),
        room: &mut [u8],
        waker: &Waker,
    ) -> Step<usize> {
        let now = self.sim.now();
        let Self {
            connections,
            links,
            sim,
            wakes,
            ..
        } = self;
        let connection = open(connections.get_mut(&id));
        let route = connection.route(1 - side);
        let (to, from) = connection.seen_from(side);
        let (gives_up, has_given_up_by_now) = (
            connection.gives_up(side),
            connection.has_given_up(side, now),
        );
        let end = &mut connection.ends[side];
        if end.reset.is_by(now) {
            return was_reset();
        }
        if room.is_empty() {
            return Step::Done(Ok(0));
        }
        match end.incoming.front() {
            Some(chunk) if chunk.is_here(now) && chunk.is_end() => {
                return Step::Done(Ok(0));
            }
            Some(chunk) if chunk.is_here(now) => {}
            _ if has_given_up_by_now => return has_given_up(),
            _ => {
                wakes.wait(&mut end.reader, waker);
                return Step::Wait(sooner(end.next(now), gives_up));
            }
        }
        let most = links.piece(route, room.len(), sim);
        let taken = end.take(&mut room[..most], now);
        wakes.wake(&mut connection.ends[1 - side].writer);
        self.log(EventKind::Received(to, from, taken));
        Step::Done(Ok(taken))
    }

    pub(in crate::network) fn write(
        &mut self,
        (id, side): (u64, usize),
        bytes: &[u8],
        waker: &Waker,
    ) -> Step<usize> {
        let Self {
            connections,
            links,
            sim,
            wakes,
            ..
        } = self;
        let connection = open(connections.get_mut(&id));
        let route = connection.route(side);
        let (from, to) = connection.seen_from(side);
        let in_use = connection.ends[1 - side].unread;
        let gives_up = connection.gives_up(side);
        if connection.has_given_up(side, sim.now()) {
            return has_given_up();
        }
        let end = &mut connection.ends[side];
        if end.reset.is_by(sim.now()) {
            return was_reset();
        }
        if end.closed {
            return Step::Done(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Step::Done(Ok(0));
        }
        let room = links.window(route).saturating_sub(in_use);
        if room == 0 {
            wakes.wait(&mut end.writer, waker);
            return Step::Wait(sooner(end.reset.time(), gives_up));
        }
        let count = links.piece(route, bytes.len().min(room), sim);
        connection.send(side, bytes[..count].to_vec(), links, sim);
        connection.bounce(1 - side, links, sim);
        // They have timers to set: for what was sent, and for a reset that comes back.
        wakes.wake(&mut connection.ends[1 - side].reader);
        if connection.ends[side].reset != Due::Never || connection.silent.is_some() {
            wakes.wake(&mut connection.ends[side].reader);
        }
        self.log(EventKind::Sent(from, to, count));
        Step::Done(Ok(count))
    }

    pub(in crate::network) fn set_timeouts(
        &mut self,
        (id, side): (u64, usize),
        timeouts: StreamTimeouts,
    ) {
        open(self.connections.get_mut(&id)).ends[side].timeouts = timeouts;
    }

    /// Ends the sending half.
    pub(in crate::network) fn close(&mut self, (id, side): (u64, usize)) -> io::Result<()> {
        let Self {
            connections,
            links,
            sim,
            wakes,
            ..
        } = self;
        let connection = open(connections.get_mut(&id));
        let (from, to) = connection.seen_from(side);
        let end = &mut connection.ends[side];
        if end.reset.is_by(sim.now()) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if end.closed {
            return Ok(());
        }
        end.closed = true;
        wakes.wake(&mut end.writer);
        connection.send(side, Vec::new(), links, sim);
        wakes.wake(&mut connection.ends[1 - side].reader);
        self.log(EventKind::Closed(from, to));
        Ok(())
    }

    /// Ends both halves: with a reset if that is asked for, or if bytes have come that nobody will
    /// read.
    pub(in crate::network) fn leave(&mut self, (id, side): (u64, usize), abort: bool) {
        let now = self.sim.now();
        let connection = open(self.connections.get_mut(&id));
        let has_given_up = connection.has_given_up(side, now);
        let end = &connection.ends[side];
        let was_reset = end.reset.is_by(now) || has_given_up;
        let unread = |chunk: &Chunk| chunk.is_here(now) && !chunk.is_end();
        let abort = abort || end.incoming.front().is_some_and(unread);
        if !was_reset && !abort {
            // It was not reset, and so it can be closed.
            let _ = self.close((id, side));
        }
        let Self {
            connections,
            links,
            sim,
            wakes,
            hosts,
            ..
        } = self;
        let connection = open(connections.get_mut(&id));
        let (from, to) = connection.seen_from(side);
        let end = &mut connection.ends[side];
        end.dropped = true;
        wakes.forget(&mut end.reader);
        wakes.forget(&mut end.writer);
        if was_reset || abort {
            end.incoming.clear();
            end.unread = 0;
        } else {
            connection.bounce(side, links, sim);
        }
        if abort && !was_reset {
            connection.send_reset(side, now, links, sim);
        }
        connection.ends[1 - side].wake(wakes);
        if connection.ends.iter().all(|end| end.dropped) {
            let dialler = &connection.ends[0];
            hosts.give_back(dialler.host, dialler.address.port());
            connections.remove(&id);
        }
        if abort && !was_reset {
            self.log(EventKind::Reset(from, to));
        }
    }
}

fn open(connection: Option<&mut Connection>) -> &mut Connection {
    connection.expect("a connection is there as long as one of its ends is")
}
