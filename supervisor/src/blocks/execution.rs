//! The Execution block: the replica set as a whole, its life and its end.
//!
//! Invariant: answers a ping between two turns of the dispatcher, so an answer means that the ARMOR
//! gets on.

use chameleon_proto::message::{Kind, Message};

use super::Shared;
use crate::armor::{Block, Outbox};

struct Execution {
    dispatcher: Shared,
}

pub(super) fn build(dispatcher: &Shared) -> Box<dyn Block> {
    Box::new(Execution { dispatcher: dispatcher.clone() })
}

impl Block for Execution {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        match *message {
            Message::Attached => {
                outbox.subscribe(Kind::Ping);
                outbox.subscribe(Kind::Shutdown);
            }
            Message::Ping { nonce } => {
                let calls = self.dispatcher.borrow().calls();
                outbox.reply(Message::Pong { nonce, calls });
            }
            Message::Shutdown => self.dispatcher.borrow_mut().shut_down(),
            _ => {}
        }
    }
}
