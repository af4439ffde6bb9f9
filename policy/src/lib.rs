//! Decisions: pure functions of what they are told.
//!
//! Invariant: no I/O, no clock, no randomness of its own, no `unsafe`; time comes in as an
//! argument, effects go out as values. What runs for every call allocates nothing. Used by the
//! supervisor, by interposition and by the command.

pub mod campaign;
pub mod checkpoint;
pub mod cpus;
pub mod crash;
pub mod detector;
pub mod document;
pub mod duration;
pub mod epoch;
pub mod health;
pub mod increments;
pub mod lease;
pub mod membership;
pub mod mode;
pub mod parameters;
pub mod place;
pub mod placement;
pub mod plan;
pub mod promotion;
pub mod recovery;
pub mod restart;
pub mod schedule;
pub mod size;
pub mod spec;
pub mod strategy;
pub mod tables;
pub mod timeout;
pub mod vote;
