//! Whether an ARMOR hangs (paper 4.3): decided from its heartbeat, from what waits for it, and from
//! its answers to pings.
//!
//! ```text
//!            nothing waits, it sleeps                 no answer, no beat, for PATIENCE_NS
//!   ASLEEP ◄────────────────────────── AWAKE ──(no progress)──► ASKED ───────────────────► hangs
//!      └────────(something waits)────────►▲◄──(answer or beat)────┘
//! ```
//!
//! Invariant: pure: time comes in, nothing is read from a clock. An ARMOR that is asleep and has
//! nothing to do is not looked at and not woken; a working one costs one look a [`LOOK_NS`]. Asked
//! by the keeper.

/// Nanoseconds between two looks at an ARMOR that is awake.
pub(crate) const LOOK_NS: u64 = 500_000_000;

/// How long an ARMOR may go without a beat after it was asked whether it is alive.
pub(crate) const PATIENCE_NS: u64 = 1_000_000_000;

/// What is to be done after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It sleeps and nothing waits: look again when something does.
    Asleep,
    /// Look again later.
    Awake,
    /// Send it a ping with this nonce, and look again later.
    Ask(u64),
    /// It hangs: end it.
    Hangs,
}

/// What is known of one life of an ARMOR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Liveness {
    beat: u64,
    nonce: u64,
    asked_at: Option<u64>,
}

impl Liveness {
    /// Looks at `now_ns`: its heartbeat stands at `beat`, odd while it works on something; `waiting`
    /// says whether something waits for it.
    pub(crate) fn look(&mut self, now_ns: u64, beat: u64, waiting: bool) -> Verdict {
        if beat != self.beat {
            self.beat = beat;
            self.asked_at = None;
            return Verdict::Awake;
        }
        let works = beat % 2 == 1;
        match self.asked_at {
            _ if !works && !waiting => {
                self.asked_at = None;
                Verdict::Asleep
            }
            None => {
                self.nonce += 1;
                self.asked_at = Some(now_ns);
                Verdict::Ask(self.nonce)
            }
            Some(at) if now_ns.saturating_sub(at) >= PATIENCE_NS => Verdict::Hangs,
            Some(_) => Verdict::Awake,
        }
    }

    /// It answered the ping with this nonce.
    pub(crate) fn answered(&mut self, nonce: u64) {
        if nonce == self.nonce {
            self.asked_at = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_armor_is_left_alone() {
        let mut l = Liveness::default();
        assert_eq!(l.look(LOOK_NS, 4, false), Verdict::Awake);
        assert_eq!(l.look(2 * LOOK_NS, 4, false), Verdict::Asleep);
        assert_eq!(l.look(900 * LOOK_NS, 4, false), Verdict::Asleep);
    }

    #[test]
    fn one_that_does_not_answer_hangs() {
        let mut l = Liveness::default();
        l.look(0, 4, true);
        assert_eq!(l.look(LOOK_NS, 4, true), Verdict::Ask(1));
        assert_eq!(l.look(2 * LOOK_NS, 4, true), Verdict::Awake);
        assert_eq!(l.look(LOOK_NS + PATIENCE_NS, 4, true), Verdict::Hangs);
    }

    #[test]
    fn one_that_works_without_end_hangs_though_nothing_waits() {
        let mut l = Liveness::default();
        l.look(0, 5, false);
        assert_eq!(l.look(LOOK_NS, 5, false), Verdict::Ask(1));
        assert_eq!(l.look(LOOK_NS + PATIENCE_NS, 5, false), Verdict::Hangs);
    }

    #[test]
    fn an_answer_or_a_beat_is_life() {
        let mut l = Liveness::default();
        l.look(0, 4, true);
        assert_eq!(l.look(LOOK_NS, 4, true), Verdict::Ask(1));
        l.answered(1);
        assert_eq!(l.look(9 * LOOK_NS, 4, true), Verdict::Ask(2));
        l.answered(1); // an old one
        assert_eq!(l.look(10 * LOOK_NS, 6, true), Verdict::Awake);
        assert_eq!(l.look(99 * LOOK_NS, 6, true), Verdict::Ask(3));
    }
}
