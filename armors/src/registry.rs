//! Which types of ARMOR there are, and which blocks (paper 7.4).
//!
//! Invariant: a number stands for one thing for ever (ADR 0020 says which ranges are whose).

use chameleon_supervisor::armor::{
    ArmorEntry, ArmorFactory, BlockEntry, BlockFactory, FactoryError,
};

use chameleon_proto::ids::armors;

use crate::common;
use crate::context::Context;
use crate::{execution, surrogate, voter};

static BLOCKS: &[BlockEntry<Context>] = &[
    BlockEntry { id: common::ALIVE, name: "Alive", build: common::alive },
    BlockEntry { id: execution::FOLLOW, name: "Follow", build: execution::build },
    BlockEntry { id: surrogate::MANAGE, name: "Manage", build: surrogate::build },
    BlockEntry { id: surrogate::IN_PLACE, name: "RecoverInPlace", build: surrogate::in_place },
    BlockEntry { id: surrogate::MOVE, name: "RecoverElsewhere", build: surrogate::move_away },
    BlockEntry { id: voter::EXACT, name: "VoteExact", build: voter::exact },
    BlockEntry { id: voter::TOLERANCE, name: "VoteTolerance", build: voter::tolerance },
    BlockEntry { id: voter::GATHER, name: "Gather", build: voter::build },
];

static ARMORS: &[ArmorEntry] = &[
    ArmorEntry {
        kind: armors::EXECUTION,
        name: "EXECUTION",
        blocks: &[common::ALIVE, execution::FOLLOW],
    },
    ArmorEntry {
        kind: armors::SURROGATE,
        name: "SURROGATE",
        blocks: &[common::ALIVE, surrogate::MANAGE, surrogate::IN_PLACE],
    },
    ArmorEntry {
        kind: armors::VOTER,
        name: "VOTER",
        blocks: &[common::ALIVE, voter::EXACT, voter::GATHER],
    },
];

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
