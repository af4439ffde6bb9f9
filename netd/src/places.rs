//! The copy of the FTM's table of places that a daemon has.
//!
//! Invariant: a change is taken once and in order; one that was missed is noticed by its number, and
//! then all are asked for. An older life never displaces a newer one, whichever order they come in. Used by
//! `route`.

use std::collections::HashMap;

use chameleon_proto::ids::{ArmorId, Epoch, Incarnation, NodeId};
use chameleon_proto::message::env::Places;

use crate::route::{Name, name};

/// Where ARMORs are, and where the daemons of nodes listen.
#[derive(Debug, Default)]
pub struct Table {
    /// Whose count the version is: an FTM that was promoted begins anew.
    epoch: Epoch,
    version: u64,
    whole: bool,
    at: HashMap<Name, (Incarnation, NodeId)>,
    nodes: HashMap<NodeId, String>,
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The table is as the FTM's.
    Whole,
    /// It is taken, but one before it was missed: all are to be asked for.
    Gap,
    /// It is older than what the table says, and left.
    Old,
}

impl Table {
    /// The version that the table has.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Whether all was told and nothing missed since.
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// There is another FTM: what it says is to be asked for.
    pub const fn doubt(&mut self) {
        self.whole = false;
    }

    /// The life of an ARMOR of this name that is known, and its node.
    pub fn get(&self, armor: ArmorId) -> Option<(Incarnation, NodeId)> {
        self.at.get(&name(armor)).copied()
    }

    /// Where the daemon of a node listens.
    pub fn address(&self, node: NodeId) -> Option<&str> {
        self.nodes.get(&node).map(String::as_str)
    }

    /// All nodes and where their daemons listen, in no order.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &str)> {
        self.nodes.iter().map(|(node, at)| (*node, at.as_str()))
    }

    /// A node that is known by other ways than the FTM's table.
    pub fn know(&mut self, node: NodeId, address: String) {
        self.nodes.insert(node, address);
    }

    /// An ARMOR whose place is known by other ways, as is the FTM's own.
    pub fn put(&mut self, armor: ArmorId, node: NodeId) {
        let place = self.at.entry(name(armor)).or_insert((armor.incarnation, node));
        if place.0 <= armor.incarnation {
            *place = (armor.incarnation, node);
        }
    }

    /// Takes a change that was sent in this epoch.
    pub fn take(&mut self, epoch: Epoch, change: &Places) -> Taken {
        let anew = epoch > self.epoch;
        if epoch < self.epoch || !anew && change.version < self.version {
            return Taken::Old;
        }
        if change.all {
            self.at.clear();
            self.nodes.retain(|node, _| change.nodes.iter().any(|(known, _)| known == node));
        }
        for (armor, node) in &change.at {
            self.put(*armor, *node);
        }
        for armor in &change.gone {
            if self.get(*armor).is_some_and(|(life, _)| life <= armor.incarnation) {
                self.at.remove(&name(*armor));
            }
        }
        for (node, address) in &change.nodes {
            if address.is_empty() {
                self.nodes.remove(node);
            } else {
                self.nodes.insert(*node, address.clone());
            }
        }
        // An answer about one ARMOR carries the version of the moment and is no change of its own.
        let next = change.all || !anew && change.version <= self.version.saturating_add(1);
        if !next {
            self.whole = false;
            return Taken::Gap;
        }
        self.whole |= change.all;
        (self.epoch, self.version) = (epoch, change.version);
        Taken::Whole
    }
}

#[cfg(test)]
mod tests {
    use chameleon_proto::ids::armors;
    use proptest::prelude::*;

    use super::*;

    fn voter(number: u32, life: u32) -> ArmorId {
        ArmorId { incarnation: Incarnation(life), ..ArmorId::first(armors::VOTER, number) }
    }

    fn change(version: u64, at: &[(ArmorId, u32)]) -> Places {
        let at = at.iter().map(|(armor, node)| (*armor, NodeId(*node))).collect();
        Places { version, at, ..Places::default() }
    }

    #[test]
    fn a_missed_change_is_noticed_and_all_mend_it() {
        let mut table = Table::default();
        let all = Places { all: true, ..change(5, &[(voter(1, 0), 1)]) };
        assert_eq!(table.take(Epoch(1), &all), Taken::Whole);
        assert_eq!(table.take(Epoch(1), &change(6, &[(voter(2, 0), 1)])), Taken::Whole);
        assert_eq!(table.take(Epoch(1), &change(8, &[(voter(3, 0), 2)])), Taken::Gap);
        assert_eq!(
            table.get(voter(3, 0)),
            Some((Incarnation(0), NodeId(2))),
            "it is true all the same"
        );
        assert_eq!(table.version(), 6);
        assert_eq!(table.take(Epoch(1), &change(4, &[(voter(1, 0), 7)])), Taken::Old);
        let all = Places { all: true, ..change(8, &[(voter(3, 0), 2)]) };
        assert_eq!(table.take(Epoch(1), &all), Taken::Whole);
        assert_eq!(table.get(voter(1, 0)), None, "what all does not name is not known");
        assert_eq!(table.version(), 8);
    }

    #[test]
    fn a_promoted_ftm_counts_anew_and_the_old_one_is_not_heard() {
        let mut table = Table::default();
        let all = |version| Places { all: true, ..change(version, &[]) };
        assert_eq!(table.take(Epoch(1), &all(50)), Taken::Whole);
        assert_eq!(table.take(Epoch(2), &change(3, &[])), Taken::Gap);
        assert_eq!(table.take(Epoch(2), &all(3)), Taken::Whole);
        assert_eq!(table.take(Epoch(1), &all(51)), Taken::Old);
        assert_eq!(table.version(), 3);
    }

    #[test]
    fn a_node_without_an_address_is_gone() {
        let mut table = Table::default();
        table.know(NodeId(2), "127.0.0.1:1".into());
        let nodes = vec![(NodeId(2), String::new())];
        table.take(Epoch(0), &Places { version: 1, nodes, ..Places::default() });
        assert_eq!(table.address(NodeId(2)), None);
    }

    proptest! {
        /// Whatever comes in whatever order: a known life is never followed by an earlier one while
        /// the ARMOR stays known.
        #[test]
        fn lives_only_grow(lives in proptest::collection::vec(0u32..5, 1..20)) {
            let mut table = Table::default();
            let mut newest = 0;
            for (at, life) in lives.into_iter().enumerate() {
                table.take(Epoch(0), &change(at as u64, &[(voter(1, life), life)]));
                newest = newest.max(life);
                prop_assert_eq!(table.get(voter(1, 9)), Some((Incarnation(newest), NodeId(newest))));
            }
        }
    }
}
