//! The composition controller: owns the blocks, hands them messages, exchanges them.
//!
//! Invariant: a refused change changes nothing; between `Attached` and `Detached` a block is in
//! exactly one place. It is the only one that ever touches a block, and since both a change and a
//! message need it whole (`&mut`), no block can be exchanged while it processes. Itself it cannot
//! be exchanged. Used by the runtime. Paper 7.3.

use chameleon_proto::ids::{ArmorId, BlockId};
use chameleon_proto::message::{Change, Message, Refusal};

use super::{Block, BlockFactory, MessageDispatch, Outbox};

/// The blocks of one ARMOR, in the order in which they get a message.
pub struct CompositionController<C: 'static> {
    own: ArmorId,
    factory: BlockFactory<C>,
    context: C,
    slots: Vec<Slot>,
}

struct Slot {
    id: BlockId,
    block: Box<dyn Block>,
}

impl<C> CompositionController<C> {
    /// No blocks yet.
    pub(super) const fn new(own: ArmorId, factory: BlockFactory<C>, context: C) -> Self {
        Self { own, factory, context, slots: Vec::new() }
    }

    /// The blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.slots.iter().map(|slot| slot.id)
    }

    /// What the blocks share.
    pub const fn context(&self) -> &C {
        &self.context
    }

    /// Hands a message to every block that subscribed to its kind; returns how many had it.
    pub(super) fn forward(
        &mut self,
        source: ArmorId,
        message: &Message,
        dispatch: &MessageDispatch,
        outbox: &mut Outbox,
    ) -> usize {
        let mut had = 0;
        for slot in &mut self.slots {
            if dispatch.wants(slot.id, message.kind()) {
                outbox.turn_to(slot.id, source);
                slot.block.process_message(message, outbox);
                had += 1;
            }
        }
        had
    }

    /// Makes a change.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing has changed.
    pub(super) fn apply(
        &mut self,
        change: Change,
        dispatch: &mut MessageDispatch,
        outbox: &mut Outbox,
    ) -> Result<(), Refusal> {
        match change {
            Change::Add { block } => {
                self.absent(block)?;
                let slot = self.build(block)?;
                self.slots.push(slot);
                self.attach(self.slots.len() - 1, outbox);
            }
            Change::Remove { block } => {
                let place = self.place(block)?;
                self.detach(place, dispatch, outbox);
                self.slots.remove(place);
            }
            Change::Replace { old, new } => {
                let place = self.place(old)?;
                if new != old {
                    self.absent(new)?;
                }
                let slot = self.build(new)?;
                self.detach(place, dispatch, outbox);
                self.slots[place] = slot;
                self.attach(place, outbox);
            }
        }
        Ok(())
    }

    fn place(&self, id: BlockId) -> Result<usize, Refusal> {
        self.slots.iter().position(|slot| slot.id == id).ok_or(Refusal::Absent(id))
    }

    fn absent(&self, id: BlockId) -> Result<(), Refusal> {
        if self.place(id).is_ok() { Err(Refusal::Present(id)) } else { Ok(()) }
    }

    fn build(&self, id: BlockId) -> Result<Slot, Refusal> {
        Ok(Slot { id, block: self.factory.build(id, &self.context)? })
    }

    fn attach(&mut self, place: usize, outbox: &mut Outbox) {
        let slot = &mut self.slots[place];
        outbox.turn_to(slot.id, self.own);
        slot.block.process_message(&Message::Attached, outbox);
    }

    fn detach(&mut self, place: usize, dispatch: &mut MessageDispatch, outbox: &mut Outbox) {
        let slot = &mut self.slots[place];
        outbox.turn_to(slot.id, self.own);
        slot.block.process_message(&Message::Detached, outbox);
        let own = slot.id;
        dispatch.forget(own);
        // A subscription in its last words would outlive it.
        outbox.letters.retain(
            |(_, letter)| !matches!(letter, Message::Subscribe { block, .. } if *block == own),
        );
    }
}
