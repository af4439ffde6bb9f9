//! Whose crash it is when replicas of a process die by a signal of their own making, and other processes
//! go on with its memory: the program's own, or a fault of theirs.
//!
//! Invariant: it is the program's own only if `k` replicas died alike and all others are known to be
//! otherwise, because what is left of the program's memory must be what those wrote that died.

/// Where a crash stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Others have to come first.
    Wait,
    /// So many died alike already; it is waited only for those that still run.
    Last,
    /// The program's own.
    Own,
    /// A fault of those that died.
    Fault,
}

/// Judges a crash, by masks of the replicas that died alike, of those that made a call instead and of those
/// that still run.
#[must_use]
pub fn judge(died: u32, went_on: u32, coming: u32, k: u8) -> Crash {
    let k = u32::from(k);
    let own = died.count_ones() >= k;
    match (own, coming) {
        (true, 0) => Crash::Own,
        (true, _) => Crash::Last,
        _ if went_on.count_ones() >= k || (died | coming).count_ones() < k => Crash::Fault,
        _ => Crash::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_program_s_own_when_all_have_come() {
        assert_eq!(judge(0b001, 0, 0b110, 2), Crash::Wait);
        assert_eq!(judge(0b011, 0, 0b100, 2), Crash::Last);
        assert_eq!(judge(0b111, 0, 0, 2), Crash::Own);
        assert_eq!(judge(0b011, 0b100, 0, 2), Crash::Own);
        assert_eq!(judge(0b011, 0, 0, 2), Crash::Own);
    }

    #[test]
    fn it_is_a_fault_when_others_go_on_or_too_few_are_left() {
        assert_eq!(judge(0b001, 0b010, 0b100, 2), Crash::Wait);
        assert_eq!(judge(0b001, 0b110, 0, 2), Crash::Fault);
        assert_eq!(judge(0b001, 0b010, 0, 2), Crash::Fault);
        assert_eq!(judge(0b01, 0b10, 0, 2), Crash::Fault);
    }
}
