//! How long a program may go on without word from the FTM, so that it never runs on two nodes at once.
//!
//! ```text
//!   EXECUTION   asks ────────────── asks ─ ─ cut off ─ ─ ─ ─┐ ends its run
//!                 │  ▲ until then     │                     │
//!                 │  │ + term         ├──────── term ───────┤
//!   FTM          grants              grants   node down     ├─ grace ─┤ starts it elsewhere
//!                                             no grants
//! ```
//!
//! Invariant: who holds a lease counts it from when it asked, who gave it from when it was asked, which is
//! later: so it has ended, and its run with it, before the other side takes it for ended. Only the FTM gives
//! leases, and none once it has said that a node is down; an FTM that begins takes it that all have one. The
//! holder's clock goes on while the machine is suspended. Held by EXECUTION ARMORs (ADR 0025).

use std::collections::BTreeMap;
use std::time::Duration;

use chameleon_proto::ids::NodeId;

use crate::detector::Settings;
use crate::plan::Form;
use crate::strategy::Loss;

/// A lease is asked for so often in its term.
const ASKS: u64 = 7;
/// Before the first one is given: how often it is asked for.
const FIRST_NS: u64 = 100_000_000;
/// What is left to a run that was found under way, until there is a lease for it: less than its last one had
/// left when whoever held that was replaced at once.
const FOUND_NS: u64 = 500_000_000;
/// The shortest term: below it a busy machine's own delays end programs.
const SHORTEST: Duration = Duration::from_secs(1);
/// The shortest grace: a run that is killed is gone by then.
const SHORTEST_GRACE: Duration = Duration::from_millis(400);

/// How long a lease is good for: an FTM that hangs is replaced in less, so that only a node that is cut off, or
/// one whose FTM is gone for good, is left without one. Longer than it takes to find that a node is down.
pub fn term(settings: Settings) -> Duration {
    (settings.detection() + settings.interval.saturating_mul(3)).max(SHORTEST)
}

/// From the end of a lease to when nothing of its run is there any more, also on a busy machine.
pub fn grace(settings: Settings) -> Duration {
    settings.interval.saturating_mul(2).max(SHORTEST_GRACE)
}

/// How long it takes at most from when a node is lost to when its programs may begin elsewhere.
pub fn release(settings: Settings) -> Duration {
    (term(settings) + grace(settings)).max(settings.detection())
}

/// Whether an application's programs need one: those that may be started elsewhere when a node does not answer, and do
/// more than to leave results that are voted on.
pub fn is_needed(form: Form, node_loss: Loss) -> bool {
    form == Form::Together && node_loss > Loss::Ended
}

/// The lease of one program, as its EXECUTION ARMOR sees it. Times are of a clock that does not stop while the
/// machine is suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    until_ns: u64,
    term_ns: u64,
    asked_ns: u64,
}

impl Held {
    /// A run is found that another life has started.
    pub fn found(&mut self, now_ns: u64) {
        self.until_ns = self.until_ns.max(now_ns.saturating_add(FOUND_NS));
    }

    /// It is asked for now.
    pub fn asked(&mut self, now_ns: u64) {
        self.asked_ns = now_ns;
    }

    /// What was asked for at `asked_ns` is given.
    pub fn given(&mut self, asked_ns: u64, term_ns: u64) {
        // What was never asked for is no answer.
        if asked_ns <= self.asked_ns {
            self.until_ns = self.until_ns.max(asked_ns.saturating_add(term_ns));
            self.term_ns = term_ns;
        }
    }

    /// Whether its program may run.
    pub const fn holds(&self, now_ns: u64) -> bool {
        now_ns < self.until_ns
    }

    /// When it is to be asked for again.
    pub const fn asks_ns(&self) -> u64 {
        let each = if self.term_ns == 0 { FIRST_NS } else { self.term_ns / ASKS };
        self.asked_ns.saturating_add(each)
    }

    /// When it ends.
    pub const fn until_ns(&self) -> u64 {
        self.until_ns
    }
}

/// The leases that one FTM has given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    since_ns: u64,
    until: BTreeMap<NodeId, u64>,
}

impl Given {
    /// Those of an FTM that begins now: what a former one gave it does not know.
    pub const fn new(now_ns: u64) -> Self {
        Self { since_ns: now_ns, until: BTreeMap::new() }
    }

    /// One is given now to a program on this node.
    pub fn give(&mut self, node: NodeId, now_ns: u64, term: Duration) {
        let until = now_ns.saturating_add(nanos(term));
        let known = self.until.entry(node).or_default();
        *known = until.max(*known);
    }

    /// When nothing runs on this node any more that has had one, if none is given from now on.
    pub fn over_ns(&self, node: NodeId, settings: Settings) -> u64 {
        let former = self.since_ns.saturating_add(nanos(term(settings)));
        let until = self.until.get(&node).copied().unwrap_or(0).max(former);
        until.saturating_add(nanos(grace(settings)))
    }
}

fn nanos(of: Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODE: NodeId = NodeId(2);

    #[test]
    fn with_the_usual_heartbeats_it_outlives_the_detection_of_a_node_and_of_an_ftm() {
        let usual = Settings::default();
        assert_eq!(term(usual), Duration::from_millis(1400));
        assert_eq!(release(usual), Duration::from_millis(1800));
        let quick = Settings { interval: Duration::from_millis(10), misses: 1 };
        assert_eq!((term(quick), grace(quick)), (SHORTEST, SHORTEST_GRACE));
    }

    #[test]
    fn only_what_may_begin_elsewhere_and_has_other_effects_than_results_needs_one() {
        assert!(is_needed(Form::Together, Loss::Restarted));
        assert!(is_needed(Form::Together, Loss::Recovered));
        assert!(!is_needed(Form::Together, Loss::Ended));
        assert!(!is_needed(Form::Apart, Loss::Masked));
    }

    #[test]
    fn an_answer_to_what_was_never_asked_gives_nothing() {
        let mut held = Held::default();
        held.asked(100);
        held.given(101, 1000);
        assert!(!held.holds(50));
        held.given(100, 1000);
        assert!(held.holds(1099) && !held.holds(1100));
        held.given(90, 1000);
        assert_eq!(held.until_ns(), 1100, "an older one takes nothing away");
    }

    proptest! {
        /// Whatever is delayed or lost: when the FTM takes the leases of a node for over, the holder's has
        /// ended, by as much as the grace; also one that an FTM before it had given.
        #[test]
        fn a_lease_has_ended_before_it_is_taken_for_ended(
            asks in prop::collection::vec((0u64..4_000, 0u64..3_000, 0u64..3_000, any::<bool>()), 0..40),
            down in 0u64..6_000, begins in 0u64..6_000, interval in 10u64..500, misses in 1u32..6,
        ) {
            let ms = |n: u64| n * 1_000_000;
            let settings = Settings { interval: Duration::from_millis(interval), misses };
            let term_ns = nanos(term(settings));
            let begins = begins.min(down);
            let mut held = Held::default();
            let mut given = Given::new(ms(begins));
            let mut asks = asks;
            asks.sort_unstable();
            for (at, there, back, lost) in asks {
                let asked = ms(at);
                held.asked(asked);
                // Those before it begins are another FTM's; from `down` on there are none.
                let heard = at + there;
                if heard >= down {
                    continue;
                }
                if heard >= begins {
                    given.give(NODE, ms(heard), term(settings));
                }
                let _ = back;
                if !lost {
                    held.given(asked, term_ns);
                }
            }
            let over = given.over_ns(NODE, settings);
            prop_assert!(held.until_ns() + nanos(grace(settings)) <= over);
            prop_assert!(!held.holds(over));
        }
    }
}
