//! The Fanout block: how far a replica may be behind the results that the others have.
//!
//! Invariant: the bound is one of speed and memory; what is decided does not depend on it.

use chameleon_proto::message::{Kind, Message};

use super::Shared;
use crate::armor::{Block, Outbox};

struct Fanout {
    dispatcher: Shared,
}

pub(super) fn build(dispatcher: &Shared) -> Box<dyn Block> {
    Box::new(Fanout { dispatcher: dispatcher.clone() })
}

impl Block for Fanout {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        match *message {
            Message::Attached => outbox.subscribe(Kind::SetSlack),
            Message::SetSlack { calls, bytes } => {
                self.dispatcher.borrow_mut().set_slack(calls, bytes);
            }
            _ => {}
        }
    }
}
