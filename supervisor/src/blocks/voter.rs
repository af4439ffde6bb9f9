//! The Voter block: how many equal ballots decide, and how long the voter waits for late ones.
//!
//! Invariant: the number of replicas is fixed for a run; a mode with another number changes
//! nothing.

use std::time::Duration;

use chameleon_proto::message::{Kind, Message};

use super::Shared;
use crate::armor::{Block, Outbox};

struct Voter {
    dispatcher: Shared,
}

pub(super) fn build(dispatcher: &Shared) -> Box<dyn Block> {
    Box::new(Voter { dispatcher: dispatcher.clone() })
}

impl Block for Voter {
    fn process_message(&mut self, message: &Message, outbox: &mut Outbox) {
        match *message {
            Message::Attached => {
                outbox.subscribe(Kind::SetMode);
                outbox.subscribe(Kind::SetTimeout);
            }
            Message::SetMode(m) => {
                self.dispatcher.borrow_mut().set_mode(m.n, m.k, m.first, m.slack);
            }
            Message::SetTimeout { ns } => {
                self.dispatcher.borrow_mut().set_timeout(Duration::from_nanos(ns));
            }
            _ => {}
        }
    }
}
