//! Message send: where a message goes that a block left.
//!
//! Invariant: a message for this ARMOR stays in it, in the order it was left; any other goes to
//! the link, once. A link that fails does not stop the messages behind it. Used by the runtime.
//! Paper 7.3.

use std::collections::VecDeque;
use std::io;

use chameleon_proto::ids::{ArmorId, Epoch};
use chameleon_proto::message::{Envelope, Message};
use thiserror::Error;

/// The way to other ARMORs: a socket to the supervisor, a daemon, or a test's list.
pub trait Link {
    /// Takes a message on its way; must not wait for the receiver.
    ///
    /// # Errors
    /// [`LinkError`] if it cannot be on its way.
    fn carry(&mut self, envelope: &Envelope) -> Result<(), LinkError>;
}

/// Why a message is not on its way.
#[derive(Debug, Error)]
pub enum LinkError {
    /// There is no way to this ARMOR.
    #[error("no way to {0}")]
    NoWay(ArmorId),
    /// The message does not fit a frame.
    #[error("a message cannot be framed: {0}")]
    Frame(#[from] chameleon_proto::frame::FrameError),
    /// Writing failed.
    #[error("a message cannot be sent: {0}")]
    Io(#[from] io::Error),
}

/// What an ARMOR's blocks have said to each other and not yet heard.
#[derive(Debug)]
pub struct MessageSend {
    own: ArmorId,
    inside: VecDeque<(ArmorId, Message)>,
}

impl MessageSend {
    /// Nothing is waiting.
    pub const fn new(own: ArmorId) -> Self {
        Self { own, inside: VecDeque::new() }
    }

    /// Queues a message for the blocks of this ARMOR.
    pub(super) fn enqueue(&mut self, source: ArmorId, message: Message) {
        self.inside.push_back((source, message));
    }

    /// The next message for the blocks, and who sent it.
    pub(super) fn next(&mut self) -> Option<(ArmorId, Message)> {
        self.inside.pop_front()
    }

    /// Drops what is waiting; returns how much that was.
    pub(super) fn clear(&mut self) -> usize {
        let waiting = self.inside.len();
        self.inside.clear();
        waiting
    }

    /// Sends a message where it belongs.
    ///
    /// # Errors
    /// The link's.
    pub(super) fn send(
        &mut self,
        to: ArmorId,
        message: Message,
        epoch: Epoch,
        link: &mut dyn Link,
    ) -> Result<(), LinkError> {
        if to.same_armor(self.own) {
            self.enqueue(self.own, message);
            return Ok(());
        }
        link.carry(&Envelope { source: self.own, destination: to, epoch, message })
    }
}
