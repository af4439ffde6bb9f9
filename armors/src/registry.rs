//! Which types of ARMOR there are, and which blocks (paper 7.4).
//!
//! Invariant: a number stands for one thing for ever (ADR 0020 says which ranges are whose).

use chameleon_supervisor::armor::{
    ArmorEntry, ArmorFactory, BlockEntry, BlockFactory, FactoryError,
};

use crate::common;
use crate::context::Context;

static BLOCKS: &[BlockEntry<Context>] =
    &[BlockEntry { id: common::ALIVE, name: "Alive", build: common::alive }];

static ARMORS: &[ArmorEntry] = &[];

/// The factory of this program.
///
/// # Errors
/// [`FactoryError`]; none while the tables above are right.
pub(crate) fn factory() -> Result<ArmorFactory<Context>, FactoryError> {
    ArmorFactory::new(ARMORS, BlockFactory::new(BLOCKS)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_registered_can_be_built() {
        assert!(super::factory().is_ok());
    }
}
