//! The block that answers pings, ends the ARMOR when it is told to, and notes new epochs.
//!
//! Invariant: an answer is given between two messages, so an ARMOR whose blocks are stuck gives none
//! (paper 4.3: a hang is noticed by missing replies).

use chameleon_proto::ids::BlockId;
use chameleon_proto::message::{Kind, Message};
use chameleon_supervisor::armor::{Block, Outbox};

use crate::context::Context;

/// Its number.
pub(crate) const ALIVE: BlockId = BlockId(400);

struct Alive {
    context: Context,
    handled: u64,
}

pub(crate) fn build(context: &Context) -> Box<dyn Block> {
    Box::new(Alive { context: context.clone(), handled: 0 })
}

impl Block for Alive {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        match message {
            Message::Attached => {
                outbox.subscribe(Kind::Ping);
                outbox.subscribe(Kind::Shutdown);
            }
            Message::Ping { nonce } => {
                self.handled += 1;
                outbox.reply(Message::Pong { nonce: *nonce, calls: self.handled });
            }
            Message::Shutdown => self.context.end(),
            _ => {}
        }
    }
}
