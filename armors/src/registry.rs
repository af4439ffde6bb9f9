//! Which types of ARMOR there are, and which blocks (paper 7.4).
//!
//! Invariant: a number stands for one thing for ever (ADR 0020 says which ranges are whose).

use chameleon_proto::ids::armors;
use chameleon_supervisor::armor::{
    ArmorEntry, ArmorFactory, BlockEntry, BlockFactory, FactoryError, Loader,
};

use crate::context::Context;
use crate::{
    backup, checkpoint, common, execution, ftm, heartbeat, initialization, surrogate, voter,
};

static BLOCKS: &[BlockEntry<Context>] = &[
    BlockEntry { id: common::ALIVE, name: "Alive", build: common::alive },
    ftm::ENTRIES[0],
    ftm::ENTRIES[1],
    ftm::ENTRIES[2],
    ftm::ENTRIES[3],
    ftm::ENTRIES[4],
    ftm::ENTRIES[5],
    backup::ENTRIES[0],
    backup::ENTRIES[1],
    heartbeat::ENTRIES[0],
    heartbeat::ENTRIES[1],
    initialization::ENTRIES[0],
    BlockEntry { id: execution::FOLLOW, name: "Follow", build: execution::build },
    BlockEntry { id: surrogate::MANAGE, name: "Manage", build: surrogate::build },
    BlockEntry { id: surrogate::IN_PLACE, name: "RecoverInPlace", build: surrogate::in_place },
    BlockEntry { id: surrogate::MOVE, name: "RecoverElsewhere", build: surrogate::move_away },
    BlockEntry { id: voter::EXACT, name: "VoteExact", build: voter::exact },
    BlockEntry { id: voter::TOLERANCE, name: "VoteTolerance", build: voter::tolerance },
    BlockEntry { id: voter::GATHER, name: "Gather", build: voter::build },
    BlockEntry { id: checkpoint::KEEP, name: "Keep", build: checkpoint::build },
];

static ARMORS: &[ArmorEntry] = &[
    ArmorEntry {
        kind: armors::EXECUTION,
        name: "execution",
        blocks: &[common::ALIVE, execution::FOLLOW],
    },
    ArmorEntry {
        kind: armors::SURROGATE,
        name: "surrogate",
        blocks: &[common::ALIVE, surrogate::MANAGE, surrogate::IN_PLACE],
    },
    ArmorEntry {
        kind: armors::VOTER,
        name: "voter",
        blocks: &[common::ALIVE, voter::EXACT, voter::GATHER],
    },
    ArmorEntry {
        kind: armors::CHECKPOINT,
        name: "checkpoint",
        blocks: &[common::ALIVE, checkpoint::KEEP],
    },
    ArmorEntry {
        kind: armors::FTM,
        name: "ftm",
        blocks: &[
            common::ALIVE,
            ftm::TABLES,
            ftm::NODES,
            ftm::RECOVERY,
            ftm::APPLICATIONS,
            ftm::EVENTS,
            ftm::DESK,
        ],
    },
    ArmorEntry {
        kind: armors::BACKUP_FTM,
        name: "backup-ftm",
        blocks: &[common::ALIVE, backup::MIRROR, backup::WATCH],
    },
    ArmorEntry {
        kind: armors::HEARTBEAT,
        name: "heartbeat",
        blocks: &[common::ALIVE, heartbeat::PING],
    },
    ArmorEntry {
        kind: armors::INITIALIZATION,
        name: "initialization",
        blocks: &[common::ALIVE, initialization::EXAMINE],
    },
];

/// The factory of this program, for the ARMOR of this context: with the blocks of shared libraries in the
/// environment's directory `blocks/`, made from the ARMOR's parameters.
///
/// # Errors
/// [`FactoryError`]; none while the tables above are right.
pub(crate) fn factory(context: &Context) -> Result<ArmorFactory<Context>, FactoryError> {
    let loader = Loader::new(context.directory().join("blocks"), context.parameters().to_owned());
    ArmorFactory::new(ARMORS, BlockFactory::new(BLOCKS)?.with_loader(loader))
}
