//! Blocks that every ARMOR of an environment has.

mod alive;

pub(crate) use alive::{ALIVE, build as alive};
