//! The HEARTBEAT ARMOR (paper 4.2.1): asks the daemons of all nodes whether they are there.
//!
//! Invariant: its two blocks stand for each other; what is known of the nodes stays when one takes the
//! other's place. The plain one asks whether a node is there; the other one how it does, too.

mod beats;
mod block;

use chameleon_proto::ids::BlockId;
use chameleon_supervisor::armor::BlockEntry;

use crate::context::Context;

/// Is it there?
pub(crate) const PING: BlockId = BlockId(200);
/// Is it there, and how does it do?
pub(crate) const HEALTH: BlockId = BlockId(201);

/// For the registry.
pub(crate) const ENTRIES: [BlockEntry<Context>; 2] = [
    BlockEntry { id: PING, name: "Heartbeat", build: block::ping },
    BlockEntry { id: HEALTH, name: "Heartbeat with health", build: block::health },
];

/// The block that is to go and the one that is to come, for heartbeats that ask for health or do not.
pub(crate) const fn blocks(health: bool) -> (BlockId, BlockId) {
    if health { (PING, HEALTH) } else { (HEALTH, PING) }
}

#[cfg(test)]
mod tests;
