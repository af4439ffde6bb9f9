//! The blocks of the tests: each notes what it is given, some do a little.

use std::cell::RefCell;
use std::rc::Rc;

use chameleon_proto::event::{Event, Takeover};
use chameleon_proto::ids::BlockId;
use chameleon_proto::message::{Change, Kind, Message};

use super::super::{Block, BlockEntry, Outbox};

/// What the blocks were given: which block, which kind.
pub(super) type Notes = Rc<RefCell<Vec<(u16, Kind)>>>;

/// Notes its messages, and does what it was made to do when it hears one.
struct Noting {
    id: u16,
    notes: Notes,
    kinds: &'static [Kind],
    act: fn(&Message, &mut Outbox),
}

impl Block for Noting {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        self.notes.borrow_mut().push((self.id, message.kind()));
        if *message == Message::Attached {
            self.kinds.iter().for_each(|kind| outbox.subscribe(*kind));
        }
        (self.act)(message, outbox);
    }
}

pub(super) fn noting(
    id: u16,
    notes: &Notes,
    kinds: &'static [Kind],
    act: fn(&Message, &mut Outbox),
) -> Box<dyn Block> {
    Box::new(Noting { id, notes: notes.clone(), kinds, act })
}

/// Answers pings.
pub(super) const PONG: BlockId = BlockId(1);
/// Hears pings only; can stand in for `PONG`.
pub(super) const QUIET: BlockId = BlockId(2);
/// On a ping takes `LAST` out.
pub(super) const REMOVER: BlockId = BlockId(3);
/// Hears pings and shutdowns.
pub(super) const LAST: BlockId = BlockId(4);
/// On a ping posts a timeout, on a timeout too: it never stops.
pub(super) const ENDLESS: BlockId = BlockId(5);
/// Hears what becomes of changes, and on shutdown asks for one that is refused.
pub(super) const WATCHER: BlockId = BlockId(6);
/// Subscribes while it is taken out, and sends farewell.
pub(super) const CLINGING: BlockId = BlockId(7);
pub(super) const UNKNOWN: BlockId = BlockId(99);

pub(super) const NOTHING: fn(&Message, &mut Outbox) = |_, _| {};

pub(super) static BLOCKS: &[BlockEntry<Notes>] = &[
    BlockEntry {
        id: PONG,
        name: "pong",
        build: |notes| {
            noting(1, notes, &[Kind::Ping], |message, outbox| {
                if let Message::Ping { nonce } = *message {
                    outbox.reply(Message::Pong { nonce, calls: 0 });
                }
            })
        },
    },
    BlockEntry {
        id: QUIET,
        name: "quiet",
        build: |notes| noting(2, notes, &[Kind::Ping], NOTHING),
    },
    BlockEntry {
        id: REMOVER,
        name: "remover",
        build: |notes| {
            noting(3, notes, &[Kind::Ping], |message, outbox| {
                if matches!(message, Message::Ping { .. }) {
                    outbox.compose(Change::Remove { block: LAST });
                }
            })
        },
    },
    BlockEntry {
        id: LAST,
        name: "last",
        build: |notes| noting(4, notes, &[Kind::Ping, Kind::Shutdown], NOTHING),
    },
    BlockEntry {
        id: ENDLESS,
        name: "endless",
        build: |notes| {
            noting(5, notes, &[Kind::Ping, Kind::SetTimeout], |message, outbox| {
                if message.kind() != Kind::Attached {
                    outbox.post(Message::SetTimeout { ns: 1 });
                }
            })
        },
    },
    BlockEntry {
        id: WATCHER,
        name: "watcher",
        build: |notes| {
            noting(6, notes, &[Kind::Composed, Kind::Shutdown], |message, outbox| {
                if *message == Message::Shutdown {
                    outbox.compose(Change::Add { block: UNKNOWN });
                }
            })
        },
    },
    BlockEntry {
        id: CLINGING,
        name: "clinging",
        build: |notes| {
            noting(7, notes, &[], |message, outbox| {
                if *message == Message::Detached {
                    outbox.subscribe(Kind::Ping);
                    let farewell = Event::Takeover(Takeover { incarnation: 0, ms: 0.0 });
                    outbox.send(super::PARENT, Message::Report(farewell));
                }
            })
        },
    },
];
