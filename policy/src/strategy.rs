//! Execution strategies (FTES): how a program can be run, what that gives and what it costs.
//!
//! Invariant: no strategy claims more than its mode can give; names are unique. The registry is data
//! (`strategy/default.toml`, and a file of the user's); the FTM chooses from it (paper 3.2, 4.1.1).

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::document::{self, DocumentError, Section};
use crate::mode::Mode;

/// What becomes of a wrong computation of one replica; the later, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Nothing: it is the result.
    Unnoticed,
    /// It is noticed; it may have gone out.
    Reported,
    /// Nothing of it goes out, and the program does not go on.
    Stopped,
    /// The program is rolled back to before it.
    Recovered,
    /// The other replicas are the majority.
    Masked,
}

/// What a crash, or the loss of a node, does to the program; the later, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// It is over.
    Ended,
    /// It begins anew.
    Restarted,
    /// It goes on from its last checkpoint.
    Recovered,
    /// It goes on.
    Masked,
}

/// The words for [`Wrong`].
pub const WRONG: [(&str, Wrong); 5] = [
    ("unnoticed", Wrong::Unnoticed),
    ("reported", Wrong::Reported),
    ("stopped", Wrong::Stopped),
    ("recovered", Wrong::Recovered),
    ("masked", Wrong::Masked),
];

/// The words for [`Loss`].
pub const LOSS: [(&str, Loss); 4] = [
    ("ended", Loss::Ended),
    ("restarted", Loss::Restarted),
    ("recovered", Loss::Recovered),
    ("masked", Loss::Masked),
];

/// One strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Strategy {
    /// Its name, unique in the registry.
    pub name: String,
    /// For people.
    pub about: String,
    /// Replicas, and how many must agree.
    pub mode: Mode,
    /// Whether it rolls back to checkpoints.
    pub checkpoints: bool,
    /// What becomes of a wrong computation.
    pub wrong: Wrong,
    /// What a crash or hang of a replica does.
    pub crash: Loss,
    /// What the loss of a node does where it is not masked.
    pub node: Loss,
    /// Over so many nodes the loss of one is masked, for programs whose results are files.
    pub nodes: Option<usize>,
    /// How long the program stands still when what is not masked is recovered from; what it computes
    /// again is not in it.
    pub pause: Duration,
    /// CPU time, as a multiple of the bare program's.
    pub cpus: f64,
    /// Memory, as a multiple of the bare program's.
    pub memory: f64,
}

/// All strategies, in the order of their files.
#[derive(Clone, Debug, PartialEq)]
pub struct Registry {
    strategies: Vec<Strategy>,
}

impl Default for Registry {
    fn default() -> Self {
        // What is in the program is tested; what could not be read would leave a registry without entries.
        let strategies = parse(include_str!("strategy/default.toml")).unwrap_or_default();
        Self { strategies }
    }
}

impl Registry {
    /// Adds a file's strategies; those of a name that is known already take the known one's place.
    ///
    /// # Errors
    /// [`DocumentError`] if the file cannot be understood; nothing is added then.
    pub fn add(&mut self, text: &str) -> Result<(), DocumentError> {
        for new in parse(text)? {
            match self.strategies.iter_mut().find(|known| known.name == new.name) {
                Some(known) => *known = new,
                None => self.strategies.push(new),
            }
        }
        Ok(())
    }

    /// All of them.
    pub fn all(&self) -> &[Strategy] {
        &self.strategies
    }

    /// The one of a name.
    ///
    /// # Errors
    /// In words: there is none, and which there are.
    pub fn named(&self, name: &str) -> Result<&Strategy, String> {
        let found = self.strategies.iter().find(|strategy| strategy.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> =
                self.strategies.iter().map(|known| known.name.as_str()).collect();
            format!("there is no strategy '{name}'; {}", document::meant(name, &names))
        })
    }
}

impl Strategy {
    /// What the loss of a node does to a program whose replicas are on so many nodes.
    ///
    /// A program that has effects while it runs has them on one node, its home, and their masking needs
    /// that node; one whose results are files (paper 4.6) has all of itself on each.
    pub fn node_loss(&self, nodes: usize, results_are_files: bool) -> Loss {
        match self.nodes {
            Some(needed) if results_are_files && nodes >= needed => Loss::Masked,
            _ => self.node,
        }
    }
}

/// The strategies of one file.
///
/// # Errors
/// [`DocumentError`] for what is not understood, missing, said twice, or claimed wrongly.
pub fn parse(text: &str) -> Result<Vec<Strategy>, DocumentError> {
    document::read(text, |top| {
        top.only(&["strategy"])?;
        let mut names = BTreeSet::new();
        let mut strategies = Vec::new();
        for section in top.tables("strategy")? {
            let strategy = one(&section)?;
            if !names.insert(strategy.name.clone()) {
                let what = format!("'{}' is the name of an earlier strategy", strategy.name);
                return Err(section.error("name", what));
            }
            strategies.push(strategy);
        }
        Ok(strategies)
    })
}

const KEYS: [&str; 11] = [
    "name",
    "about",
    "mode",
    "checkpoints",
    "wrong",
    "crash",
    "node",
    "nodes",
    "pause",
    "cpus",
    "memory",
];

fn one(section: &Section<'_>) -> Result<Strategy, DocumentError> {
    section.only(&KEYS)?;
    let missing = |key: &str| section.error(key, "is missing; every strategy says it");
    let name = section.text("name")?.ok_or_else(|| missing("name"))?;
    if !is_name(name) {
        return Err(section.error("name", format!("'{name}' is no name; {NAME}")));
    }
    let mode = section.text("mode")?.ok_or_else(|| missing("mode"))?;
    let mode: Mode = mode.parse().map_err(|error| section.error("mode", format!("{error}")))?;
    let strategy = Strategy {
        name: name.to_owned(),
        about: section.text("about")?.unwrap_or_default().to_owned(),
        mode,
        checkpoints: section.flag("checkpoints")?.ok_or_else(|| missing("checkpoints"))?,
        wrong: section.choice("wrong", &WRONG)?.ok_or_else(|| missing("wrong"))?,
        crash: section.choice("crash", &LOSS)?.ok_or_else(|| missing("crash"))?,
        node: section.choice("node", &LOSS)?.ok_or_else(|| missing("node"))?,
        nodes: section.whole("nodes", 1..=15)?.map(|nodes| nodes as usize),
        pause: section.duration("pause")?.ok_or_else(|| missing("pause"))?,
        cpus: section.number("cpus")?.ok_or_else(|| missing("cpus"))?,
        memory: section.number("memory")?.ok_or_else(|| missing("memory"))?,
    };
    claims(&strategy).map_err(|(key, what)| section.error(key, what))?;
    Ok(strategy)
}

/// What names of strategies and applications are.
pub const NAME: &str =
    "a name is of 1 to 64 letters, digits, '-', '_' and '.', and begins with a letter or digit";

/// Whether a text is a name.
pub fn is_name(text: &str) -> bool {
    let within = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&text.len())
        && text.bytes().all(within)
        && text.as_bytes()[0].is_ascii_alphanumeric()
}

/// Refuses what the mode cannot give.
fn claims(strategy: &Strategy) -> Result<(), (&'static str, String)> {
    let mode = strategy.mode;
    let (wrong, why) = match (mode.n, mode.first, strategy.checkpoints) {
        (1, _, _) => (Wrong::Unnoticed, "one replica has nothing to compare with"),
        (_, true, _) => (Wrong::Reported, "the first result has gone out when the other comes"),
        _ if mode.masks_one_fault() => (Wrong::Masked, ""),
        (_, _, true) => (Wrong::Recovered, "no majority is left without the wrong one"),
        (_, _, false) => (Wrong::Stopped, "without checkpoints nobody can say who is right"),
    };
    at_most("wrong", strategy.wrong, wrong, why)?;
    let (crash, why) = match (mode.n, strategy.checkpoints) {
        (1, false) => {
            (Loss::Restarted, "there is no checkpoint and no other replica to go on from")
        }
        (1, true) => (Loss::Recovered, "there is no other replica"),
        _ => (Loss::Masked, ""),
    };
    at_most("crash", strategy.crash, crash, why)?;
    let (node, why) = match strategy.checkpoints {
        true => (Loss::Recovered, "to mask the loss of a node is what the key 'nodes' says"),
        false => (Loss::Restarted, "there is no checkpoint to go on from"),
    };
    at_most("node", strategy.node, node, why)?;
    if let Some(nodes) = strategy.nodes {
        let most = usize::from(mode.n).div_ceil(nodes);
        if usize::from(mode.n) < usize::from(mode.k) + most || nodes > usize::from(mode.n) {
            let what = format!(
                "{nodes} nodes do not mask the loss of one: {mode} is {} replicas, of which {} must agree, and up to {most} are lost",
                mode.n, mode.k
            );
            return Err(("nodes", what));
        }
    }
    let copies = f64::from(mode.n);
    for (key, cost) in [("cpus", strategy.cpus), ("memory", strategy.memory)] {
        if cost < copies {
            return Err((
                key,
                format!("{cost} is less than the {copies} copies take that {mode} is"),
            ));
        }
    }
    Ok(())
}

fn at_most<T: PartialOrd + fmt::Display>(
    key: &'static str,
    claimed: T,
    most: T,
    why: &str,
) -> Result<(), (&'static str, String)> {
    if claimed <= most {
        return Ok(());
    }
    Err((key, format!("'{claimed}' is more than this mode can give, at most '{most}': {why}")))
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WRONG[*self as usize].0)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LOSS[*self as usize].0)
    }
}

#[cfg(test)]
mod tests;
