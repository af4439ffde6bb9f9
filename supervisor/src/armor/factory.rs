//! Factories: from a registered number to a block or an ARMOR.
//!
//! Invariant: registration is static, a number stands for one thing, and an ARMOR's blocks are all
//! registered: a factory that exists can build whatever it names. Called when a process becomes an
//! ARMOR, and by the composition controller. Paper 7.4.

use chameleon_proto::ids::{ArmorId, ArmorType, BlockId, Epoch};
use chameleon_proto::message::Refusal;
use thiserror::Error;

use super::loaded::{self, Loader};
use super::{Armor, ArmorError, Block, Link};

/// A registered block. `C` is what the blocks of one ARMOR share (its arena, its kernel handles).
#[derive(Debug)]
pub struct BlockEntry<C: 'static> {
    /// Its number.
    pub id: BlockId,
    /// Its name, for people.
    pub name: &'static str,
    /// Makes one.
    pub build: fn(&C) -> Box<dyn Block>,
}

impl<C> Clone for BlockEntry<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for BlockEntry<C> {}

/// A registered type of ARMOR.
#[derive(Debug)]
pub struct ArmorEntry {
    /// Its number.
    pub kind: ArmorType,
    /// Its name: `ps` shows `chameleon: NAME …`.
    pub name: &'static str,
    /// Its blocks at birth, in the order in which they get a message.
    pub blocks: &'static [BlockId],
}

/// Why a factory cannot be, or cannot build.
#[derive(Debug, Error)]
pub enum FactoryError {
    /// Two blocks have one number.
    #[error("two blocks are registered as {0}")]
    BlockTwice(BlockId),
    /// Two types of ARMOR have one number.
    #[error("two types of ARMOR are registered as {}", .0.0)]
    ArmorTwice(ArmorType),
    /// A type of ARMOR needs a block that is not registered, or needs it twice.
    #[error("ARMOR {armor} cannot have {block}: it is not registered, or named twice")]
    Blocks {
        /// The type's name.
        armor: &'static str,
        /// The block.
        block: BlockId,
    },
    /// No such type of ARMOR.
    #[error("no type of ARMOR is registered as {}", .0.0)]
    UnknownArmor(ArmorType),
    /// The blocks' first messages could not be handled or sent.
    #[error(transparent)]
    Start(#[from] ArmorError),
}

/// Makes blocks: those that are registered, and those of shared libraries if it is given a directory of them.
#[derive(Debug)]
pub struct BlockFactory<C: 'static> {
    entries: &'static [BlockEntry<C>],
    loader: Option<Loader>,
}

impl<C> BlockFactory<C> {
    /// A factory of these blocks.
    ///
    /// # Errors
    /// [`FactoryError::BlockTwice`].
    pub fn new(entries: &'static [BlockEntry<C>]) -> Result<Self, FactoryError> {
        match twice(entries.iter().map(|entry| entry.id)) {
            Some(id) => Err(FactoryError::BlockTwice(id)),
            None => Ok(Self { entries, loader: None }),
        }
    }

    /// The same, with the blocks of shared libraries.
    #[must_use]
    pub fn with_loader(self, loader: Loader) -> Self {
        Self { loader: Some(loader), ..self }
    }

    /// Makes the block of this number.
    ///
    /// # Errors
    /// [`Refusal::Unknown`]; why a library is not loaded is on the standard error.
    pub(super) fn build(&self, id: BlockId, context: &C) -> Result<Box<dyn Block>, Refusal> {
        if let Some(entry) = self.entry(id) {
            return Ok((entry.build)(context));
        }
        match self.loader.as_ref().filter(|_| loaded::is_loaded(id)) {
            Some(loader) => loader.load(id).map_err(|error| {
                eprintln!("chameleon: {id}: {error}");
                Refusal::Unknown(id)
            }),
            None => Err(Refusal::Unknown(id)),
        }
    }

    /// The registered block of this number.
    pub fn entry(&self, id: BlockId) -> Option<&'static BlockEntry<C>> {
        self.entries.iter().find(|entry| entry.id == id)
    }
}

/// Makes ARMORs.
#[derive(Debug)]
pub struct ArmorFactory<C: 'static> {
    entries: &'static [ArmorEntry],
    blocks: BlockFactory<C>,
}

impl<C> ArmorFactory<C> {
    /// A factory of these ARMORs, made of these blocks.
    ///
    /// # Errors
    /// [`FactoryError::ArmorTwice`], [`FactoryError::Blocks`].
    pub fn new(
        entries: &'static [ArmorEntry],
        blocks: BlockFactory<C>,
    ) -> Result<Self, FactoryError> {
        if let Some(kind) = twice(entries.iter().map(|entry| entry.kind)) {
            return Err(FactoryError::ArmorTwice(kind));
        }
        for entry in entries {
            let unknown = entry.blocks.iter().find(|id| blocks.entry(**id).is_none()).copied();
            if let Some(block) = unknown.or_else(|| twice(entry.blocks.iter().copied())) {
                return Err(FactoryError::Blocks { armor: entry.name, block });
            }
        }
        Ok(Self { entries, blocks })
    }

    /// The registered type of this number.
    pub fn entry(&self, kind: ArmorType) -> Option<&'static ArmorEntry> {
        self.entries.iter().find(|entry| entry.kind == kind)
    }

    /// Builds the ARMOR `id` with the blocks of its type, each attached.
    ///
    /// # Errors
    /// [`FactoryError::UnknownArmor`], [`FactoryError::Start`].
    pub fn build(
        self,
        id: ArmorId,
        epoch: Epoch,
        context: C,
        link: &mut dyn Link,
    ) -> Result<Armor<C>, FactoryError> {
        let entry = self.entry(id.kind).ok_or(FactoryError::UnknownArmor(id.kind))?;
        Ok(Armor::start(id, entry, epoch, self.blocks, context, link)?)
    }
}

/// The first item that comes twice.
fn twice<T: PartialEq + Copy>(items: impl Iterator<Item = T> + Clone) -> Option<T> {
    items
        .clone()
        .enumerate()
        .find(|(index, item)| items.clone().take(*index).any(|other| other == *item))
        .map(|(_, item)| item)
}
