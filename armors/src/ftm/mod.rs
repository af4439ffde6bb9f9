//! The Fault Tolerance Manager (paper 4.1.1), and what a promoted backup becomes.
//!
//! ```text
//!  Update, WhereIs ─► Tables ─────► policy::tables ──► Places to daemons, copies to the backup
//!  NodeInfo, NodeDown ─► Nodes ───► policy::membership
//!  Request ─► Desk, Applications ─► policy::plan ──► Install SURROGATE
//!  ArmorDown, Installed ─► Recovery ► policy::recovery ──► Install again
//!  Note ─► Events
//! ```
//!
//! Invariant: the blocks share one [`core::Core`], the tables and what goes with them; each changes it only
//! through rows, which go to the store and to the backup before anything that follows from them is sent. An
//! FTM that hears of a later epoch than its own decides nothing more and ends.

mod applications;
mod candidates;
pub(crate) mod core;
mod desk;
mod drain;
mod events;
mod leases;
mod nodes;
mod recovery;
mod relays;
mod status;
mod subordinates;
mod tables;

use chameleon_proto::ids::BlockId;
use chameleon_supervisor::armor::BlockEntry;

use crate::context::Context;

/// Who has which place in the tables, the beginning, who is the FTM.
pub(crate) const TABLES: BlockId = BlockId(100);
/// Nodes and the environment's parameters.
pub(crate) const NODES: BlockId = BlockId(101);
/// Applications.
pub(crate) const APPLICATIONS: BlockId = BlockId(102);
/// The FTM's own ARMORs.
pub(crate) const RECOVERY: BlockId = BlockId(103);
/// What happened.
pub(crate) const EVENTS: BlockId = BlockId(104);
/// What people ask.
pub(crate) const DESK: BlockId = BlockId(105);

/// An FTM's blocks, in order; a promoted backup gets them in its own's place.
pub(crate) const BLOCKS: [BlockId; 6] = [TABLES, NODES, RECOVERY, APPLICATIONS, EVENTS, DESK];

/// For the registry.
pub(crate) const ENTRIES: [BlockEntry<Context>; 6] = [
    BlockEntry { id: TABLES, name: "Tables", build: tables::build },
    BlockEntry { id: NODES, name: "Nodes", build: nodes::build },
    BlockEntry { id: APPLICATIONS, name: "Applications", build: applications::build },
    BlockEntry { id: RECOVERY, name: "Recovery", build: recovery::build },
    BlockEntry { id: EVENTS, name: "Events", build: events::build },
    BlockEntry { id: DESK, name: "Desk", build: desk::build },
];

#[cfg(test)]
mod tests;
