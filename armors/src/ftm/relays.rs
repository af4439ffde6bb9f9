//! Requests that the FTM passes on to managers of applications, until they are answered.
//!
//! Invariant: each is answered once: by its manager, or with a refusal when that is too slow or not there.

use std::collections::BTreeMap;

use chameleon_proto::ids::{AppId, ArmorId};

/// How long a manager may take.
const PATIENCE_NS: u64 = 10_000_000_000;

/// Who asked, and under which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) who: ArmorId,
    pub(super) number: u64,
}

/// A request that was passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relay {
    pub(super) asker: Asker,
    /// What is to be set of an application, if that is what is asked.
    pub(super) set: Option<Set>,
    manager: ArmorId,
    due_ns: u64,
}

/// An application, and values of its own.
type Set = (AppId, BTreeMap<String, String>);

/// What was passed on.
#[derive(Debug, Default)]
pub(super) struct Relays {
    last: u64,
    open: BTreeMap<u64, Relay>,
}

impl Relays {
    /// A number for a request to a manager.
    pub(super) fn begin(
        &mut self,
        asker: Asker,
        manager: ArmorId,
        set: Option<Set>,
        now_ns: u64,
    ) -> u64 {
        self.last += 1;
        let due_ns = now_ns + PATIENCE_NS;
        self.open.insert(self.last, Relay { asker, set, manager, due_ns });
        self.last
    }

    /// A manager answers; what it had been asked.
    pub(super) fn answered(&mut self, from: ArmorId, number: u64, last: bool) -> Option<Relay> {
        let relay =
            self.open.get(&number).filter(|relay| relay.manager.same_armor(from)).cloned()?;
        if last {
            self.open.remove(&number);
        }
        Some(relay)
    }

    /// A manager is not there; who waits for it.
    pub(super) fn gone(&mut self, manager: ArmorId) -> Vec<Asker> {
        self.end(|relay| relay.manager == manager)
    }

    /// Those who have waited for too long.
    pub(super) fn late(&mut self, now_ns: u64) -> Vec<Asker> {
        self.end(|relay| relay.due_ns <= now_ns)
    }

    /// When the next has waited for too long.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.open.values().map(|relay| relay.due_ns).min()
    }

    fn end(&mut self, over: impl Fn(&Relay) -> bool) -> Vec<Asker> {
        let mut askers = Vec::new();
        self.open.retain(|_, relay| {
            let over = over(relay);
            if over {
                askers.push(relay.asker);
            }
            !over
        });
        askers
    }
}

#[cfg(test)]
mod tests {
    use chameleon_proto::ids::armors;

    use super::*;

    #[test]
    fn each_is_answered_once_and_none_for_ever_waits() {
        let manager = ArmorId::first(armors::SURROGATE, 1);
        let asker = |number| Asker { who: ArmorId::first(armors::CLIENT, 1), number };
        let mut relays = Relays::default();
        let first = relays.begin(asker(7), manager, None, 0);
        let second = relays.begin(asker(8), manager, None, 5);
        assert_eq!(relays.answered(ArmorId::first(armors::SURROGATE, 2), first, true), None);
        for (from, last) in [(manager.successor(), false), (manager, true)] {
            let relay = relays.answered(from, first, last).unwrap();
            assert_eq!((relay.asker, relay.set), (asker(7), None));
        }
        assert_eq!(relays.answered(manager, first, true), None);
        assert!(relays.late(PATIENCE_NS).is_empty());
        assert_eq!(relays.next_ns(), Some(PATIENCE_NS + 5));
        assert_eq!(relays.gone(manager), [asker(8)]);
        assert_eq!(relays.answered(manager, second, true), None);
    }
}
