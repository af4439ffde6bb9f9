//! What a building block is, and how it speaks.
//!
//! Invariant: a block knows nothing of the other blocks; it hears messages and leaves messages.
//! Implemented by every block, called by the composition controller alone (paper 7.2).

use chameleon_proto::ids::{ArmorId, BlockId};
use chameleon_proto::message::{Change, Kind, Message};

/// A replaceable part of an ARMOR. Two blocks can stand for each other if they handle the same
/// kinds of messages and send the same kinds.
pub trait Block {
    /// Handles one message: the block's only entry.
    ///
    /// The first message of its life is [`Message::Attached`], upon which it subscribes to what it
    /// handles; the last is [`Message::Detached`]. Both come without a subscription. It must not
    /// block.
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox);
}

/// What a block wants said; it is sent after the block has returned.
#[derive(Debug)]
pub struct Outbox {
    own: ArmorId,
    block: BlockId,
    source: ArmorId,
    pub(super) letters: Vec<(ArmorId, Message)>,
}

impl Outbox {
    /// An empty one for the ARMOR `own`.
    pub(super) const fn new(own: ArmorId) -> Self {
        Self { own, block: BlockId(0), source: own, letters: Vec::new() }
    }

    /// Says who speaks next, and about whose message.
    pub(super) const fn turn_to(&mut self, block: BlockId, source: ArmorId) {
        self.block = block;
        self.source = source;
    }

    /// Sends a message to another ARMOR (or to this one).
    pub fn send(&mut self, to: ArmorId, message: Message) {
        self.letters.push((to, message));
    }

    /// Sends a message to the blocks of this ARMOR.
    pub fn post(&mut self, message: Message) {
        self.send(self.own, message);
    }

    /// Answers the sender of the message at hand.
    pub fn reply(&mut self, message: Message) {
        self.send(self.source, message);
    }

    /// Asks to be given messages of this kind from now on; asking again changes nothing.
    pub fn subscribe(&mut self, kind: Kind) {
        let block = self.block;
        self.post(Message::Subscribe { block, kind });
    }

    /// Asks for a change of this ARMOR's composition. It is made when every subscriber has had the
    /// message at hand and everything posted before has been handled.
    pub fn compose(&mut self, change: Change) {
        self.post(Message::Compose(change));
    }

    /// Who sent the message at hand; the ARMOR itself for messages between its blocks.
    pub const fn source(&self) -> ArmorId {
        self.source
    }

    /// The ARMOR the block is part of.
    pub const fn own(&self) -> ArmorId {
        self.own
    }
}
