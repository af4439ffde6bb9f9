//! An ARMOR: takes messages in, lets its blocks handle them, sends what they say.
//!
//! Invariant: messages are handled one at a time, in order: first the one that came, then what the
//! blocks said to each other about it, until nothing is waiting. A message for another life of the
//! ARMOR, or from a part that has been replaced (an older epoch), is refused before a block sees
//! it. Driven by the main loop of an ARMOR process.

use chameleon_policy::epoch::{self, Admission};
use chameleon_proto::frame::{self, FrameError};
use chameleon_proto::ids::{ArmorId, BlockId, Epoch};
use chameleon_proto::message::{Change, Envelope, Kind, Message, Refusal};
use thiserror::Error;

use super::{
    ArmorEntry, BlockFactory, CompositionController, Link, LinkError, MessageDispatch, MessageSend,
    Outbox,
};

/// How many messages blocks may send to each other because of one message from outside. More is
/// two blocks that answer each other for ever.
const MOST_INSIDE: usize = 1024;

/// Why a message was not, or not completely, handled.
#[derive(Debug, Error)]
pub enum ArmorError {
    /// It is for another ARMOR.
    #[error("a message for {to} came to {own}")]
    Misrouted {
        /// Whom it is for.
        to: ArmorId,
        /// Who got it.
        own: ArmorId,
    },
    /// It is for another life of this ARMOR.
    #[error("a message for {to} came to {own}, another life of it")]
    OtherLife {
        /// Whom it is for.
        to: ArmorId,
        /// Who got it.
        own: ArmorId,
    },
    /// Its sender knows only an older composition of the run.
    #[error("a message of epoch {} came in epoch {}", .sent.0, .own.0)]
    Stale {
        /// The sender's epoch.
        sent: Epoch,
        /// The ARMOR's.
        own: Epoch,
    },
    /// It is a message that only passes inside an ARMOR.
    #[error("a message of kind {0:?} came from outside")]
    Private(Kind),
    /// The blocks did not stop sending messages to each other; the rest was dropped.
    #[error("blocks went on sending each other messages; {0} were dropped")]
    Storm(usize),
    /// A message could not be sent; the others were. The first such error is kept.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The bytes are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The composition a type is registered with was refused.
    #[error("a block cannot be part of the ARMOR: {0:?}")]
    Refused(Refusal),
}

/// A running ARMOR. `C` is what its blocks share.
pub struct Armor<C: 'static> {
    id: ArmorId,
    name: &'static str,
    epoch: Epoch,
    dispatch: MessageDispatch,
    controller: CompositionController<C>,
    send: MessageSend,
    outbox: Outbox,
}

impl<C> Armor<C> {
    /// An ARMOR with the blocks of its type; see [`super::ArmorFactory::build`], which has checked
    /// them.
    pub(super) fn start(
        id: ArmorId,
        entry: &ArmorEntry,
        epoch: Epoch,
        factory: BlockFactory<C>,
        context: C,
        link: &mut dyn Link,
    ) -> Result<Self, ArmorError> {
        let mut armor = Self {
            id,
            name: entry.name,
            epoch,
            dispatch: MessageDispatch::default(),
            controller: CompositionController::new(id, factory, context),
            send: MessageSend::new(id),
            outbox: Outbox::new(id),
        };
        for &block in entry.blocks {
            let Self { controller, dispatch, outbox, .. } = &mut armor;
            controller
                .apply(Change::Add { block }, dispatch, outbox)
                .map_err(ArmorError::Refused)?;
        }
        armor.run(link).map(|_| armor)
    }

    /// Its name.
    pub const fn id(&self) -> ArmorId {
        self.id
    }

    /// The name of its type.
    pub const fn type_name(&self) -> &'static str {
        self.name
    }

    /// The newest composition of the run that it has heard of.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its blocks, in the order in which they get a message.
    pub fn blocks(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.controller.blocks()
    }

    /// What its blocks share; the path of a call uses this, not messages.
    pub const fn context(&self) -> &C {
        self.controller.context()
    }

    /// Takes in the frame at the beginning of `bytes`; returns how many of them it took.
    ///
    /// # Errors
    /// Any [`ArmorError`]; `Frame(Short)` means that more bytes are needed.
    pub fn deliver_frame(
        &mut self,
        bytes: &[u8],
        link: &mut dyn Link,
    ) -> Result<usize, ArmorError> {
        let (envelope, used) = frame::open(bytes)?;
        self.deliver(envelope, link)?;
        Ok(used)
    }

    /// Takes in a message and all that follows from it; returns how often a block was given one.
    /// A kind that nobody subscribed to is dropped.
    ///
    /// # Errors
    /// [`ArmorError`]: `Misrouted`, `OtherLife`, `Stale`, `Private` before a block saw it,
    /// `Storm`, `Link` after.
    pub fn deliver(
        &mut self,
        envelope: Envelope,
        link: &mut dyn Link,
    ) -> Result<usize, ArmorError> {
        let Envelope { source, destination: to, epoch, message } = envelope;
        let own = self.id;
        if !to.same_armor(own) {
            return Err(ArmorError::Misrouted { to, own });
        }
        if to.incarnation != own.incarnation {
            return Err(ArmorError::OtherLife { to, own });
        }
        match epoch::admit(self.epoch, epoch, message.kind()) {
            Admission::Old => return Err(ArmorError::Stale { sent: epoch, own: self.epoch }),
            Admission::Learn => self.epoch = epoch,
            Admission::Pass | Admission::Ahead => {}
        }
        if !message.kind().may_travel() {
            return Err(ArmorError::Private(message.kind()));
        }
        self.send.enqueue(source, message);
        self.run(link)
    }

    /// Takes in what the ARMOR's own main loop has to tell its blocks; as [`Armor::deliver`].
    ///
    /// # Errors
    /// [`ArmorError::Storm`], `Link`.
    pub fn tell(&mut self, message: Message, link: &mut dyn Link) -> Result<usize, ArmorError> {
        self.send.enqueue(self.id, message);
        self.run(link)
    }

    /// From here on the epoch is at least this one: for an ARMOR that begins it.
    pub fn raise(&mut self, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
    }

    /// Handles what is waiting until nothing is.
    fn run(&mut self, link: &mut dyn Link) -> Result<usize, ArmorError> {
        let mut had = 0;
        let mut outcome = self.post(link);
        for _ in 0..=MOST_INSIDE {
            let Some((source, message)) = self.send.next() else {
                return outcome.map(|()| had).map_err(ArmorError::from);
            };
            match message {
                Message::Compose(change) => self.change(source, change),
                _ => {
                    let Self { controller, dispatch, outbox, .. } = self;
                    had += controller.forward(source, &message, dispatch, outbox);
                }
            }
            outcome = outcome.and(self.post(link));
        }
        match self.send.clear() {
            0 => outcome.map(|()| had).map_err(ArmorError::from),
            dropped => Err(ArmorError::Storm(dropped)),
        }
    }

    /// Changes the composition and tells the one who asked, if that was another ARMOR or a block.
    fn change(&mut self, source: ArmorId, change: Change) {
        let refusal = self.controller.apply(change, &mut self.dispatch, &mut self.outbox).err();
        self.outbox.send(source, Message::Composed { change, refusal });
    }

    /// Sends what the blocks have said. Subscriptions count at once: a new block must not miss
    /// the messages that are waiting already.
    fn post(&mut self, link: &mut dyn Link) -> Result<(), LinkError> {
        let mut outcome = Ok(());
        for (to, message) in self.outbox.letters.drain(..) {
            if to.same_armor(self.id) && self.dispatch.process_message(&message) {
                continue;
            }
            let sent = self.send.send(to, message, self.epoch, link);
            outcome = outcome.and(sent);
        }
        outcome
    }
}
