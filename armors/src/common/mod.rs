//! Blocks that every ARMOR of an environment has, and what several of them do in one way.

mod alive;
pub(crate) mod around;
pub(crate) mod aside;
pub(crate) mod images;
pub(crate) mod pieces;
pub(crate) mod user;

pub(crate) use alive::{ALIVE, build as alive};

/// Whether a path leads to something below where it begins.
pub(crate) fn below(path: &str) -> bool {
    path.split('/').all(|name| !matches!(name, "" | "." | ".."))
}
