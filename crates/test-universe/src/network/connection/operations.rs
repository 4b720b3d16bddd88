//! The operations of an end: read, write, close, drop.

use std::{io, task::Waker, time::Instant};

use super::{Connection, Step, StreamTimeouts};
use crate::network::{chunk::Chunk, event::EventKind, link::Due, state::State};

fn was_reset<T>() -> Step<T> {
    Step::Done(Err(io::ErrorKind::ConnectionReset.into()))
}

fn timed_out<T>() -> Step<T> {
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
        let (times_out_at, has_timed_out) = (
            connection.times_out_at(side),
            connection.has_timed_out(side, now),
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
            _ if has_timed_out => return timed_out(),
            _ => {
                wakes.wait(&mut end.reader, waker);
                return Step::Wait(sooner(end.next(now), times_out_at));
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
        let times_out_at = connection.times_out_at(side);
        if connection.has_timed_out(side, sim.now()) {
            return timed_out();
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
            return Step::Wait(sooner(end.reset.time(), times_out_at));
        }
        let count = links.piece(route, bytes.len().min(room), sim);
        connection.send(side, bytes[..count].to_vec(), links, sim);
        connection.reset_if_dropped(1 - side, links, sim);
        // Pending reads set their timers: for the data, and for a reset that returns.
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

    /// Closes the sending half.
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

    /// Drops an end: with a reset if that is asked for, or if unread data has arrived.
    pub(in crate::network) fn drop_end(&mut self, (id, side): (u64, usize), abort: bool) {
        let now = self.sim.now();
        let connection = open(self.connections.get_mut(&id));
        let has_timed_out = connection.has_timed_out(side, now);
        let end = &connection.ends[side];
        let was_reset = end.reset.is_by(now) || has_timed_out;
        let unread = |chunk: &Chunk| chunk.is_here(now) && !chunk.is_end();
        let abort = abort || end.incoming.front().is_some_and(unread);
        if !was_reset && !abort {
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
            connection.reset_if_dropped(side, links, sim);
        }
        if abort && !was_reset {
            connection.send_reset(side, now, links, sim);
        }
        connection.ends[1 - side].wake(wakes);
        if connection.ends.iter().all(|end| end.dropped) {
            let client = &connection.ends[0];
            hosts.release_port(client.host, client.address.port());
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
