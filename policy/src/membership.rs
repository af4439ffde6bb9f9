//! Which nodes belong to the environment, and what may be put on each.
//!
//! ```text
//!              joins                    drain
//!   enrolled ─────────► up ◄──────────────────────► draining        anything ─► revoked
//!       ▲               │ ▲           undrain           │ ▲          (for good: its certificate
//!       │ leaves        │ │ joins: a new life           │ │           is not taken any more)
//!       └───────────────┤ └──────── down ◄──────────────┘ │
//!                       └────────────► └──────────────────┘
//! ```
//!
//! Invariant: only what is up takes something new. A node that was down has a new life when it joins
//! again, and what is left there of the former one is ended, since it was started again elsewhere. A
//! number is never given to a second node. Decided by the FTM (paper 4.1.1, 5.1).

use std::collections::BTreeMap;

use chameleon_proto::ids::NodeId;
use thiserror::Error;

use crate::place::DRAINING;

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may join and has not, or has left.
    Enrolled,
    /// It takes part.
    Up,
    /// It takes part, and what is on it is moved away.
    Draining,
    /// It does not answer.
    Down,
    /// It may not take part any more.
    Revoked,
}

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Its daemon has connected with its certificate.
    Joins,
    /// It is down: missed heartbeats.
    Fails,
    /// Its daemon says goodbye.
    Leaves,
    /// A person has it emptied.
    Drain,
    /// A person takes that back.
    Undrain,
    /// A person excludes it.
    Revoke,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Send it heartbeats.
    Watch,
    /// Send it none any more.
    Forget,
    /// Start elsewhere what was there, and tell the managers (`NodeDown`).
    Recover,
    /// Move away what is there, one after the other.
    Empty,
    /// Have its daemon end what is there of its former life.
    Fence,
    /// End its connection, and take no other of it.
    Disconnect,
}

/// Why something cannot happen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum Impossible {
    #[error("there is no node {0}; `chameleon node list` shows those there are")]
    Unknown(u32),
    #[error("node {0} was revoked; enrol it again, it gets a new number")]
    Revoked(u32),
    #[error("node {0} is not draining")]
    NotDraining(u32),
    #[error("node {0} is draining already")]
    Draining(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    standing: Standing,
    /// It is to be empty, also when it comes back.
    drained: bool,
    life: u32,
}

/// The nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    members: BTreeMap<NodeId, Member>,
    last: u32,
}

impl Membership {
    /// Gives a new node its number.
    pub fn enroll(&mut self) -> NodeId {
        self.last += 1;
        let member = Member { standing: Standing::Enrolled, drained: false, life: 0 };
        self.members.insert(NodeId(self.last), member);
        NodeId(self.last)
    }

    /// A node as it is known from a table, after a promotion: its number is not given out again.
    pub fn restore(&mut self, node: NodeId, standing: Standing, life: u32) {
        let drained = standing == Standing::Draining;
        self.members.insert(node, Member { standing, drained, life });
        self.last = self.last.max(node.0);
    }

    /// Something happens to a node; what is to be done about it, in this order.
    ///
    /// # Errors
    /// [`Impossible`]; nothing has changed.
    pub fn happen(&mut self, node: NodeId, what: Happening) -> Result<Vec<Duty>, Impossible> {
        let member = self.members.get_mut(&node).ok_or(Impossible::Unknown(node.0))?;
        let here = matches!(member.standing, Standing::Up | Standing::Draining);
        if member.standing == Standing::Revoked {
            return Err(Impossible::Revoked(node.0));
        }
        Ok(match what {
            // A connection that was lost and made again: nothing has failed.
            Happening::Joins if here => Vec::new(),
            Happening::Joins => {
                let again = member.standing == Standing::Down;
                member.standing = if member.drained { Standing::Draining } else { Standing::Up };
                member.life += 1;
                if again { vec![Duty::Fence] } else { vec![Duty::Watch] }
            }
            Happening::Fails if here => {
                member.standing = Standing::Down;
                // Heartbeats go on: that is how it is noticed when it is back.
                vec![Duty::Recover]
            }
            Happening::Fails => Vec::new(),
            Happening::Leaves => {
                let before = std::mem::replace(&mut member.standing, Standing::Enrolled);
                match before {
                    Standing::Up | Standing::Draining => vec![Duty::Forget, Duty::Recover],
                    Standing::Down => vec![Duty::Forget],
                    Standing::Enrolled | Standing::Revoked => Vec::new(),
                }
            }
            Happening::Drain if member.drained => return Err(Impossible::Draining(node.0)),
            Happening::Drain => {
                member.drained = true;
                if here {
                    member.standing = Standing::Draining;
                    vec![Duty::Empty]
                } else {
                    Vec::new()
                }
            }
            Happening::Undrain if !member.drained => return Err(Impossible::NotDraining(node.0)),
            Happening::Undrain => {
                member.drained = false;
                if here {
                    member.standing = Standing::Up;
                }
                Vec::new()
            }
            Happening::Revoke => {
                member.standing = Standing::Revoked;
                if here {
                    vec![Duty::Disconnect, Duty::Forget, Duty::Recover]
                } else {
                    vec![Duty::Disconnect, Duty::Forget]
                }
            }
        })
    }

    /// How a node is.
    pub fn standing(&self, node: NodeId) -> Option<Standing> {
        Some(self.members.get(&node)?.standing)
    }

    /// How often it has joined.
    pub fn life(&self, node: NodeId) -> u32 {
        self.members.get(&node).map_or(0, |member| member.life)
    }

    /// The nodes, by number.
    pub fn all(&self) -> impl Iterator<Item = (NodeId, Standing)> {
        self.members.iter().map(|(node, member)| (*node, member.standing))
    }

    /// Whether all nodes but this one are down, and they are several: then the switch or this node's link is, rather
    /// than each of them (Table 2, network down).
    pub fn is_cut_off(&self, own: NodeId) -> bool {
        let others = self.members.iter().filter(|(node, member)| {
            let takes_part = !matches!(member.standing, Standing::Enrolled | Standing::Revoked);
            **node != own && takes_part
        });
        let (mut all, mut down) = (0, 0);
        for (_, member) in others {
            all += 1;
            down += usize::from(member.standing == Standing::Down);
        }
        all > 1 && down == all
    }

    /// Why a node takes nothing new; nothing if it does. For [`crate::place::Candidate`].
    pub fn closed(&self, node: NodeId) -> Option<&'static str> {
        match self.standing(node) {
            None => Some("it is unknown"),
            Some(Standing::Enrolled) => Some("it has not joined"),
            Some(Standing::Up) => None,
            Some(Standing::Draining) => Some(DRAINING),
            Some(Standing::Down) => Some("it is down"),
            Some(Standing::Revoked) => Some("it was revoked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_life_of_a_node() {
        use Happening::*;
        let mut nodes = Membership::default();
        let node = nodes.enroll();
        let mut step = |what| {
            let duties = nodes.happen(node, what);
            (duties, nodes.standing(node).unwrap(), nodes.closed(node), nodes.life(node))
        };
        let none = || Ok(Vec::new());
        assert_eq!(step(Fails), (none(), Standing::Enrolled, Some("it has not joined"), 0));
        assert_eq!(step(Joins), (Ok(vec![Duty::Watch]), Standing::Up, None, 1));
        assert_eq!(step(Joins), (none(), Standing::Up, None, 1));
        assert_eq!(step(Fails), (Ok(vec![Duty::Recover]), Standing::Down, Some("it is down"), 1));
        assert_eq!(step(Joins), (Ok(vec![Duty::Fence]), Standing::Up, None, 2));
        assert_eq!(step(Drain).0, Ok(vec![Duty::Empty]));
        assert_eq!(step(Drain).0, Err(Impossible::Draining(1)));
        assert_eq!(step(Fails).1, Standing::Down);
        assert_eq!(
            step(Joins),
            (Ok(vec![Duty::Fence]), Standing::Draining, Some("it is draining"), 3)
        );
        assert_eq!(step(Undrain).1, Standing::Up);
        assert_eq!(step(Undrain).0, Err(Impossible::NotDraining(1)));
        assert_eq!(step(Leaves).0, Ok(vec![Duty::Forget, Duty::Recover]));
        assert_eq!(step(Joins).0, Ok(vec![Duty::Watch]));
        assert_eq!(step(Revoke).0, Ok(vec![Duty::Disconnect, Duty::Forget, Duty::Recover]));
        assert_eq!(
            step(Joins),
            (Err(Impossible::Revoked(1)), Standing::Revoked, Some("it was revoked"), 4)
        );
        assert_eq!(nodes.happen(NodeId(9), Drain), Err(Impossible::Unknown(9)));
    }

    #[test]
    fn a_node_is_cut_off_if_no_other_answers_and_there_are_several() {
        let mut nodes = Membership::default();
        let ids: Vec<NodeId> = (0..4).map(|_| nodes.enroll()).collect();
        let mut happen = |node: usize, what| {
            nodes.happen(ids[node], what).unwrap();
            nodes.is_cut_off(ids[0])
        };
        for node in [0, 1, 2] {
            assert!(!happen(node, Happening::Joins));
        }
        assert!(!happen(1, Happening::Fails));
        assert!(happen(2, Happening::Fails), "the fourth has never joined");
        assert!(!happen(1, Happening::Joins));
        assert!(happen(1, Happening::Fails));
        assert!(!happen(2, Happening::Revoke), "one alone may be down itself");
    }

    proptest! {
        #[test]
        fn only_what_is_up_takes_something_and_what_was_there_is_recovered_once(
            events in prop::collection::vec((0usize..3, 0usize..6), 0..80),
        ) {
            const ALL: [Happening; 6] = [
                Happening::Joins,
                Happening::Fails,
                Happening::Leaves,
                Happening::Drain,
                Happening::Undrain,
                Happening::Revoke,
            ];
            let mut nodes = Membership::default();
            let ids: Vec<NodeId> = (0..3).map(|_| nodes.enroll()).collect();
            let mut watched = [false; 3];
            for (index, event) in events {
                let node = ids[index];
                let here = |nodes: &Membership| {
                    matches!(nodes.standing(node), Some(Standing::Up | Standing::Draining))
                };
                let (before, unchanged) = (here(&nodes), nodes.clone());
                match nodes.happen(node, ALL[event]) {
                    Ok(duties) => {
                        let lost = before && !here(&nodes);
                        prop_assert_eq!(duties.contains(&Duty::Recover), lost);
                        for duty in duties {
                            match duty {
                                Duty::Watch => prop_assert!(!std::mem::replace(&mut watched[index], true)),
                                Duty::Forget => watched[index] = false,
                                _ => {}
                            }
                        }
                    }
                    Err(_) => prop_assert_eq!(&nodes, &unchanged),
                }
                let up = nodes.standing(node) == Some(Standing::Up);
                prop_assert_eq!(nodes.closed(node).is_none(), up);
                prop_assert!(!here(&nodes) || watched[index]);
            }
            prop_assert_eq!(nodes.enroll(), NodeId(4));
        }
    }
}
