//! Where a frame goes: pure decisions over the header of a frame and where it came from.
//!
//! ```text
//!  frame ─► may such a message travel? ─► is its source where it came from? ─► is its epoch old?
//!             no: Refused(Kind)             no: Refused(Forged)                  yes: Refused(Epoch)
//!        ─► to this daemon: Own     ─► to an ARMOR of this node: Local
//!        ─► to one elsewhere: Peer  ─► no table has it: Ask, and the frame waits for the answer
//!        ─► it cannot be there: Back (paper 5.1: a detected error)
//! ```
//!
//! Invariant: a frame that came from another node is delivered on this one or goes back, so none
//! travels in circles; whoever is named as source has been checked. Called by `daemon` for each frame.

use std::collections::HashMap;

use chameleon_policy::epoch::{self, Admission};
use chameleon_proto::frame::Header;
use chameleon_proto::ids::{ArmorId, ArmorType, Epoch, Incarnation, NodeId, armors};
use chameleon_proto::message::Kind;
use chameleon_proto::message::env::NoWay;

use crate::places::Table;

/// Name of an ARMOR without its life.
pub type Name = (ArmorType, u32);

/// The name of an ARMOR without its life.
pub const fn name(armor: ArmorId) -> Name {
    (armor.kind, armor.number)
}

/// The connection that a frame came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This ARMOR's.
    Local(ArmorId),
    /// This node's daemon's.
    Node(NodeId),
    /// None: the daemon itself sends it.
    Own,
}

/// What is to be done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is for the daemon itself.
    Own,
    /// It is for this ARMOR of this node.
    Local(Name),
    /// It is for an ARMOR of another node.
    Peer(NodeId),
    /// The FTM must be asked where this ARMOR is; the frame waits.
    Ask(ArmorId),
    /// It cannot be delivered; its sender is told.
    Back(NoWay),
    /// It is not taken; its sender is told why.
    Refused(Reason),
}

/// Why a frame is not taken. Each is a label of the metric of refused frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The source in it is not at the connection that it came by.
    Forged,
    /// It carries an epoch older than the one that the daemon knows.
    Epoch,
    /// It comes from a life of an ARMOR that has a successor.
    Life,
    /// Such a message does not travel between ARMORs, or not from such a sender.
    Kind,
}

impl Reason {
    /// In plain words, and what to do.
    pub const fn why(self) -> &'static str {
        match self {
            Self::Forged => "its source is not at the connection that it came by",
            Self::Epoch => {
                "it carries an older epoch: there is a new FTM; take its epoch and send again"
            }
            Self::Life => "its sender has a successor and is to end",
            Self::Kind => "such a sender may not send such a message there",
        }
    }

    /// The label of the metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Epoch => "epoch",
            Self::Life => "life",
            Self::Kind => "kind",
        }
    }
}

/// Kinds by their number, of those that the routes depend on.
const NEVER: [u16; 3] =
    [Kind::Attached.number(), Kind::Detached.number(), Kind::Subscribe.number()];
const CLIENT_TO_ANYONE: [u16; 2] = [Kind::Request.number(), Kind::Ping.number()];
const CLIENT_TO_DAEMON: [u16; 6] = [
    Kind::Install.number(),
    Kind::Uninstall.number(),
    Kind::Heartbeat.number(),
    Kind::WhereIs.number(),
    Kind::NewManager.number(),
    Kind::Parameter.number(),
];

/// What a daemon knows of where ARMORs are.
#[derive(Debug, Default)]
pub struct Router {
    node: NodeId,
    epoch: Epoch,
    local: HashMap<Name, Incarnation>,
    /// What the FTM says.
    pub table: Table,
}

impl Router {
    /// That of a node which knows nothing yet.
    pub fn new(node: NodeId, epoch: Epoch) -> Self {
        Self { node, epoch, ..Self::default() }
    }

    /// This node.
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The newest epoch it knows.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A newer epoch is known from here on; whether it was one.
    pub fn raise(&mut self, epoch: Epoch) -> bool {
        let newer = epoch > self.epoch;
        self.epoch = self.epoch.max(epoch);
        newer
    }

    /// This ARMOR is on this node from here on; an earlier life of it no longer is.
    pub fn here(&mut self, armor: ArmorId) {
        self.local.insert(name(armor), armor.incarnation);
    }

    /// This ARMOR is no longer on this node. A later life of it stays.
    pub fn gone(&mut self, armor: ArmorId) {
        if self.local.get(&name(armor)) == Some(&armor.incarnation) {
            self.local.remove(&name(armor));
        }
    }

    /// The node of an ARMOR, if it is known to be on one in just this life.
    pub fn node_of(&self, armor: ArmorId) -> Option<NodeId> {
        if let Some(home) = armor.home() {
            return Some(home);
        }
        if self.local.get(&name(armor)) == Some(&armor.incarnation) {
            return Some(self.node);
        }
        self.table.get(armor).filter(|place| place.0 == armor.incarnation).map(|place| place.1)
    }

    /// What is to be done with the frame of this header, which came from there.
    pub fn decide(&self, origin: Origin, header: &Header) -> Verdict {
        if NEVER.contains(&header.kind) {
            return Verdict::Refused(Reason::Kind);
        }
        if let Some(verdict) = self.source(origin, header) {
            return verdict;
        }
        // Learnt from `NewManager` alone (`own`): a single frame with a huge number would shut everyone out.
        if epoch::admit_number(self.epoch, header.epoch, header.kind) == Admission::Old {
            return Verdict::Refused(Reason::Epoch);
        }
        self.destination(origin, header.destination)
    }

    /// Whether the source is where the frame came from; if so, nothing.
    fn source(&self, origin: Origin, header: &Header) -> Option<Verdict> {
        let source = header.source;
        let forged = Some(Verdict::Refused(Reason::Forged));
        match origin {
            Origin::Own => None,
            Origin::Local(armor) if armor != source => forged,
            Origin::Local(armor) if armor.kind == armors::CLIENT => {
                let own = self.is_own(header.destination);
                let may = CLIENT_TO_ANYONE.contains(&header.kind)
                    || own && CLIENT_TO_DAEMON.contains(&header.kind);
                (!may).then_some(Verdict::Refused(Reason::Kind))
            }
            Origin::Local(_) => None,
            Origin::Node(node) => match source.home() {
                Some(home) if home == node => None,
                Some(_) => forged,
                // One of this node's own comes by no other's connection.
                None if self.local.contains_key(&name(source)) => forged,
                None => match self.table.get(source) {
                    None => Some(Verdict::Ask(source)),
                    Some((life, _)) if source.incarnation < life => {
                        Some(Verdict::Refused(Reason::Life))
                    }
                    Some((life, _)) if source.incarnation > life => Some(Verdict::Ask(source)),
                    Some((_, at)) if at == node => None,
                    Some(_) => forged,
                },
            },
        }
    }

    fn is_own(&self, armor: ArmorId) -> bool {
        armor.kind == armors::DAEMON && armor.number == self.node.0
    }

    fn destination(&self, origin: Origin, to: ArmorId) -> Verdict {
        if self.is_own(to) {
            return Verdict::Own;
        }
        let known = self.local.get(&name(to));
        match known {
            Some(&life) if life == to.incarnation => return Verdict::Local(name(to)),
            Some(&life) if life > to.incarnation => return Verdict::Back(NoWay::OtherLife),
            _ => {}
        }
        if matches!(origin, Origin::Node(_)) {
            let why = if known.is_some() { NoWay::OtherLife } else { NoWay::NotHere };
            return Verdict::Back(why);
        }
        match to.home() {
            Some(home) if home == self.node => return Verdict::Back(NoWay::NotHere),
            Some(home) if self.table.address(home).is_some() => return Verdict::Peer(home),
            Some(_) => return Verdict::Back(NoWay::Unknown),
            None => {}
        }
        match self.table.get(to) {
            Some((life, _)) if life > to.incarnation => Verdict::Back(NoWay::OtherLife),
            Some((life, node)) if life == to.incarnation && node == self.node => {
                Verdict::Back(NoWay::NotHere)
            }
            Some((life, node)) if life == to.incarnation => {
                if self.table.address(node).is_some() {
                    Verdict::Peer(node)
                } else {
                    Verdict::Back(NoWay::Unreachable)
                }
            }
            _ => Verdict::Ask(to),
        }
    }
}

#[cfg(test)]
mod tests;
