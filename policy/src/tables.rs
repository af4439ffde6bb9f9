//! The FTM's tables: ARMORs and their managers and places, nodes and their failures, applications,
//! parameters (paper 4.1, 5.3.1).
//!
//! Invariant: a row changes as a whole or not at all; an ARMOR has one place; of its lives only the
//! latest counts. The version of the places grows by one with each change of them. The Backup FTM has
//! the same tables by the same updates ([`participant`]); what is not there cannot be deleted, which is
//! how an FTM is found out that loses its rows (5.3.1).

use std::collections::{BTreeMap, VecDeque};

use chameleon_proto::ids::{AppId, ArmorId, ArmorType, NodeId};
use chameleon_proto::message::env::{App, NodeDown, NodeInfo, Places, Row};
use thiserror::Error;

pub mod coordinator;
pub mod participant;
pub mod places;
pub mod words;

/// Failures of a node that are kept; the oldest go.
pub const FAILURES_KEPT: usize = 64;

/// An ARMOR in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Which life of it.
    pub armor: ArmorId,
    /// Who installed it, and decides what becomes of it.
    pub manager: ArmorId,
    /// Where it is.
    pub node: NodeId,
}

/// The tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    armors: BTreeMap<(ArmorType, u32), Placed>,
    nodes: BTreeMap<NodeId, NodeInfo>,
    failures: BTreeMap<NodeId, VecDeque<NodeDown>>,
    apps: BTreeMap<AppId, App>,
    parameters: BTreeMap<String, String>,
    version: u64,
}

/// What a row is about: two changes of one are made one after the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// An ARMOR, whichever its life.
    Armor(ArmorType, u32),
    /// A node.
    Node(NodeId),
    /// A node's history.
    Failures(NodeId),
    /// An application.
    App(AppId),
    /// A parameter.
    Parameter(String),
}

/// Why a change cannot be made: the tables and who asks for it disagree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum Disagreement {
    #[error("{0} is to go, but there is no such ARMOR in the table")]
    NoArmor(ArmorId),
    #[error("{0} is named, but {1} is in the table, a later life of it")]
    LaterLife(ArmorId, ArmorId),
    #[error("node {0} is to go, but there is no such node in the table")]
    NoNode(u32),
    #[error("application {0} is to go, but there is no such application in the table")]
    NoApp(u32),
}

impl Tables {
    /// The tables that these rows make.
    ///
    /// # Errors
    /// [`Disagreement`] if a row cannot be; no copy of tables ([`Tables::rows`]) has such.
    pub fn from_rows(rows: impl IntoIterator<Item = Row>) -> Result<Self, Disagreement> {
        let mut tables = Self::default();
        rows.into_iter().try_for_each(|row| tables.apply(row).map(drop))?;
        Ok(tables)
    }

    /// All of it as rows, for a new backup.
    pub fn rows(&self) -> Vec<Row> {
        let armors = self.armors.values().map(|placed| {
            let Placed { armor, manager, node } = *placed;
            Row::Armor { armor, manager, node }
        });
        let parameters = self.parameters.iter();
        armors
            .chain(self.nodes.values().cloned().map(Row::Node))
            .chain(self.failures.values().flatten().copied().map(Row::Failure))
            .chain(self.apps.values().cloned().map(Row::App))
            .chain(parameters.map(|(name, value)| Row::Parameter(name.clone(), value.clone())))
            .collect()
    }

    /// Whether the change can be made now.
    ///
    /// # Errors
    /// [`Disagreement`]: it cannot, and either the tables or the one who asks are wrong.
    pub fn check(&self, row: &Row) -> Result<(), Disagreement> {
        let later =
            |armor: &ArmorId, known: &Placed| Err(Disagreement::LaterLife(*armor, known.armor));
        match row {
            Row::Armor { armor, .. } => match self.known(*armor) {
                Some(known) if known.armor.incarnation > armor.incarnation => later(armor, known),
                _ => Ok(()),
            },
            Row::NoArmor(armor) => match self.known(*armor) {
                None => Err(Disagreement::NoArmor(*armor)),
                Some(known) if known.armor.incarnation > armor.incarnation => later(armor, known),
                Some(_) => Ok(()),
            },
            Row::NoNode(node) if !self.nodes.contains_key(node) => {
                Err(Disagreement::NoNode(node.0))
            }
            Row::NoApp(app) if !self.apps.contains_key(app) => Err(Disagreement::NoApp(app.0)),
            _ => Ok(()),
        }
    }

    /// Whether it would change nothing.
    pub fn has(&self, row: &Row) -> bool {
        match row {
            Row::Armor { armor, manager, node } => {
                let placed = Placed { armor: *armor, manager: *manager, node: *node };
                self.known(*armor) == Some(&placed)
            }
            Row::NoArmor(armor) => self.known(*armor).is_none(),
            Row::Node(info) => self.node(info.node) == Some(info),
            Row::NoNode(node) => self.node(*node).is_none(),
            // Each is one more.
            Row::Failure(_) => false,
            Row::App(app) => self.app(app.id) == Some(app),
            Row::NoApp(app) => self.app(*app).is_none(),
            Row::Parameter(name, value) => self.parameter(name) == Some(value),
        }
    }

    /// Makes the change; what the daemons are to be told of it.
    ///
    /// # Errors
    /// [`Disagreement`]; nothing has changed then.
    pub fn apply(&mut self, row: Row) -> Result<Option<Places>, Disagreement> {
        self.check(&row)?;
        let mut delta = Places::default();
        match row {
            Row::Armor { armor, manager, node } => {
                let before = self.armors.insert(key(armor), Placed { armor, manager, node });
                if before.is_some_and(|before| (before.armor, before.node) == (armor, node)) {
                    return Ok(None);
                }
                delta.gone = before
                    .filter(|before| before.armor != armor)
                    .map(|b| b.armor)
                    .into_iter()
                    .collect();
                delta.at = vec![(armor, node)];
            }
            Row::NoArmor(armor) => {
                delta.gone = self
                    .armors
                    .remove(&key(armor))
                    .map(|placed| placed.armor)
                    .into_iter()
                    .collect();
            }
            Row::Node(info) => {
                let (node, address) = (info.node, info.address.clone());
                let before = self.nodes.insert(node, info);
                if before.is_some_and(|before| before.address == address) {
                    return Ok(None);
                }
                delta.nodes = vec![(node, address)];
            }
            Row::NoNode(node) => {
                self.nodes.remove(&node);
                // Without an address, nothing is sent there any more.
                delta.nodes = vec![(node, String::new())];
            }
            Row::Failure(down) => {
                let history = self.failures.entry(down.node).or_default();
                if history.len() == FAILURES_KEPT {
                    history.pop_front();
                }
                history.push_back(down);
                return Ok(None);
            }
            Row::App(app) => {
                self.apps.insert(app.id, app);
                return Ok(None);
            }
            Row::NoApp(app) => {
                self.apps.remove(&app);
                return Ok(None);
            }
            Row::Parameter(name, value) => {
                self.parameters.insert(name, value);
                return Ok(None);
            }
        }
        self.version += 1;
        delta.version = self.version;
        Ok(Some(delta))
    }

    /// All places, for a daemon that knows none or missed one.
    pub fn places(&self) -> Places {
        Places {
            version: self.version,
            all: true,
            at: self.armors.values().map(|placed| (placed.armor, placed.node)).collect(),
            gone: Vec::new(),
            nodes: self.nodes.values().map(|info| (info.node, info.address.clone())).collect(),
        }
    }

    /// What an ARMOR's row says, whichever life is asked for.
    pub fn known(&self, armor: ArmorId) -> Option<&Placed> {
        self.armors.get(&key(armor))
    }

    /// All ARMORs.
    pub fn armors(&self) -> impl Iterator<Item = &Placed> {
        self.armors.values()
    }

    /// The ARMORs that one manages.
    pub fn subordinates(&self, manager: ArmorId) -> impl Iterator<Item = &Placed> {
        self.armors.values().filter(move |placed| placed.manager.same_armor(manager))
    }

    /// The ARMORs on a node.
    pub fn on(&self, node: NodeId) -> impl Iterator<Item = &Placed> {
        self.armors.values().filter(move |placed| placed.node == node)
    }

    /// The nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values()
    }

    /// A node's failures, the oldest first.
    pub fn failures(&self, node: NodeId) -> impl Iterator<Item = &NodeDown> {
        self.failures.get(&node).into_iter().flatten()
    }

    /// The applications.
    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.values()
    }

    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// All parameters, by name.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A node's row.
    pub fn node(&self, node: NodeId) -> Option<&NodeInfo> {
        self.nodes.get(&node)
    }

    /// An application's row.
    pub fn app(&self, app: AppId) -> Option<&App> {
        self.apps.get(&app)
    }

    /// Where two tables differ, in words; a mirror that is up to date differs nowhere.
    pub fn differences(&self, mirror: &Self) -> Vec<String> {
        let mut found = Vec::new();
        compare("ARMOR", &self.armors, &mirror.armors, &mut found);
        compare("node", &self.nodes, &mirror.nodes, &mut found);
        compare("failures of node", &self.failures, &mirror.failures, &mut found);
        compare("application", &self.apps, &mirror.apps, &mut found);
        compare("parameter", &self.parameters, &mirror.parameters, &mut found);
        found
    }
}

impl Key {
    /// What a row is about.
    pub fn of(row: &Row) -> Self {
        match row {
            Row::Armor { armor, .. } | Row::NoArmor(armor) => Self::Armor(armor.kind, armor.number),
            Row::Node(info) => Self::Node(info.node),
            Row::NoNode(node) => Self::Node(*node),
            Row::Failure(down) => Self::Failures(down.node),
            Row::App(app) => Self::App(app.id),
            Row::NoApp(app) => Self::App(*app),
            Row::Parameter(name, _) => Self::Parameter(name.clone()),
        }
    }
}

fn key(armor: ArmorId) -> (ArmorType, u32) {
    (armor.kind, armor.number)
}

fn compare<K: Ord + std::fmt::Debug, V: PartialEq>(
    what: &str,
    master: &BTreeMap<K, V>,
    mirror: &BTreeMap<K, V>,
    found: &mut Vec<String>,
) {
    for (key, value) in master {
        match mirror.get(key) {
            None => found.push(format!("{what} {key:?} is not in the mirror")),
            Some(other) if other != value => found.push(format!("{what} {key:?} differs")),
            Some(_) => {}
        }
    }
    let more = mirror.keys().filter(|key| !master.contains_key(key));
    found.extend(more.map(|key| format!("{what} {key:?} is in the mirror alone")));
}

#[cfg(test)]
mod tests;
