//! Blocks that every ARMOR of an environment has.

mod alive;
pub(crate) mod user;

pub(crate) use alive::{ALIVE, build as alive};
