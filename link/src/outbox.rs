//! Which messages are on their way, so that the caller can be told which are lost.
//!
//! ```text
//!  sent ──written whole──► doubtful ──the daemon says that it read them──► forgotten
//! ```
//!
//! Invariant: a message is in this list until the daemon has confirmed it; the daemon is asked after
//! [`MANY`] of them, and [`SOON`] after the first of fewer. Used by `lib`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use chameleon_proto::ids::ArmorId;
use chameleon_proto::message::Kind;

/// After so many messages the daemon is asked what it has read.
const MANY: u64 = 512;
/// And at the latest after this time.
const SOON: Duration = Duration::from_millis(100);
/// So many that are not confirmed are too many.
const FULL: usize = 1 << 16;

/// A message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// To whom.
    pub destination: ArmorId,
    /// What it was.
    pub kind: Kind,
}

/// Messages that went down with a connection, each list in the order of sending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// These went out; whether the daemon read them is not known. Those before them it did read.
    pub doubtful: Vec<Sent>,
    /// These did not go out.
    pub unsent: Vec<Sent>,
}

#[derive(Debug, Default)]
pub struct Outbox {
    open: VecDeque<(Sent, u64)>,
    /// Messages sent, asked about and confirmed on this connection; bytes put and written.
    sent: u64,
    asked: u64,
    confirmed: u64,
    put: u64,
    written: u64,
    asks_at: Option<Instant>,
}

impl Outbox {
    pub fn is_full(&self) -> bool {
        self.open.len() >= FULL
    }

    pub fn sent(&mut self, destination: ArmorId, kind: Kind, bytes: usize) {
        self.put += bytes as u64;
        self.sent += 1;
        self.open.push_back((Sent { destination, kind }, self.put));
        if self.asks_at.is_none() {
            self.asks_at = Some(Instant::now() + SOON);
        }
    }

    /// Bytes that are no message of the caller's.
    pub const fn more(&mut self, bytes: usize) {
        self.put += bytes as u64;
    }

    pub const fn written(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    pub const fn is_time_to_ask(&self) -> bool {
        self.sent - self.asked >= MANY
    }

    /// When the daemon is to be asked.
    pub const fn asks_at(&self) -> Option<Instant> {
        self.asks_at
    }

    /// The daemon is asked now; what it shall say.
    pub const fn ask(&mut self) -> u64 {
        self.asked = self.sent;
        self.asks_at = None;
        self.sent
    }

    /// The daemon says that it has read so many.
    pub fn confirmed(&mut self, upto: u64) {
        // Never more than were sent, nor fewer than before, whatever it says.
        while self.confirmed < upto.min(self.sent) {
            self.open.pop_front();
            self.confirmed += 1;
        }
    }

    /// The connection is gone.
    pub fn lose(&mut self) -> Lost {
        let before = std::mem::take(self);
        let mut lost = Lost::default();
        for (sent, end) in before.open {
            let list = if end <= before.written { &mut lost.doubtful } else { &mut lost.unsent };
            list.push(sent);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use chameleon_proto::ids::armors;

    use super::*;

    #[test]
    fn what_was_lost_is_known_by_how_far_it_got() {
        let mut outbox = Outbox::default();
        let to = |number| ArmorId::first(armors::VOTER, number);
        for number in 0..5 {
            outbox.sent(to(number), Kind::Note, 10);
        }
        assert_eq!(outbox.ask(), 5);
        outbox.more(10);
        outbox.written(35);
        outbox.confirmed(2);
        outbox.confirmed(1);
        let numbers =
            |list: &[Sent]| list.iter().map(|sent| sent.destination.number).collect::<Vec<_>>();
        let lost = outbox.lose();
        assert_eq!(numbers(&lost.doubtful), [2]);
        assert_eq!(numbers(&lost.unsent), [3, 4]);
        assert_eq!(outbox.lose(), Lost::default());
    }

    #[test]
    fn a_daemon_cannot_confirm_what_was_not_sent() {
        let mut outbox = Outbox::default();
        outbox.sent(ArmorId::first(armors::VOTER, 1), Kind::Note, 10);
        outbox.confirmed(u64::MAX);
        outbox.sent(ArmorId::first(armors::VOTER, 2), Kind::Note, 10);
        assert_eq!(outbox.lose().unsent.len(), 1);
    }
}
