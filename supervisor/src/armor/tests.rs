//! Tests of the runtime with blocks that note what they are given.

use chameleon_proto::event::{Event, Takeover};
use chameleon_proto::frame::{self, FrameError};
use chameleon_proto::ids::{ArmorId, ArmorType, BlockId, Epoch, NodeId};
use chameleon_proto::message::env::NewManager;
use chameleon_proto::message::{Change, Envelope, Kind, Message, Refusal};

use super::*;

mod blocks;

use blocks::*;

const TYPE: ArmorType = ArmorType(1);
const PARENT: ArmorId = ArmorId::first(ArmorType(9), 0);
const OWN: ArmorId = ArmorId::first(TYPE, 3);

/// A link that keeps what it carries, or fails.
#[derive(Default)]
struct Kept {
    sent: Vec<Envelope>,
    broken: bool,
}

impl Link for Kept {
    fn carry(&mut self, envelope: &Envelope) -> Result<(), LinkError> {
        if self.broken {
            return Err(LinkError::NoWay(envelope.destination));
        }
        self.sent.push(envelope.clone());
        Ok(())
    }
}

impl Kept {
    /// What was sent since the last time.
    fn take(&mut self) -> Vec<Message> {
        self.sent.drain(..).map(|envelope| envelope.message).collect()
    }
}

/// An ARMOR of these blocks, and what it wrote down since it was built.
fn armor(blocks: &'static [BlockId]) -> (Armor<Notes>, Notes, Kept) {
    let notes = Notes::default();
    let mut link = Kept::default();
    let entries = Box::leak(Box::new([ArmorEntry { kind: TYPE, name: "test", blocks }]));
    let factory = ArmorFactory::new(entries, BlockFactory::new(BLOCKS).unwrap()).unwrap();
    let armor = factory.build(OWN, Epoch(1), notes.clone(), &mut link).unwrap();
    notes.borrow_mut().clear();
    (armor, notes, link)
}

fn to_own(message: Message) -> Envelope {
    Envelope { source: PARENT, destination: OWN, epoch: Epoch(1), message }
}

fn ping() -> Envelope {
    to_own(Message::Ping { nonce: 7 })
}

fn compose(change: Change) -> Envelope {
    to_own(Message::Compose(change))
}

#[test]
fn a_message_goes_to_its_subscribers_in_the_order_of_composition() {
    let (mut armor, notes, mut link) = armor(&[LAST, PONG]);
    assert_eq!(armor.deliver(ping(), &mut link).unwrap(), 2);
    assert_eq!(*notes.borrow(), [(4, Kind::Ping), (1, Kind::Ping)]);
    assert_eq!(armor.deliver(to_own(Message::Shutdown), &mut link).unwrap(), 1);
    assert_eq!(notes.borrow()[2..], [(4, Kind::Shutdown)]);
    assert_eq!(armor.deliver(to_own(Message::SetTimeout { ns: 1 }), &mut link).unwrap(), 0);
}

#[test]
fn an_answer_goes_to_the_sender_over_the_link() {
    let (mut armor, _, mut link) = armor(&[PONG]);
    armor.deliver(ping(), &mut link).unwrap();
    let message = Message::Pong { nonce: 7, calls: 0 };
    let wanted = Envelope { source: OWN, destination: PARENT, epoch: Epoch(1), message };
    assert_eq!(link.sent, [wanted]);
}

#[test]
fn a_block_is_replaced_between_two_messages() {
    let (mut armor, notes, mut link) = armor(&[PONG, LAST]);
    armor.deliver(ping(), &mut link).unwrap();
    link.take();
    let change = Change::Replace { old: PONG, new: QUIET };
    armor.deliver(compose(change), &mut link).unwrap();
    assert_eq!(link.take(), [Message::Composed { change, refusal: None }]);
    armor.deliver(ping(), &mut link).unwrap();
    assert_eq!(link.take(), []);
    assert_eq!(
        *notes.borrow(),
        [
            (1, Kind::Ping),
            (4, Kind::Ping),
            (1, Kind::Detached),
            (2, Kind::Attached),
            (2, Kind::Ping),
            (4, Kind::Ping)
        ]
    );
    assert_eq!(armor.blocks().collect::<Vec<_>>(), [QUIET, LAST]);
}

#[test]
fn impossible_changes_are_refused_and_change_nothing() {
    let (mut armor, notes, mut link) = armor(&[PONG, LAST]);
    for (change, refusal) in [
        (Change::Add { block: UNKNOWN }, Refusal::Unknown(UNKNOWN)),
        (Change::Add { block: PONG }, Refusal::Present(PONG)),
        (Change::Remove { block: QUIET }, Refusal::Absent(QUIET)),
        (Change::Replace { old: QUIET, new: PONG }, Refusal::Absent(QUIET)),
        (Change::Replace { old: PONG, new: LAST }, Refusal::Present(LAST)),
        (Change::Replace { old: PONG, new: UNKNOWN }, Refusal::Unknown(UNKNOWN)),
    ] {
        armor.deliver(compose(change), &mut link).unwrap();
        assert_eq!(link.take(), [Message::Composed { change, refusal: Some(refusal) }]);
    }
    assert_eq!(armor.blocks().collect::<Vec<_>>(), [PONG, LAST]);
    assert_eq!(*notes.borrow(), []);
}

#[test]
fn a_removal_asked_for_while_processing_waits_for_the_message_at_hand() {
    let (mut armor, notes, mut link) = armor(&[REMOVER, LAST, WATCHER]);
    armor.deliver(ping(), &mut link).unwrap();
    assert_eq!(
        *notes.borrow(),
        [(3, Kind::Ping), (4, Kind::Ping), (4, Kind::Detached), (6, Kind::Composed)]
    );
    assert_eq!(armor.blocks().collect::<Vec<_>>(), [REMOVER, WATCHER]);
    notes.borrow_mut().clear();
    // The second ping reaches one block; taking the other out once more is refused.
    armor.deliver(ping(), &mut link).unwrap();
    assert_eq!(*notes.borrow(), [(3, Kind::Ping), (6, Kind::Composed)]);
    assert_eq!(link.take(), []);
}

#[test]
fn a_block_hears_what_became_of_the_change_it_asked_for() {
    let (mut armor, notes, mut link) = armor(&[WATCHER]);
    armor.deliver(to_own(Message::Shutdown), &mut link).unwrap();
    assert_eq!(*notes.borrow(), [(6, Kind::Shutdown), (6, Kind::Composed)]);
}

#[test]
fn a_block_taken_out_leaves_no_subscription_but_its_last_words() {
    let (mut armor, notes, mut link) = armor(&[CLINGING]);
    armor.deliver(compose(Change::Remove { block: CLINGING }), &mut link).unwrap();
    let farewell = Message::Report(Event::Takeover(Takeover { incarnation: 0, ms: 0.0 }));
    assert_eq!(link.take()[0], farewell);
    notes.borrow_mut().clear();
    armor.deliver(compose(Change::Add { block: CLINGING }), &mut link).unwrap();
    assert_eq!(armor.deliver(ping(), &mut link).unwrap(), 0);
    assert_eq!(*notes.borrow(), [(7, Kind::Attached)]);
}

#[test]
fn blocks_that_never_stop_are_stopped() {
    let (mut armor, notes, mut link) = armor(&[ENDLESS]);
    assert!(matches!(armor.deliver(ping(), &mut link), Err(ArmorError::Storm(1))));
    notes.borrow_mut().clear();
    // Nothing of the storm is left.
    armor.deliver(to_own(Message::Shutdown), &mut link).unwrap();
    assert_eq!(*notes.borrow(), []);
}

#[test]
fn what_is_not_for_this_life_of_this_armor_reaches_no_block() {
    let (mut armor, notes, mut link) = armor(&[PONG]);
    let other = ArmorId::first(TYPE, 4);
    let error = |armor: &mut Armor<Notes>, link: &mut Kept, change: &dyn Fn(&mut Envelope)| {
        let mut envelope = ping();
        change(&mut envelope);
        armor.deliver(envelope, link).unwrap_err()
    };
    let misrouted = error(&mut armor, &mut link, &|envelope| envelope.destination = other);
    assert!(matches!(misrouted, ArmorError::Misrouted { .. }));
    let late = error(&mut armor, &mut link, &|e| e.destination = OWN.successor());
    assert!(matches!(late, ArmorError::OtherLife { .. }));
    let stale = error(&mut armor, &mut link, &|envelope| envelope.epoch = Epoch(0));
    assert!(matches!(stale, ArmorError::Stale { .. }));
    let forged = Message::Subscribe { block: PONG, kind: Kind::Shutdown };
    let private = error(&mut armor, &mut link, &|e| e.message = forged.clone());
    assert!(matches!(private, ArmorError::Private(Kind::Subscribe)));
    assert_eq!(*notes.borrow(), []);
}

#[test]
fn a_claim_to_be_the_ftm_fences_off_older_epochs_and_nothing_else_does() {
    let (mut armor, _, mut link) = armor(&[PONG]);
    armor.deliver(Envelope { epoch: Epoch(5), ..ping() }, &mut link).unwrap();
    assert_eq!(armor.epoch(), Epoch(1));
    let claim = NewManager { ftm: PARENT, backup: None, node: NodeId(1) };
    let claim = Envelope { epoch: Epoch(5), ..to_own(Message::NewManager(claim)) };
    armor.deliver(claim, &mut link).unwrap();
    assert_eq!(armor.epoch(), Epoch(5));
    assert!(matches!(armor.deliver(ping(), &mut link), Err(ArmorError::Stale { .. })));
    armor.deliver(Envelope { epoch: Epoch(5), ..ping() }, &mut link).unwrap();
    assert_eq!(link.sent[1].epoch, Epoch(5));
    armor.raise(Epoch(4));
    assert_eq!(armor.epoch(), Epoch(5));
}

#[test]
fn a_broken_link_is_an_error_but_every_block_has_its_message() {
    let (mut armor, notes, mut link) = armor(&[PONG, LAST]);
    link.broken = true;
    assert!(matches!(armor.deliver(ping(), &mut link), Err(ArmorError::Link(_))));
    assert_eq!(*notes.borrow(), [(1, Kind::Ping), (4, Kind::Ping)]);
}

#[test]
fn a_frame_is_a_message() {
    let (mut armor, notes, mut link) = armor(&[PONG]);
    let mut bytes = frame::seal(&ping()).unwrap();
    let length = bytes.len();
    bytes.extend(b"the next one");
    assert_eq!(armor.deliver_frame(&bytes, &mut link).unwrap(), length);
    assert_eq!(*notes.borrow(), [(1, Kind::Ping)]);
    let short = armor.deliver_frame(&bytes[..length - 1], &mut link);
    assert!(matches!(short, Err(ArmorError::Frame(FrameError::Short { .. }))));
    bytes[20] ^= 1;
    let damaged = armor.deliver_frame(&bytes, &mut link);
    assert!(matches!(damaged, Err(ArmorError::Frame(FrameError::Checksum { .. }))));
    assert_eq!(notes.borrow().len(), 1);
}

#[test]
fn factories_know_what_is_registered_once() {
    static TWICE: &[BlockEntry<Notes>] = &[
        BlockEntry { id: PONG, name: "one", build: |n| noting(1, n, &[], NOTHING) },
        BlockEntry { id: PONG, name: "two", build: |n| noting(1, n, &[], NOTHING) },
    ];
    assert!(matches!(BlockFactory::new(TWICE), Err(FactoryError::BlockTwice(PONG))));
    let factory = || BlockFactory::new(BLOCKS).unwrap();
    let blocks = factory();
    assert_eq!(blocks.entry(LAST).map(|entry| entry.name), Some("last"));
    assert!(blocks.entry(UNKNOWN).is_none());

    static MISSING: &[ArmorEntry] =
        &[ArmorEntry { kind: TYPE, name: "bad", blocks: &[PONG, UNKNOWN] }];
    static DOUBLE: &[ArmorEntry] = &[ArmorEntry { kind: TYPE, name: "bad", blocks: &[PONG, PONG] }];
    for entries in [MISSING, DOUBLE] {
        assert!(matches!(ArmorFactory::new(entries, factory()), Err(FactoryError::Blocks { .. })));
    }
    static SAME: &[ArmorEntry] = &[
        ArmorEntry { kind: TYPE, name: "one", blocks: &[] },
        ArmorEntry { kind: TYPE, name: "two", blocks: &[] },
    ];
    assert!(matches!(ArmorFactory::new(SAME, factory()), Err(FactoryError::ArmorTwice(TYPE))));

    let factory = ArmorFactory::new(&SAME[..1], blocks).unwrap();
    let foreign = ArmorId::first(ArmorType(8), 0);
    let built = factory.build(foreign, Epoch(0), Notes::default(), &mut Kept::default());
    assert!(matches!(built, Err(FactoryError::UnknownArmor(ArmorType(8)))));
}
