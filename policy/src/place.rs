//! On which node an ARMOR is put (paper 4.1.1: the load of a node and its history of failures).
//!
//! Invariant: the same question has the same answer, with its reasons; a node is chosen only if it
//! takes what is new, has the memory and the processor's features, and holds no other replica of the
//! same set. Called by the FTM, by managers that move an ARMOR, and by `chameleon plan`. Where replicas
//! run among the processors of one node is [`crate::placement`]'s.

use std::fmt;

use chameleon_proto::ids::NodeId;
use chameleon_proto::message::env::{Health, NodeInfo};
use thiserror::Error;

use crate::health::{FAILURE, size};

/// Why a node takes nothing new that is there all the same.
pub const DRAINING: &str = "it is draining";

/// A node, as placement sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Which.
    pub id: NodeId,
    /// Why it takes nothing new, if it does not: "it is down".
    pub closed: Option<&'static str>,
    /// How it did when it last answered.
    pub health: Health,
    /// Features of its processor.
    pub features: Vec<String>,
    /// What it is: operating system, kernel's release and processor's model.
    pub platform: String,
    /// CPU time of what was put there since, in hundredths of a processor.
    pub promised_cpu: u64,
    /// Bytes of what was put there since.
    pub promised_memory: u64,
    /// Its failures, in thousandths ([`crate::health::History::at`]).
    pub failures: u64,
}

/// What is to be put somewhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    /// Bytes that it needs.
    pub memory: u64,
    /// CPU time that it takes, in hundredths of a processor.
    pub cpu: u64,
    /// Features of the processor that it needs.
    pub features: Vec<String>,
    /// Nodes that hold another replica of the same set.
    pub apart: Vec<NodeId>,
    /// Nodes that it must not be on for another reason: it has just failed there.
    pub not: Vec<NodeId>,
    /// Platforms that are taken only if there is no other: it has failed on each.
    pub rather_not: Vec<String>,
}

/// Why a node cannot be it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It takes nothing new.
    Closed(&'static str),
    /// It holds another replica.
    Apart,
    /// It is excluded.
    Excluded,
    /// It has too little memory: bytes it has, and should have.
    Memory(u64, u64),
    /// Its processor does not have this.
    Feature(String),
}

/// A node that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub node: NodeId,
    /// Why, in words.
    pub why: String,
}

/// No node will do, or too few; each with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", no_place(*.needed, *.fit, .unfit))]
pub struct NoPlace {
    /// How many nodes are needed.
    pub needed: usize,
    /// How many will do.
    pub fit: usize,
    /// The others.
    pub unfit: Vec<(NodeId, Unfit)>,
}

/// What a failure weighs against load, in hundredths of a processor.
const FAILURE_COSTS: u64 = 200;

/// What it costs to leave less than an eighth of the memory.
const TIGHT_COSTS: u64 = 100;

/// What a platform costs on which it failed before: more than all else that happens.
const PLATFORM_COSTS: u64 = 1_000_000;

impl Candidate {
    /// A node of which nothing is known but what it said of itself.
    pub fn of(info: &NodeInfo) -> Self {
        Self {
            id: info.node,
            closed: None,
            health: info.health,
            features: info.features.clone(),
            platform: format!("{}, {}, {}", info.os, info.kernel, info.cpu),
            promised_cpu: 0,
            promised_memory: 0,
            failures: 0,
        }
    }

    /// Whether what is there can go on there, and be started there again: it is open, or being emptied.
    pub fn is_there(&self) -> bool {
        self.closed.is_none_or(|why| why == DRAINING)
    }

    /// Why it cannot be put there.
    ///
    /// # Errors
    /// The first reason.
    pub fn fits(&self, ask: &Ask) -> Result<(), Unfit> {
        if let Some(why) = self.closed {
            return Err(Unfit::Closed(why));
        }
        if ask.apart.contains(&self.id) {
            return Err(Unfit::Apart);
        }
        if ask.not.contains(&self.id) {
            return Err(Unfit::Excluded);
        }
        if let Some(feature) = ask.features.iter().find(|feature| !self.features.contains(feature))
        {
            return Err(Unfit::Feature(feature.clone()));
        }
        let free = self.free();
        if free < ask.memory { Err(Unfit::Memory(free, ask.memory)) } else { Ok(()) }
    }

    /// Bytes that are left.
    const fn free(&self) -> u64 {
        self.health.memory_available.saturating_sub(self.promised_memory)
    }

    /// Load on each of its processors with the new one, in hundredths. What was promised may be in the
    /// measured load already; the larger of both counts.
    fn load(&self, ask: &Ask) -> u64 {
        let busy = self.promised_cpu.max(u64::from(self.health.load));
        busy.saturating_add(ask.cpu) / u64::from(self.health.cpus.max(1))
    }

    fn cost(&self, ask: &Ask) -> u64 {
        let tight = self.free().saturating_sub(ask.memory) < self.health.memory / 8;
        self.load(ask)
            .saturating_add(self.failures.saturating_mul(FAILURE_COSTS) / FAILURE)
            .saturating_add(if tight { TIGHT_COSTS } else { 0 })
            .saturating_add(if ask.rather_not.contains(&self.platform) {
                PLATFORM_COSTS
            } else {
                0
            })
    }

    fn describe(&self, ask: &Ask) -> String {
        let load = self.load(ask);
        let failures = match self.failures * 10 / FAILURE {
            0 => "no failures lately".to_owned(),
            tenths => format!("failures that still count as {}.{}", tenths / 10, tenths % 10),
        };
        let free = size(self.free());
        let platform = if ask.rather_not.contains(&self.platform) {
            ", a platform on which it failed before"
        } else {
            ""
        };
        format!(
            "load {}.{:02} a processor with it, {free} of memory free, {failures}{platform}",
            load / 100,
            load % 100
        )
    }
}

/// The best node for it: least load on a processor, failures and scarce memory counted in; of equal
/// ones the one with the fewest ARMORs, then the lowest number.
///
/// # Errors
/// [`NoPlace`] with each node's reason.
pub fn place(ask: &Ask, nodes: &[Candidate]) -> Result<Choice, NoPlace> {
    let mut fit: Vec<&Candidate> = nodes.iter().filter(|node| node.fits(ask).is_ok()).collect();
    fit.sort_by_key(|node| (node.cost(ask), node.health.armors, node.id));
    let Some(best) = fit.first() else {
        return Err(NoPlace { needed: 1, fit: 0, unfit: unfit(ask, nodes) });
    };
    let mut why = format!("node {}: {}", best.id.0, best.describe(ask));
    if let Some(next) = fit.get(1) {
        why += &format!("; next best was node {}: {}", next.id.0, next.describe(ask));
    } else if nodes.len() > 1 {
        why += "; it is the only one that will do";
    }
    Ok(Choice { node: best.id, why })
}

/// Nodes for `replicas` replicas of one set on `on` nodes (at least one, and no more than there are
/// replicas), as evenly as can be: replica `i` is on the `i mod on`-th of the answer.
///
/// # Errors
/// [`NoPlace`] if fewer nodes will do.
pub fn spread(
    ask: &Ask,
    replicas: usize,
    on: usize,
    nodes: &[Candidate],
) -> Result<Vec<Choice>, NoPlace> {
    let on = on.clamp(1, replicas.max(1));
    let mut choices: Vec<Choice> = Vec::new();
    let mut ask = ask.clone();
    let (memory, cpu) = (ask.memory, ask.cpu);
    for index in 0..on {
        // The first ones hold one more if they cannot all hold the same.
        let here = (replicas.saturating_sub(index)).div_ceil(on) as u64;
        ask.memory = memory.saturating_mul(here);
        ask.cpu = cpu.saturating_mul(here);
        match place(&ask, nodes) {
            Ok(choice) => {
                ask.apart.push(choice.node);
                choices.push(choice);
            }
            Err(NoPlace { unfit, .. }) => {
                let unfit =
                    unfit.into_iter().filter(|(id, _)| choices.iter().all(|c| c.node != *id));
                return Err(NoPlace { needed: on, fit: index, unfit: unfit.collect() });
            }
        }
    }
    Ok(choices)
}

fn unfit(ask: &Ask, nodes: &[Candidate]) -> Vec<(NodeId, Unfit)> {
    nodes.iter().filter_map(|node| Some((node.id, node.fits(ask).err()?))).collect()
}

fn no_place(needed: usize, fit: usize, unfit: &[(NodeId, Unfit)]) -> String {
    let mut text = format!("{needed} node{} needed, ", if needed == 1 { " is" } else { "s are" });
    text += &match fit {
        0 => "none will do".to_owned(),
        _ => format!("only {fit} will do"),
    };
    for (index, (node, why)) in unfit.iter().enumerate() {
        text += if index == 0 { ": " } else { ", " };
        text += &format!("node {}: {why}", node.0);
    }
    text
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(why) => f.write_str(why),
            Self::Apart => f.write_str("it holds another replica"),
            Self::Excluded => f.write_str("it is excluded, for it failed there"),
            Self::Memory(free, needed) => {
                write!(f, "{} of memory free, {} needed", size(*free), size(*needed))
            }
            Self::Feature(feature) => write!(f, "its processor has no {feature}"),
        }
    }
}

#[cfg(test)]
mod tests;
