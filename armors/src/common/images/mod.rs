//! Checkpoint images that go from one node to another: from the EXECUTION ARMOR of a run to the CHECKPOINT ARMOR
//! that keeps them, and from there to the EXECUTION ARMOR that goes on from one.
//!
//! ```text
//!   Images ─► of each that is not here: pages, index, manifest ─► synced, renamed, verified
//!          ─► Beside of the newest ─► its files ─► synced, compared ─► the record of it, renamed: it is kept
//! ```
//!
//! Invariant: an image counts as kept when the record of what is beside it is there, which is written last; then all that
//! a restart needs is on the disk and was verified. What is kept stays until the next one is. One mechanism serves
//! both ways.

mod shelf;
mod store;
mod take;

pub(crate) use shelf::Run;
pub(crate) use store::Store;
pub(crate) use take::{Root, Taken, Taking};
