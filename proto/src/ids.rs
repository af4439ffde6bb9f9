//! Names of the parts of the system: replicas, ARMORs, building blocks, incarnations, epochs.
//!
//! Invariant: a name is plain data, `Copy`, and never reused for another thing in one run. Used by
//! every room.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most replicas one application process can have; a set of replicas fits a `u16` mask.
pub const MAX_REPLICAS: u8 = 15;

/// Registered number of a type of ARMOR (paper 7.4: "a unique identification number").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ArmorType(pub u16);

/// Registered number of a type of building block (paper 7.4). An ARMOR has at most one block of a
/// type, so this also names the block inside its ARMOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockId(pub u16);

/// Registered types of ARMOR. A number is never given to another type.
pub mod armors {
    use super::ArmorType;

    /// Runs a replica set (paper 4.2.2).
    pub const EXECUTION: ArmorType = ArmorType(1);
    /// Traces a run's replicas and keeps its EXECUTION ARMOR alive.
    pub const SUPERVISOR: ArmorType = ArmorType(2);
    /// A node's gateway (paper 4.3); its number is that of its node.
    pub const DAEMON: ArmorType = ArmorType(3);
    /// The Fault Tolerance Manager (paper 4.1.1).
    pub const FTM: ArmorType = ArmorType(4);
    /// Its backup (paper 4.1.3).
    pub const BACKUP_FTM: ArmorType = ArmorType(5);
    /// Manages one application (paper 4.1.2).
    pub const SURROGATE: ArmorType = ArmorType(6);
    /// Asks nodes whether they are there (paper 4.2.1).
    pub const HEARTBEAT: ArmorType = ArmorType(7);
    /// Votes on results that come as messages (paper 4.2.4).
    pub const VOTER: ArmorType = ArmorType(8);
    /// Gives the same inputs in the same order to replicas on several nodes (paper 4.2.6).
    pub const FANOUT: ArmorType = ArmorType(9);
    /// Keeps checkpoints for other nodes (paper 4.2.3).
    pub const CHECKPOINT: ArmorType = ArmorType(10);
    /// Finds out what a node is (paper 4.2.5).
    pub const INITIALIZATION: ArmorType = ArmorType(11);
    /// A command that a person gave; its number is the daemon's to give: the upper half is the
    /// node's.
    pub const CLIENT: ArmorType = ArmorType(12);

    /// What a type is called where people write it: `chameleon armor NAME`.
    pub const fn name(kind: ArmorType) -> Option<&'static str> {
        Some(match kind {
            EXECUTION => "execution",
            SUPERVISOR => "supervisor",
            DAEMON => "daemon",
            FTM => "ftm",
            BACKUP_FTM => "backup-ftm",
            SURROGATE => "surrogate",
            HEARTBEAT => "heartbeat",
            VOTER => "voter",
            FANOUT => "fanout",
            CHECKPOINT => "checkpoint",
            INITIALIZATION => "initialization",
            CLIENT => "client",
            _ => return None,
        })
    }
}

/// A node of an environment, numbered by the FTM from 1; 0 is a node that has joined none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct NodeId(pub u32);

/// An application of an environment, numbered by the FTM from 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct AppId(pub u32);

/// How often the ARMOR of this name was started before: 0 for the first, then one more for each
/// successor.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Incarnation(pub u32);

/// Version of the composition of a whole run; it only grows, and what carries an older one than
/// the receiver knows comes from a part that has been replaced.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

/// Name of one running ARMOR. Sorted by type, number, life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ArmorId {
    /// What it is.
    pub kind: ArmorType,
    /// Which one of its type; given out by the one who starts ARMORs.
    pub number: u32,
    /// Which life of it.
    pub incarnation: Incarnation,
}

impl ArmorId {
    /// The first incarnation of ARMOR `number` of type `kind`.
    pub const fn first(kind: ArmorType, number: u32) -> Self {
        Self { kind, number, incarnation: Incarnation(0) }
    }

    /// The name of this ARMOR's successor.
    pub const fn successor(self) -> Self {
        Self { incarnation: Incarnation(self.incarnation.0.saturating_add(1)), ..self }
    }

    /// The name of a node's daemon; which life of it is not asked when a message goes to it.
    pub const fn daemon(node: NodeId) -> Self {
        Self::first(armors::DAEMON, node.0)
    }

    /// The name of the `nth` client of a node, which is below 65536 as is that of its node.
    pub const fn client(node: NodeId, nth: u16, life: Incarnation) -> Self {
        Self { kind: armors::CLIENT, number: node.0 << 16 | nth as u32, incarnation: life }
    }

    /// The node that the name itself says the ARMOR is on: a daemon's and a client's do.
    pub fn home(self) -> Option<NodeId> {
        match self.kind {
            armors::DAEMON => Some(NodeId(self.number)),
            armors::CLIENT => Some(NodeId(self.number >> 16)),
            _ => None,
        }
    }

    /// The name of an application's `nth` EXECUTION ARMOR, which is below 4096.
    pub const fn execution(app: AppId, nth: u32) -> Self {
        Self::first(armors::EXECUTION, app.0 << 12 | nth)
    }

    /// Which of its application's EXECUTION ARMORs it is, if it is one.
    pub fn nth(self) -> Option<u32> {
        (self.kind == armors::EXECUTION).then_some(self.number & 0xfff)
    }

    /// The application that the name itself says the ARMOR is for.
    pub fn app(self) -> Option<AppId> {
        match self.kind {
            armors::SURROGATE | armors::VOTER | armors::CHECKPOINT => Some(AppId(self.number)),
            // A run of its own has one, too, of no application.
            armors::EXECUTION if self.number >> 12 > 0 => Some(AppId(self.number >> 12)),
            _ => None,
        }
    }

    /// What people call it who do not know names of applications and nodes.
    pub fn called(self) -> String {
        let kind = armors::name(self.kind).map(str::to_uppercase);
        let kind = kind.unwrap_or_else(|| format!("ARMOR of type {},", self.kind.0));
        match (self.kind, self.app()) {
            (armors::FTM | armors::HEARTBEAT, _) => kind,
            (armors::BACKUP_FTM, _) => format!("Backup FTM {}", self.number),
            (armors::DAEMON, _) => format!("the daemon of node {}", self.number),
            (armors::INITIALIZATION, _) => format!("{kind} of node {}", self.number),
            (armors::CLIENT, _) => format!("a command on node {}", self.number >> 16),
            (_, Some(app)) => match self.nth() {
                None | Some(0) => format!("{kind} of application {}", app.0),
                Some(nth) => format!("{kind} {nth} of application {}", app.0),
            },
            _ => format!("{kind} {}", self.number),
        }
    }

    /// Whether both are lives of the same ARMOR.
    pub fn same_armor(self, other: Self) -> bool {
        self.kind == other.kind && self.number == other.number
    }
}

impl fmt::Display for ArmorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, life {}", self.called(), self.incarnation.0)
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_and_clients_are_where_their_names_say() {
        assert_eq!(ArmorId::daemon(NodeId(7)).home(), Some(NodeId(7)));
        let client = ArmorId::client(NodeId(7), u16::MAX, Incarnation(3));
        assert_eq!(client.home(), Some(NodeId(7)));
        assert_eq!(ArmorId::first(armors::VOTER, 7).home(), None);
    }

    #[test]
    fn a_successor_is_the_same_armor_in_a_later_life() {
        let first = ArmorId::first(ArmorType(1), 7);
        let second = first.successor();
        assert!(first.same_armor(second));
        assert!(second.incarnation > first.incarnation);
        assert_ne!(first, second);
        assert_eq!(second.to_string(), "EXECUTION 7, life 1");
    }
}
