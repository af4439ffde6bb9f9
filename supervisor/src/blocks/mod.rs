//! The blocks of the EXECUTION ARMOR and their registration (paper 7.4).
//!
//! ```text
//!  supervisor ──frame──► EXECUTION ─► Execution   Ping, Shutdown
//!                                  ├► Voter       SetMode, SetTimeout
//!                                  └► Fanout      SetSlack
//!                                        └── all three share the dispatcher ──┘
//! ```
//!
//! Invariant: messages are control and come between two turns of the dispatcher; the path of a call
//! (ballot, vote, result) is plain function calls inside the dispatcher and borrows nothing. The
//! dispatcher is borrowed for as long as it runs, and by a block only when it has stopped for a
//! message. Used by the ARMOR's process.

mod execution;
mod fanout;
mod voter;

use std::cell::RefCell;
use std::rc::Rc;

use chameleon_interpose::dispatcher::Dispatcher;
use chameleon_proto::ids::{ArmorId, ArmorType, BlockId, Epoch, Incarnation, armors};

use crate::armor::{Armor, ArmorEntry, ArmorFactory, BlockEntry, BlockFactory, FactoryError, Link};

/// The type of the ARMOR that runs a replica set.
pub(crate) const EXECUTION: ArmorType = armors::EXECUTION;
/// The supervisor, as the sender and receiver of control messages.
pub(crate) const SUPERVISOR: ArmorId = ArmorId::first(armors::SUPERVISOR, 0);

const EXECUTION_BLOCK: BlockId = BlockId(1);
const VOTER_BLOCK: BlockId = BlockId(2);
const FANOUT_BLOCK: BlockId = BlockId(3);

/// What the blocks share.
pub(crate) type Shared = Rc<RefCell<Dispatcher>>;

static ARMORS: &[ArmorEntry] = &[ArmorEntry {
    kind: EXECUTION,
    name: "EXECUTION",
    blocks: &[EXECUTION_BLOCK, VOTER_BLOCK, FANOUT_BLOCK],
}];

static BLOCKS: &[BlockEntry<Shared>] = &[
    BlockEntry { id: EXECUTION_BLOCK, name: "Execution", build: execution::build },
    BlockEntry { id: VOTER_BLOCK, name: "Voter", build: voter::build },
    BlockEntry { id: FANOUT_BLOCK, name: "Fanout", build: fanout::build },
];

/// The name of the run's EXECUTION ARMOR in its life `incarnation`.
pub(crate) fn name(incarnation: u32) -> ArmorId {
    let incarnation = Incarnation(incarnation);
    ArmorId { incarnation, ..ArmorId::first(EXECUTION, 0) }
}

/// Builds the EXECUTION ARMOR around a dispatcher.
///
/// # Errors
/// The factory's; none while the registration above is right.
pub(crate) fn build(
    id: ArmorId,
    dispatcher: Shared,
    link: &mut dyn Link,
) -> Result<Armor<Shared>, FactoryError> {
    let factory = ArmorFactory::new(ARMORS, BlockFactory::new(BLOCKS)?)?;
    factory.build(id, Epoch(u64::from(id.incarnation.0)), dispatcher, link)
}

#[cfg(test)]
mod tests;
