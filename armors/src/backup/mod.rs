//! The Backup FTM (paper 4.1.3, 5.3.1): a mirror of the tables, its own heartbeat of the FTM, promotion.
//!
//! ```text
//!  Update ─► Mirror ─► policy::tables::participant, its own store
//!  Ping ──► FTM;  ArmorDown, no Pong, Accusation ─► Watch ─► policy::promotion
//!                                                     └─► Compose: the FTM's blocks in place of these
//! ```
//!
//! Invariant: it becomes the FTM by an exchange of its blocks, with the tables, the store and the notes as
//! they are; its name stays.

mod mirror;
mod watch;

use chameleon_policy::tables::participant::Participant;
use chameleon_proto::ask::Numbered;
use chameleon_proto::ids::{ArmorId, BlockId};
use chameleon_proto::message::env::{Phase, Update};
use chameleon_supervisor::armor::BlockEntry;

use crate::context::Context;
use crate::store::StateStore;

/// The tables' mirror.
pub(crate) const MIRROR: BlockId = BlockId(110);
/// Who watches the FTM, and takes its place.
pub(crate) const WATCH: BlockId = BlockId(111);

/// For the registry.
pub(crate) const ENTRIES: [BlockEntry<Context>; 2] = [
    BlockEntry { id: MIRROR, name: "Mirror", build: mirror::build },
    BlockEntry { id: WATCH, name: "Watch", build: watch::build },
];

/// What the two blocks have in common.
#[derive(Default)]
pub(crate) struct Backup {
    participant: Participant,
    store: Option<Box<dyn StateStore>>,
    notes: Vec<Numbered>,
}

/// Aborts what a manager that is gone has left unfinished: nobody else would, and its rows would stay busy.
pub(crate) fn abort(participant: &mut Participant, manager: ArmorId) {
    for sequence in participant.unfinished(manager) {
        if let Some(row) = participant.asked(manager, sequence).cloned() {
            participant.receive(manager, &Update { sequence, phase: Phase::Abort, row });
        }
    }
}

#[cfg(test)]
mod tests;
