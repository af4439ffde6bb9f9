//! What waits to be written to one receiver.
//!
//! Invariant: never more than its limit, so a receiver that does not read costs that much memory and
//! nobody else's time; frames leave whole and in order, but pings and welcomes go first. One task writes, all others
//! put. Used by `daemon`; written out by `pump`.

use std::cell::{Cell, RefCell};

use chameleon_proto::frame::Header;
use tokio::sync::Notify;

/// A buffer longer than this is given back when it is empty.
const KEEP: usize = 1 << 20;

/// Frames for one receiver.
#[derive(Debug)]
pub struct Queue {
    limit: usize,
    /// Bytes that the writer has taken and not written yet.
    taken: Cell<usize>,
    first: RefCell<Vec<u8>>,
    rest: RefCell<Vec<u8>>,
    wake: Notify,
    closed: Cell<bool>,
}

impl Queue {
    /// One of at most so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: Cell::new(0),
            first: RefCell::default(),
            rest: RefCell::default(),
            wake: Notify::new(),
            closed: Cell::new(false),
        }
    }

    /// Puts a frame behind the others; whether there was room.
    #[must_use]
    pub fn put(&self, frame: &[u8]) -> bool {
        let mut rest = self.rest.borrow_mut();
        if self.taken.get() + rest.len() + frame.len() > self.limit {
            return false;
        }
        rest.extend_from_slice(frame);
        self.wake.notify_one();
        true
    }

    /// Puts a frame of the daemon's own before the others, room or not: they are few and short.
    pub fn put_first(&self, frame: &[u8]) {
        self.first.borrow_mut().extend_from_slice(frame);
        self.wake.notify_one();
    }

    /// Nothing more is to be written.
    pub fn close(&self) {
        self.closed.set(true);
        self.wake.notify_one();
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.taken.get() == 0 && self.first.borrow().is_empty() && self.rest.borrow().is_empty()
    }

    /// Waits until there is something, and takes all of it into an empty buffer. False if the queue is
    /// closed. Only the writer calls this and the functions below.
    pub async fn take(&self, into: &mut Vec<u8>) -> bool {
        loop {
            if self.closed.get() {
                return false;
            }
            if self.try_take(into) {
                return true;
            }
            self.wake.notified().await;
        }
    }

    fn try_take(&self, into: &mut Vec<u8>) -> bool {
        let mut first = self.first.borrow_mut();
        let mut rest = self.rest.borrow_mut();
        if first.is_empty() && rest.is_empty() {
            return false;
        }
        if into.capacity() > KEEP {
            *into = Vec::new();
        }
        if first.is_empty() {
            std::mem::swap(&mut *rest, into);
        } else {
            into.append(&mut first);
            into.append(&mut rest);
        }
        self.taken.set(into.len());
        true
    }

    /// Of what was taken so many bytes are left.
    pub fn left(&self, bytes: usize) {
        self.taken.set(bytes);
    }

    /// The connection went after so many bytes of what was taken; the frames that had not gone out
    /// whole go before the others again.
    pub fn put_back(&self, taken: &[u8], written: usize) {
        self.taken.set(0);
        let mut from = 0;
        while from < written {
            match Header::parse(&taken[from..]) {
                Ok(header) if from + header.frame_length() <= written => {
                    from += header.frame_length()
                }
                _ => break,
            }
        }
        let mut rest = self.rest.borrow_mut();
        let mut all = taken[from..].to_vec();
        all.append(&mut rest);
        *rest = all;
    }

    /// All that waits, for someone who cannot have it: each frame's header.
    pub fn drain(&self) -> Vec<Header> {
        self.first.borrow_mut().clear();
        let bytes = std::mem::take(&mut *self.rest.borrow_mut());
        let mut headers = Vec::new();
        let mut from = 0;
        while let Some(Ok(header)) = bytes.get(from..).map(Header::parse) {
            from += header.frame_length();
            headers.push(header);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use chameleon_proto::frame;
    use chameleon_proto::ids::{ArmorId, ArmorType, Epoch};
    use chameleon_proto::message::{Envelope, Message};

    use super::*;

    fn frame(number: u32) -> Vec<u8> {
        let armor = ArmorId::first(ArmorType(8), number);
        let message = Message::Ready;
        frame::seal(&Envelope { source: armor, destination: armor, epoch: Epoch(0), message })
            .unwrap()
    }

    fn numbers(queue: &Queue) -> Vec<u32> {
        queue.drain().iter().map(|header| header.source.number).collect()
    }

    #[test]
    fn it_is_full_until_what_was_taken_is_written() {
        let length = frame(1).len();
        let queue = Queue::new(2 * length);
        assert!(queue.put(&frame(1)) && queue.put(&frame(2)) && !queue.put(&frame(3)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut taken = Vec::new();
        assert!(runtime.block_on(queue.take(&mut taken)));
        assert!(!queue.put(&frame(3)), "nothing is written yet");
        queue.left(length);
        assert!(queue.put(&frame(3)));
        queue.close();
        assert!(!runtime.block_on(queue.take(&mut taken)));
    }

    #[test]
    fn what_did_not_go_out_whole_goes_again() {
        let length = frame(1).len();
        for (written, left) in
            [(0, vec![1, 2, 3]), (length - 1, vec![1, 2, 3]), (length, vec![2, 3])]
        {
            let queue = Queue::new(10 * length);
            queue.put_back(&[frame(1), frame(2)].concat(), written);
            assert!(queue.put(&frame(3)));
            assert_eq!(numbers(&queue), left, "{written}");
        }
    }

    #[test]
    fn pings_go_first() {
        let queue = Queue::new(1000);
        assert!(queue.put(&frame(1)));
        queue.put_first(&frame(2));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut taken = Vec::new();
        assert!(runtime.block_on(queue.take(&mut taken)));
        assert_eq!(Header::parse(&taken).unwrap().source.number, 2);
    }
}
