//! How many descriptors a daemon may have (getrlimit(2), RLIMIT_NOFILE): two for each node, more for each ARMOR.
//!
//! Invariant: what it starts has the limit that it was started with: its ARMORs are told (`Birth`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of this process to the hard one; what it was, if it was lower.
pub(crate) fn raise() -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    let soft = now.current?;
    if now.maximum.is_some_and(|hard| hard <= soft) {
        return None;
    }
    setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now }).ok().map(|()| soft)
}
