//! A daemon's copy of where ARMORs are.
//!
//! Invariant: it is what the FTM's tables said at its version; a change that does not follow on that
//! version is not applied, and all of it is asked for.

use std::collections::BTreeMap;

use chameleon_proto::ids::{ArmorId, ArmorType, NodeId};
use chameleon_proto::message::env::{NoWay, Places};

/// The copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlacesCopy {
    version: u64,
    at: BTreeMap<(ArmorType, u32), (ArmorId, NodeId)>,
    nodes: BTreeMap<NodeId, String>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was made.
    Yes,
    /// It was known already.
    Known,
    /// One before it is missing: ask the FTM for all.
    Missed,
}

impl PlacesCopy {
    /// Takes a change, or all.
    pub fn apply(&mut self, places: &Places) -> Applied {
        if places.all {
            // Also one of an earlier version: it is another FTM's, who counts anew.
            *self = Self { version: places.version, ..Self::default() };
        } else if places.version <= self.version {
            return Applied::Known;
        } else if places.version != self.version + 1 {
            return Applied::Missed;
        }
        self.version = places.version;
        for armor in &places.gone {
            let key = (armor.kind, armor.number);
            if self.at.get(&key).is_some_and(|(known, _)| known == armor) {
                self.at.remove(&key);
            }
        }
        for (armor, node) in &places.at {
            self.at.insert((armor.kind, armor.number), (*armor, *node));
        }
        for (node, address) in &places.nodes {
            self.nodes.insert(*node, address.clone());
            if address.is_empty() && !places.all {
                self.nodes.remove(node);
            }
        }
        Applied::Yes
    }

    /// The version it is of.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Where an ARMOR is.
    ///
    /// # Errors
    /// [`NoWay::Unknown`] or [`NoWay::OtherLife`].
    pub fn find(&self, armor: ArmorId) -> Result<NodeId, NoWay> {
        match self.at.get(&(armor.kind, armor.number)) {
            None => Err(NoWay::Unknown),
            Some((known, _)) if *known != armor => Err(NoWay::OtherLife),
            Some((_, node)) => Ok(*node),
        }
    }

    /// Where a node's daemon listens; nothing if there is no such node.
    pub fn address(&self, node: NodeId) -> Option<&str> {
        self.nodes.get(&node).map(String::as_str)
    }
}
