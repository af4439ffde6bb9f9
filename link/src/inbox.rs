//! What came in: bytes, then frames, then events for the caller.
//!
//! Invariant: events are in the order in which they came. Used by `lib`.

use std::collections::VecDeque;
use std::io;

use chameleon_proto::stream::Stream;

use crate::Event;
use crate::wire::Wire;

/// Bytes taken in before the caller is let to see what they are.
const TURN: usize = 1 << 20;

#[derive(Debug, Default)]
pub struct Inbox {
    pub events: VecDeque<Event>,
    pub stream: Stream,
}

impl Inbox {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Reads what is there.
    pub fn read(&mut self, wire: &mut Wire) -> io::Result<()> {
        let mut taken = 0;
        while taken < TURN {
            let space = self.stream.space();
            let room = space.len();
            let n = wire.read(space)?;
            self.stream.filled(n);
            taken += n;
            if n < room {
                break;
            }
        }
        Ok(())
    }
}
