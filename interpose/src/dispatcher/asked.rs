//! Checkpoints that somebody asked for, and what a run tells of itself.
//!
//! ```text
//!   ask ─► asked_checkpoint + 1 ─► (taken, or refused) ─► taken_checkpoint = asked_checkpoint ─► answer
//! ```
//!
//! Invariant: the numbers are in the arena, so a request survives the ARMOR to which it came; one
//! checkpoint answers every request that was made before it. Called by the owner between two turns.

use super::{Dispatcher, Turn};
use crate::arena::Header;

/// Why a checkpoint that was asked for is not taken: [`Header::refused_checkpoint`].
pub mod why {
    /// It was taken.
    pub const NONE: u32 = 0;
    /// The program is ending.
    pub const ENDING: u32 = 1;
    /// There is no memory left for it.
    pub const MEMORY: u32 = 2;
    /// The program is in a state that cannot be kept, and has been for too long.
    pub const STATE: u32 = 3;
}

/// Why a run has no checkpoints, and can have none.
pub(super) const NO_CHECKPOINTS: &str = "it was started without --checkpoint";

impl Dispatcher {
    /// Asks for a checkpoint of every process at its next common call; the number of the request.
    ///
    /// # Errors
    /// Why it can never be taken, in plain words.
    pub fn ask_checkpoint(&mut self) -> Result<u64, &'static str> {
        if self.settings.checkpoints.is_none() {
            return Err(NO_CHECKPOINTS);
        }
        let h = self.arena.header();
        h.asked_checkpoint += 1;
        Ok(h.asked_checkpoint)
    }

    /// What has become of that request, once something has.
    pub fn checkpoint_answer(&self, ticket: u64) -> Option<Result<(), &'static str>> {
        let h = self.arena.header();
        if h.taken_checkpoint < ticket {
            return None;
        }
        Some(match h.refused_checkpoint {
            why::NONE => Ok(()),
            why::ENDING => Err("the program is ending"),
            why::MEMORY => Err("there is no memory left for it; see --checkpoint-memory"),
            why::STATE => Err("the program is in a state that cannot be kept"),
            _ => Err("it could not be taken"),
        })
    }

    /// Whether a checkpoint was asked for and neither taken nor refused yet.
    pub(super) fn checkpoint_is_asked(&self) -> bool {
        let h = self.arena.header();
        h.asked_checkpoint > h.taken_checkpoint
    }

    /// All requests so far are answered: with a checkpoint, or with why not (see [`why`]).
    pub(super) fn answer_checkpoint(&mut self, refused: u32) {
        let h = self.arena.header();
        h.refused_checkpoint = refused;
        crate::arena::commit();
        h.taken_checkpoint = h.asked_checkpoint;
    }

    /// After a turn: whether the owner has an answer to pass on that it does not know of.
    pub(super) fn has_answer(&mut self) -> Option<Turn> {
        let h = self.arena.header();
        let tells = std::mem::take(&mut self.tells);
        if h.taken_checkpoint == h.told_checkpoint && !tells {
            return None;
        }
        h.told_checkpoint = h.taken_checkpoint;
        Some(Turn::Control)
    }

    /// Counters of the run.
    pub fn counts(&self) -> Header {
        *self.arena.header()
    }
}
