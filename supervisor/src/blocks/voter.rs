//! The Voter block: how many equal ballots decide, and how long the voter waits for late ones.
//!
//! Invariant: a mode that the run cannot have changes nothing. Whoever asks for one asks beforehand whether it
//! can (`runs/serve.rs`).

use std::time::Duration;

use chameleon_policy::mode::Mode;
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
                if let Some(mode) = Mode::of_numbers(m.n, m.k, m.first, m.slack) {
                    let _ = self.dispatcher.borrow_mut().change_mode(mode);
                }
            }
            Message::SetTimeout { ns } => {
                self.dispatcher.borrow_mut().set_timeout(Duration::from_nanos(ns));
            }
            _ => {}
        }
    }
}
