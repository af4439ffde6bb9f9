//! Message dispatch: which blocks have asked for which kinds.
//!
//! Invariant: a pair of kind and block is held once; a block that was taken out is not held.
//! Nothing in a message names a block, so this is the only way to one. Used by the runtime. Paper
//! 7.3.

use chameleon_proto::ids::BlockId;
use chameleon_proto::message::{Kind, Message};

/// The subscriptions of one ARMOR.
#[derive(Debug, Default)]
pub struct MessageDispatch {
    subscriptions: Vec<(Kind, BlockId)>,
}

impl MessageDispatch {
    /// Handles a [`Message::Subscribe`]; returns whether it was one.
    pub fn process_message(&mut self, message: &Message) -> bool {
        let Message::Subscribe { block, kind } = *message else {
            return false;
        };
        if !self.wants(block, kind) {
            self.subscriptions.push((kind, block));
        }
        true
    }

    /// Whether a block subscribed to a kind.
    pub fn wants(&self, block: BlockId, kind: Kind) -> bool {
        self.subscriptions.contains(&(kind, block))
    }

    /// Forgets a block.
    pub(super) fn forget(&mut self, block: BlockId) {
        self.subscriptions.retain(|(_, subscriber)| *subscriber != block);
    }
}
