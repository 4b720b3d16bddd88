//! Ciphertext on its way between rustls and a socket.

use std::{
    cell::Cell,
    cmp::min,
    io::{self, Read, Write},
    mem,
};

/// What one system call may move. rustls alone would read 4 KiB at a time, and write each record
/// from an allocation of its own.
const CAPACITY: usize = 64 * 1024;

/// Empty buffers kept per thread for the next connection that has something to move.
const SPARES: usize = 4;

thread_local! {
    static SPARE: Cell<Vec<Vec<u8>>> = const { Cell::new(Vec::new()) };
}

/// A queue of bytes that owns memory only while it holds some.
///
/// An idle connection thus has none; the connections that a thread serves in turn share one.
#[derive(Default)]
pub(super) struct Buffer {
    /// Either nothing, or `CAPACITY` bytes.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The room behind what is queued. To be given back with [`added`](Self::added).
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = claim();
        }
        &mut self.bytes[self.end..]
    }

    /// Queues the first `count` bytes of the room; with zero it gives the memory back, if that is
    /// all it has.
    pub(super) fn added(&mut self, count: usize) {
        self.end = min(self.end + count, self.bytes.len());
        self.rest();
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start = min(self.start + count, self.end);
        self.rest();
    }

    fn rest(&mut self) {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            give_back(mem::take(&mut self.bytes));
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give_back(mem::take(&mut self.bytes));
    }
}

/// Takes what there is room for.
impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = (&mut &*bytes).read(self.room())?;
        self.added(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn claim() -> Vec<u8> {
    SPARE
        .try_with(|cell| {
            let mut spare = cell.take();
            let bytes = spare.pop();
            cell.set(spare);
            bytes
        })
        .ok()
        .flatten()
        .unwrap_or_else(|| vec![0; CAPACITY])
}

fn give_back(bytes: Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    // A thread that is ending has no spares any more.
    let _ = SPARE.try_with(|cell| {
        let mut spare = cell.take();
        if spare.len() < SPARES {
            spare.push(bytes);
        }
        cell.set(spare);
    });
}
